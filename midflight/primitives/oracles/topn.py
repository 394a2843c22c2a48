"""The oracle of TopN: how many rows above each threshold came before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["pruned"]


def pruned(
    rows: Sequence[tuple[int, int]], again: Sequence[bool], *, n: int, lowest: int, levels: int, queries: int
) -> list[bool]:
    """Return which rows (query, value) are not needed. Rows sent `again` are always needed and do not count."""
    query, value = np.array(rows, dtype=np.int64).T
    fresh = ~np.array(again) & (query < queries)
    gone = np.zeros(len(rows), dtype=np.bool_)
    for threshold in (lowest * 2**level for level in range(levels)):
        reached = fresh & (value >= threshold)
        for each in np.unique(query[fresh]):
            ahead = np.cumsum(reached & (query == each))
            gone |= fresh & (query == each) & (value < threshold) & (ahead >= n)
    return [bool(each) for each in gone]
