"""Agreement of workers on a scale for their floats, through the switch that combines the numbers.

Each worker sends the exponent of its largest magnitude as integers, and reads the highest exponent of all workers from
the result. A switch that sums gets a histogram: the exponents from `LOWEST` to `LOWEST + EXPONENTS - 1` each have a
counter, as many bits wide as the number of workers needs, and a worker sends a one in its own. A switch that takes the
maximum or minimum gets the exponent itself or its negation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from midflight.primitives.library.aggregate import Operation

__all__ = ["Scale"]

LOWEST = -125  # the smallest result of `largest_exponent`
EXPONENTS = 254  # the largest one is 128


class Scale:
    """Encodes and decodes the exponents with which `workers` workers agree on a scale for floats.

    operation: what the switch computes, which determines the encoding. width: the bits of a lane, including the sign.
    """

    def __init__(self, operation: Operation, workers: int, width: int) -> None:
        self._ordered = {"max": 1, "min": -1}.get(operation, 0)
        self._bits_per_count = workers.bit_length()
        self._counts_per_lane = (width - 1) // self._bits_per_count
        self.lanes: int = 1 if self._ordered else -(-EXPONENTS // self._counts_per_lane)
        """How many numbers a worker sends."""

    def encode(self, exponent: int) -> NDArray[np.int32]:
        """Return the numbers that a worker sends for its exponent, a result of `largest_exponent`: shape (lanes,)."""
        if self._ordered:
            return np.array([self._ordered * exponent], np.int32)
        lane, place = divmod(exponent - LOWEST, self._counts_per_lane)
        histogram = np.zeros(self.lanes, np.int32)
        histogram[lane] = 1 << (place * self._bits_per_count)
        return histogram

    def highest(self, combined: NDArray[np.int64]) -> int:
        """Return the highest exponent of all workers.

        `combined` are the numbers that the switch has combined: shape (lanes,).
        """
        if self._ordered:
            return self._ordered * int(combined[0])
        lane = int(np.flatnonzero(combined[: self.lanes])[-1])
        place = (int(combined[lane]).bit_length() - 1) // self._bits_per_count
        return LOWEST + lane * self._counts_per_lane + place
