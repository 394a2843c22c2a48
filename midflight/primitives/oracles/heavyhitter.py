"""The oracle of HeavyHitter: the sums of a window by place, and the item that each slot has reported last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from midflight.primitives.oracles.hashes import positions

__all__ = ["alerts"]


def alerts(
    items: Sequence[int],
    amounts: Sequence[int],
    *,
    above: int,
    window: int,
    rows: int,
    columns: int,
    slots: int,
    item_bits: int,
) -> list[int | None]:
    """Return for each packet, in order, the amount that its item is reported with, or None if it is not reported.

    `items` and `amounts` have an element per packet. The other parameters are those of `HeavyHitter`.
    """
    windows = np.arange(len(items)) // window
    least = np.full(len(items), 2**32 - 1)
    for row in range(rows):
        places = np.array(positions(items, item_bits, row, columns))
        together = np.tril((places[:, np.newaxis] == places) & (windows[:, np.newaxis] == windows))
        least = np.minimum(least, together.astype(np.int64) @ np.array(amounts, dtype=np.int64))
    slot = positions(items, item_bits, rows, slots)
    reported: dict[int, tuple[int, int]] = {}
    found: list[int | None] = []
    for place, item in enumerate(items):
        heavy = least[place] >= above
        mine = (int(windows[place]), item)
        found.append(int(least[place]) if heavy and reported.get(slot[place]) != mine else None)
        if heavy:
            reported[slot[place]] = mine
    return found
