"""Bloom filters: what the primitives have in common that remember items in rows of bits."""

from __future__ import annotations

from midflight.primitives.kernel.arithmetic import hash_
from midflight.primitives.language import Register

__all__ = ["remember"]


def remember(bits: Register, rows: int, item: int, new: bool, seed: int = 0) -> bool:
    """Tell whether an item's bit is set in every row, and set them all when the item is `new`.

    Each row is a lane of the register and has a hash of its own, the first that of `seed`.
    """
    known = True
    for row in range(rows):
        column = hash_(item, seed=seed + row, range=bits.size)
        before = bits[row].update(column, lambda old: 1 if new else old)
        known = known and before == 1
    return known
