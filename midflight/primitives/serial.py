"""Serial numbers (RFC 1982): numbers that wrap and can still be ordered."""

from __future__ import annotations

from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.types import int_

__all__ = ["advance"]


def advance(held: Register, index: int, number: int) -> int:
    """Store a serial number in an element unless the stored one is newer; return its distance from the stored one.

    The result is positive if the number is newer or the element was 0, which stands for no number; 0 for the same
    number; and negative if it is older. It is signed and has the width of the register's elements. `number` is never 0.
    """
    signed = int_[held.kind.width]
    there = held.update(index, lambda old: number if old == 0 or signed(number - old) > 0 else old)
    return signed(1) if there == 0 else signed(number - there)
