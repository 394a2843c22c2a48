"""Serial numbers as defined by RFC 1982."""

from __future__ import annotations

__all__ = ["is_older"]


def is_older(number: int, newest: int, bits: int = 32) -> bool:
    """Return whether `number` is older than `newest`, both serial numbers of `bits` bits that wrap (RFC 1982).

    Equal numbers are not older. Numbers that are exactly half of the range apart count as older, in both directions.
    """
    circle = 1 << bits
    return 0 < (newest - number) % circle <= circle // 2
