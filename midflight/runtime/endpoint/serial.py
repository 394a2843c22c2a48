"""Sequence numbers on the wire: 32 bits, compared as serial numbers (RFC 1982). The first is 1, and 0 is never used.

Switches use 0 for an entry that is empty. So 1 follows 2**32 - 1: for serial arithmetic that is a step of two, which
does not affect its comparisons.
"""

from __future__ import annotations

__all__ = ["is_newer", "serial", "unwrap"]

_CYCLE = 2**32 - 1  # how many sequence numbers there are


def serial(index: int) -> int:
    """Return the sequence number, 1 to 2**32 - 1, of the message with this index. Index 1 has number 1.

    Indices grow without bound; the index after that of 2**32 - 1 has number 1 again.
    """
    return 1 + (index - 1) % _CYCLE


def is_newer(one: int, other: int) -> bool:
    """Return whether sequence number `one` (32 bits) is newer than `other` (RFC 1982, section 3.2).

    False for equal numbers, and for numbers exactly 2**31 apart.
    """
    return 0 < (one - other) % 2**32 < 2**31


def unwrap(number: int, near: int) -> int:
    """Return the index that has this sequence number and is nearest to the index `near`."""
    half = _CYCLE // 2
    return near + (number - serial(near) + half) % _CYCLE - half
