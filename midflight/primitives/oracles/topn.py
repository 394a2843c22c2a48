"""The oracle of TopN: how many rows above each threshold came before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["pruned"]


def pruned(
    rows: Sequence[tuple[int, int]], again: Sequence[bool], *, n: int, lowest: int, levels: int, queries: int
) -> list[bool]:
    """Return for each row (query, value), in order, whether it is pruned.

    It is if `n` earlier rows of its query have reached a threshold above its value. Rows sent `again`, and rows of
    queries from number `queries` up, are never pruned and do not count. The other parameters are those of `TopN`.
    """
    query, value = np.array(rows, dtype=np.int64).T
    fresh = ~np.array(again) & (query < queries)
    gone = np.zeros(len(rows), dtype=np.bool_)
    for threshold in (lowest * 2**level for level in range(levels)):
        reached = fresh & (value >= threshold)
        for each in np.unique(query[fresh]):
            ahead = np.cumsum(reached & (query == each))
            gone |= fresh & (query == each) & (value < threshold) & (ahead >= n)
    return [bool(each) for each in gone]
