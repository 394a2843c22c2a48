"""Sequence numbers on the wire: 32 bits, compared as serial numbers (RFC 1982), 1 the first and 0 never used.

Switches keep 0 for an entry that holds nothing yet. So after 2**32 - 1 comes 1, which to serial arithmetic is one step
further than usual and to its comparisons the same.
"""

from __future__ import annotations

__all__ = ["is_newer", "serial", "unwrap"]

_CYCLE = 2**32 - 1  # how many sequence numbers there are


def serial(index: int) -> int:
    """Return the sequence number of the message with this ever-growing index; that of index 1 is 1."""
    return 1 + (index - 1) % _CYCLE


def is_newer(one: int, other: int) -> bool:
    """Say whether sequence number `one` comes after `other` (RFC 1982, section 3.2)."""
    return 0 < (one - other) % 2**32 < 2**31


def unwrap(number: int, near: int) -> int:
    """Return the index with this sequence number that lies nearest to the index `near`."""
    half = _CYCLE // 2
    return near + (number - serial(near) + half) % _CYCLE - half
