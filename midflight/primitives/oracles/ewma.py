"""The oracle of Ewma: averages as fractions, rounded as the primitive specifies."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

__all__ = ["averages"]


def averages(values: Iterable[int], *, weight: Fraction, step: Fraction) -> list[Fraction]:
    """Return the average of one series after each of its values, in order. The first value is the first average.

    `weight` is the weight of a new value, between 0 and 1. Each change of the average is rounded to a multiple of
    `step`.
    """
    result: list[Fraction] = []
    for value in values:
        if not result:
            result.append(Fraction(value))
            continue
        move = weight * (value - result[-1])
        result.append(result[-1] + rounded(move / step) * step)
    return result


def rounded(number: Fraction) -> int:
    """Return the nearest integer; halves are rounded up."""
    return math.floor(number + Fraction(1, 2))
