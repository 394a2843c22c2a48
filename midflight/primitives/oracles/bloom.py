"""The oracle of Bloom: an item is a member if all its places are set."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.primitives.oracles.hashes import positions

__all__ = ["answers"]


def answers(
    requests: Sequence[tuple[int, int]], *, rows: int, columns: int, capacity: int, item_bits: int
) -> list[tuple[bool, bool] | None]:
    """Return the answers to requests (operation, item) in order, of a filter that is empty at first.

    An answer is (whether the item was a member before, whether there are more than `capacity` items), or None if the
    operation is neither 0 (query) nor 1 (insert). The other parameters are those of `Bloom`.
    """
    items = [item for _, item in requests]
    places = list(zip(*(_places(row, items, columns, item_bits) for row in range(rows)), strict=True))
    taken: set[tuple[int, int]] = set()
    inserted = 0
    found: list[tuple[bool, bool] | None] = []
    for (operation, _), mine in zip(requests, places, strict=True):
        if operation not in (0, 1):
            found.append(None)
            continue
        member = taken.issuperset(mine)
        if operation == 1 and not member:
            taken.update(mine)
            inserted += 1
        found.append((member, inserted > capacity))
    return found


def _places(row: int, items: Sequence[int], columns: int, item_bits: int) -> list[tuple[int, int]]:
    """Return each item's place in a row."""
    return [(row, column) for column in positions(items, item_bits, row, columns)]
