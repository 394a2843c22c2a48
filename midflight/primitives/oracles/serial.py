"""Serial numbers, as RFC 1982 defines them."""

from __future__ import annotations

__all__ = ["is_older"]


def is_older(number: int, newest: int, bits: int = 32) -> bool:
    """Tell whether a number comes before another, or is half of the circle away from it, which is never newer."""
    circle = 1 << bits
    return 0 < (newest - number) % circle <= circle // 2
