"""What a worker has taken part in: its contributions and the sums, to work with and to tell others who lack them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Memory", "Part"]

_KEPT = 4


@dataclass(slots=True)
class Part:
    """Chunks with the indices `first` and on that are summed together: what this worker gave, and the sums."""

    first: int
    given: NDArray[np.int32]  # chunks x lanes
    sums: NDArray[np.int64]  # chunks x lanes
    known: NDArray[np.bool_] = field(init=False)
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.missing = len(self.given)
        self.known = np.zeros(self.missing, np.bool_)

    def learn(self, index: int, values: NDArray[np.signedinteger]) -> None:
        """Take the sum of a chunk that was not known."""
        row = index - self.first
        self.sums[row] = values
        self.known[row] = True
        self.missing -= 1


class Memory:
    """The parts of a job that somebody may still ask about, the latest last.

    Who has finished a part has everybody's contributions to it, and those are made by who has finished the part before.
    So nobody is more than a part behind, but for a worker that begins again after a restart: that one may need a whole
    round, of two parts, and the next one's scale. The four parts before the latest are enough for both.
    """

    def __init__(self) -> None:
        self._parts: deque[Part] = deque(maxlen=_KEPT + 1)

    def add(self, part: Part) -> None:
        """Remember a part, and forget one from long ago."""
        self._parts.append(part)

    def of(self, index: int) -> Part | None:
        """Return the part that a chunk belongs to, or None where it is forgotten or has not begun."""
        for part in self._parts:
            if part.first <= index < part.first + len(part.given):
                return part
        return None
