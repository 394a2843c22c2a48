"""Serial number arithmetic (RFC 1982) for 32-bit sequence numbers that wrap around."""

from __future__ import annotations

__all__ = ["MODULUS", "is_newer", "serial", "unwrap"]

MODULUS = 2**32
_HALF = 2**31


def serial(index: int) -> int:
    """Return the 32-bit sequence number of the message with this ever-growing index."""
    return index % MODULUS


def is_newer(one: int, other: int) -> bool:
    """Say whether sequence number `one` comes after `other` (RFC 1982, section 3.2)."""
    return 0 < (one - other) % MODULUS < _HALF


def unwrap(number: int, near: int) -> int:
    """Return the index with this sequence number that lies nearest to the index `near`."""
    return near + (number - near + _HALF) % MODULUS - _HALF
