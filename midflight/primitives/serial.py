"""Serial numbers (RFC 1982): numbers that wrap and can still be ordered."""

from __future__ import annotations

from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.types import int_

__all__ = ["advance"]


def advance(held: Register, index: int, number: int) -> int:
    """Store `number` in element `index` of a register unless a newer one is there; return the distance between the two.

    The distance is positive if `number` is newer; 1 if the element was 0, which means that it is empty; 0 if both are
    equal; negative if `number` is older, and then nothing is stored. "Newer" is that of RFC 1982 for numbers as wide as
    the register's elements: less than half of the range ahead, so numbers may wrap. A number exactly half of the range
    ahead counts as older. The result is signed and has the same width. `number` must not be 0. The function is written
    in the kernel language and is the packet's one access to the register.
    """
    signed = int_[held.kind.width]
    there = held.update(index, lambda old: number if old == 0 or signed(number - old) > 0 else old)
    return signed(1) if there == 0 else signed(number - there)
