"""How workers agree on a scale for their floats, with the same switch that combines the numbers.

Each tells the exponent of its largest magnitude, in the numbers that the switch takes, and the highest of them can be
read from what comes back. Where the switch sums, an exponent is a one in a histogram of all that there are,
from `LOWEST` to `LOWEST + EXPONENTS - 1`, each counted in as many bits as all workers together need. Where it
takes the greatest or the least, an exponent is itself or its opposite.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from midflight.primitives.library.aggregate import Operation

__all__ = ["Scale"]

LOWEST = -125  # what `largest_exponent` answers at least
EXPONENTS = 254  # up to 128


class Scale:
    """The agreement among so many workers, by this operation in numbers of so many bits, signs included."""

    def __init__(self, operation: Operation, workers: int, width: int) -> None:
        self._ordered = {"max": 1, "min": -1}.get(operation, 0)
        self._bits_per_count = workers.bit_length()
        self._counts_per_lane = (width - 1) // self._bits_per_count
        self.lanes: int = 1 if self._ordered else -(-EXPONENTS // self._counts_per_lane)
        """How many numbers it takes."""

    def told(self, exponent: int) -> NDArray[np.int32]:
        """Return what a worker tells of its exponent."""
        if self._ordered:
            return np.array([self._ordered * exponent], np.int32)
        lane, place = divmod(exponent - LOWEST, self._counts_per_lane)
        histogram = np.zeros(self.lanes, np.int32)
        histogram[lane] = 1 << (place * self._bits_per_count)
        return histogram

    def highest(self, combined: NDArray[np.int64]) -> int:
        """Return the highest exponent, from what all have told."""
        if self._ordered:
            return self._ordered * int(combined[0])
        lane = int(np.flatnonzero(combined[: self.lanes])[-1])
        place = (int(combined[lane]).bit_length() - 1) // self._bits_per_count
        return LOWEST + lane * self._counts_per_lane + place
