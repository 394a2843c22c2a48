"""Bloom filters: the code shared by primitives that store items in rows of bits."""

from __future__ import annotations

from midflight.primitives.kernel.arithmetic import hash_
from midflight.primitives.language import Register

__all__ = ["remember"]


def remember(bits: Register, rows: int, item: int, new: bool, seed: int = 0) -> bool:
    """Return whether an item's bit is set in every row; set the bits if `new`.

    Each row is a lane of the register with its own hash, the first with `seed`.
    """
    known = True
    for row in range(rows):
        column = hash_(item, seed=seed + row, range=bits.size)
        before = bits[row].update(column, lambda old: 1 if new else old)
        known = known and before == 1
    return known
