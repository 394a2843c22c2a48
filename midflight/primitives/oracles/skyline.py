"""The oracle of Skyline: the stored points as a sorted list."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["pruned"]


def pruned(points: Sequence[Sequence[int]], again: Sequence[bool], *, stored: int) -> list[bool]:
    """Return for each point whether it is pruned: whether a stored point is at least as large in every dimension.

    Up to `stored` points are stored, those with the largest sums. Points sent `again` are never pruned and not stored.
    """
    best: list[tuple[int, ...]] = []
    gone = []
    for each, repeated in zip(points, again, strict=True):
        point = tuple(each)
        beaten = not repeated and bool(best) and bool((np.array(best) >= np.array(point)).all(axis=1).any())
        gone.append(beaten)
        if not (repeated or beaten):
            best = sorted([*best, point], key=lambda one: (sum(one), one), reverse=True)[:stored]
    return gone
