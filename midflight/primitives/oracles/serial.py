"""Serial numbers as defined by RFC 1982."""

from __future__ import annotations

__all__ = ["is_older"]


def is_older(number: int, newest: int, bits: int = 32) -> bool:
    """Return whether a number is older than another. Exactly half of the circle away counts as older."""
    circle = 1 << bits
    return 0 < (newest - number) % circle <= circle // 2
