"""The oracle of SemiJoin: a key has a partner if building rows have set all its places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from midflight.primitives.oracles.hashes import positions

__all__ = ["partners"]


def partners(items: Sequence[int], building: Sequence[bool], *, rows: int, columns: int, item_bits: int) -> list[bool]:
    """Return for each row, in order, whether building rows before it have set all places of its key in the filter.

    `items` has the key of each row, and `building` whether it is a building row. The other parameters are those of
    `SemiJoin`.
    """
    found = np.ones(len(items), dtype=np.bool_)
    for row in range(rows):
        places = np.array(positions(items, item_bits, row, columns))
        earlier = np.tril(np.ones((len(items), len(items)), dtype=np.bool_), -1)
        found &= ((places[:, np.newaxis] == places) & earlier & np.array(building)).any(axis=1)
    return [bool(each) for each in found]
