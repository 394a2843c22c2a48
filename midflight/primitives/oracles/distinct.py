"""The oracle of Distinct: the most recent distinct items of each row."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.primitives.oracles.hashes import hashes, positions

__all__ = ["pruned"]


def pruned(
    items: Sequence[int], again: Sequence[bool], *, rows: int, columns: int, item_bits: int, fingerprint: int
) -> list[bool]:
    """Return for each item whether its row is pruned: whether the cache holds the item when the row arrives.

    Rows with `again` are retransmissions, which are never pruned and do not change the cache. The other parameters are
    those of `Distinct`.
    """
    marks = [int(each) % 2**fingerprint for each in hashes(items, item_bits, 1)] if fingerprint else list(items)
    places = positions(items, item_bits, 0, rows)
    found = []
    for last, (mark, place) in enumerate(zip(marks, places, strict=True)):
        recent: list[int] = []
        for each in range(last - 1, -1, -1):
            if places[each] == place and not again[each] and marks[each] not in recent:
                recent.append(marks[each])
        found.append(not again[last] and mark in recent[:columns])
    return found
