"""The results of queries over all rows, which a server computes from the rows that a switch has not pruned."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["skyline", "top"]

Array = npt.NDArray[Any]


def top(values: Array, n: int) -> Array:
    """Return the `n` largest of a one-dimensional array in descending order, or all values if there are fewer.

    `n` is at least 1.
    """
    least = max(len(values) - n, 0)
    largest: Array = np.sort(np.partition(values, least)[least:] if least else values)[::-1]
    return largest


def skyline(points: Array) -> Array:
    """Return the distinct points that no other point dominates.

    A point dominates another if it is at least as large in all dimensions, and larger in one.

    `points` has the shape (points, dimensions). So has the result, in lexicographic order.
    """
    kept = np.unique(points, axis=0)
    # In order of falling sums, a point comes after all points that dominate it.
    for point in kept[np.argsort(-kept.astype(np.float64).sum(axis=1), kind="stable")]:
        beaten = (kept <= point).all(axis=1) & (kept != point).any(axis=1)
        kept = kept[~beaten]
    return kept
