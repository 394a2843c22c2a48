"""Serial numbers (RFC 1982): numbers that go round, and are newer or older than each other all the same."""

from __future__ import annotations

from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.types import int_

__all__ = ["advance"]


def advance(held: Register, index: int, number: int) -> int:
    """Have a serial number take an element unless the one there is newer; return how far it is ahead of that one.

    Above 0 it is newer, or the element was empty, which is 0; 0 is the same number again; below 0 it is older. The
    distance is signed and as wide as the register's elements.
    """
    signed = int_[held.kind.width]
    there = held.update(index, lambda old: number if old == 0 or signed(number - old) > 0 else old)
    return signed(1) if there == 0 else signed(number - there)
