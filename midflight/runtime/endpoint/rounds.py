"""A worker's contributions to an all-reduce and their sums, kept for its own use and for peers that ask."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Memory", "Part"]

_KEPT = 4  # parts before the latest one


@dataclass(slots=True)
class Part:
    """Consecutive chunks that a worker submits together, from index `first` on: its contributions and the known sums.

    `given` and `sums` have the shape (chunks, lanes). `known` is a mask of the chunks whose sum has been stored, and
    `missing` is the number of the others.
    """

    first: int
    given: NDArray[np.int32]  # chunks x lanes
    sums: NDArray[np.int64]  # chunks x lanes
    known: NDArray[np.bool_] = field(init=False)
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.missing = len(self.given)
        self.known = np.zeros(self.missing, np.bool_)

    def learn(self, index: int, values: NDArray[np.signedinteger]) -> None:
        """Store the sum of the chunk with this index, of shape (lanes,). It must not be known yet."""
        row = index - self.first
        self.sums[row] = values
        self.known[row] = True
        self.missing -= 1


class Memory:
    """The parts of a job that peers may still ask about, the latest last.

    A worker that has finished a part has every worker's contribution to it, and those come from workers that had
    finished the part before. So no worker is more than one part behind, except one that restarts: it may need a whole
    round of two parts, and the scale of the next round. The four parts before the latest one cover both.
    """

    def __init__(self) -> None:
        self._parts: deque[Part] = deque(maxlen=_KEPT + 1)

    def add(self, part: Part) -> None:
        """Add a part, and drop the oldest one beyond those that are kept."""
        self._parts.append(part)

    def of(self, index: int) -> Part | None:
        """Return the part that contains the chunk with this index, or None if it was dropped or has not been added."""
        for part in self._parts:
            if part.first <= index < part.first + len(part.given):
                return part
        return None
