"""A Bloom filter as a function of the kernel language, for primitives that store items in rows of bits."""

from __future__ import annotations

from midflight.primitives.kernel.arithmetic import hash_
from midflight.primitives.language import Register

__all__ = ["remember"]


def remember(bits: Register, rows: int, item: int, new: bool, seed: int = 0) -> bool:
    """Return whether an item's bit is set in every row of a Bloom filter, and set these bits if `new`.

    The filter is a register with `rows` lanes of single bits. Row number n has the hash with seed `seed` + n. The
    function is inlined into a kernel and is the packet's one access to each lane.
    """
    known = True
    for row in range(rows):
        column = hash_(item, seed=seed + row, range=bits.size)
        before = bits[row].update(column, lambda old: 1 if new else old)
        known = known and before == 1
    return known
