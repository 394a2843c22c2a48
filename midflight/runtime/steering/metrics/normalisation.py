"""Functions that convert a raw reading to a score (draft-ietf-cats-metric-definition, section 4.2.2).

Every function of a reading that returns a share from 0 (worst) to 1 (best) is a `Normalisation`; the three here are
those that the draft names.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from midflight.errors import MidflightError

__all__ = ["MinMax", "Normalisation", "Sigmoid", "ZScore"]

Normalisation = Callable[[float], Fraction]
"""A function from a reading, in its own unit, to a share from 0 (worst) to 1 (best), which never falls as readings
improve."""


@dataclass(frozen=True, slots=True)
class MinMax:
    """Linear between two bounds: `worst` gives 0 and `best` gives 1; readings beyond them count as the bounds.

    `worst` may be larger than `best`, as for a delay. MidflightError if they are equal or not finite.
    """

    worst: float
    best: float

    def __post_init__(self) -> None:
        if self.worst == self.best:
            raise MidflightError(f"worst and best are both {self.worst}")
        if not (math.isfinite(self.worst) and math.isfinite(self.best)):
            raise MidflightError(f"worst {self.worst} and best {self.best} must be finite numbers")

    def __call__(self, reading: float) -> Fraction:
        """Return the share of a reading, exactly."""
        worst, best = Fraction(self.worst), Fraction(self.best)
        return min(Fraction(1), max(Fraction(0), (Fraction(reading) - worst) / (best - worst)))


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """The logistic function: `middle` gives 1/2, and readings far from it approach 0 and 1 smoothly.

    At a distance of `spread` from the middle, the share is about 0.27 or 0.73. `rising` is whether large readings are
    good; False for a delay. MidflightError if `spread` is not positive, or a parameter is not finite.
    """

    middle: float
    spread: float
    rising: bool = True

    def __post_init__(self) -> None:
        _check("spread", self.middle, self.spread)

    def __call__(self, reading: float) -> Fraction:
        """Return the share of a reading."""
        distance = (reading - self.middle) / self.spread
        # The hyperbolic tangent does not overflow at large distances, as the exponential function does.
        return Fraction((1 + math.tanh((distance if self.rising else -distance) / 2)) / 2)


@dataclass(frozen=True, slots=True)
class ZScore:
    """The distance from the mean in standard deviations, from `-limit` (0) to `limit` (1); the mean gives 1/2.

    `mean` and `deviation` describe the readings of all sites that are compared. `rising` is whether large readings are
    good. MidflightError if `deviation` or `limit` is not positive, or a parameter is not finite.
    """

    mean: float
    deviation: float
    rising: bool = True
    limit: float = 3

    def __post_init__(self) -> None:
        _check("deviation", self.mean, self.deviation)
        _check("limit", 0, self.limit)

    def __call__(self, reading: float) -> Fraction:
        """Return the share of a reading."""
        z = (reading - self.mean) / self.deviation
        share = (z if self.rising else -z) / (2 * self.limit) + 0.5
        return Fraction(min(1.0, max(0.0, share)))


def _check(name: str, middle: float, width: float) -> None:
    if not (math.isfinite(middle) and math.isfinite(width) and width > 0):
        raise MidflightError(f"{name} {width} around {middle} is not a positive finite number")
