"""What a server makes of the rows that the switch has left it: the results that all rows would have given."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["skyline", "top"]

Array = npt.NDArray[Any]


def top(values: Array, n: int) -> Array:
    """Return the `n` largest values, or all when they are fewer, the largest first."""
    least = max(len(values) - n, 0)
    largest: Array = np.sort(np.partition(values, least)[least:] if least else values)[::-1]
    return largest


def skyline(points: Array) -> Array:
    """Return the different points than which no other is at least as good, that is large, in every dimension.

    `points` has the shape (points, dimensions); so has the result, in lexicographic order.
    """
    kept = np.unique(points, axis=0)
    # In order of falling sums, whatever beats a point comes before it.
    for point in kept[np.argsort(-kept.astype(np.float64).sum(axis=1), kind="stable")]:
        beaten = (kept <= point).all(axis=1) & (kept != point).any(axis=1)
        kept = kept[~beaten]
    return kept
