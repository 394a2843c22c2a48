"""The times of the last hits of a table's entries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from midflight.runtime.engine.context import Context

__all__ = ["Hits"]


class Hits:
    """The time of the last hit of each entry of a table with idle timeouts, by the entry's number, in microseconds.

    `table` is the name of the table. The caller holds the engine's lock; numbers are not checked.
    """

    def __init__(self, table: str, context: Context) -> None:
        self._slot = f"{table}.hits"
        self._context = context
        self._times: NDArray[np.uint64] = np.zeros(8, np.uint64)
        context.point(self._slot, self._times)

    def read(self, number: int) -> int:
        """Return the time of the last hit of the entry with this number; 0 if there was none."""
        return int(self._times[number])

    def reset(self, number: int) -> None:
        """Set the time of the last hit of a new entry, by its number, to 0."""
        self._times[number] = 0

    def grow(self, size: int) -> None:
        """Make room for entries with the numbers 0 to `size` - 1; existing times remain. Never shrinks."""
        if size > self._times.size:
            self._times = np.concatenate([self._times, np.zeros(size - self._times.size, np.uint64)])
            self._context.point(self._slot, self._times)
