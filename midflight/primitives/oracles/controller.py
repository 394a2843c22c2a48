"""The oracle of Controller: a control loop in exact fractions, whose command is rounded and clamped at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from midflight.primitives.oracles.serial import is_older

__all__ = ["Loop"]

Gains = Sequence[Fraction]


@dataclass(slots=True)
class Loop:
    """The oracle of `Controller`: one control loop with its gains by channel, as exact fractions, and its state.

    `low` and `high` are the limits of its command.
    """

    proportional: Gains
    integral: Gains
    derivative: Gains
    low: int
    high: int
    _readings: dict[int, Sequence[int]] = field(default_factory=dict)
    _integral: Fraction = Fraction(0)

    def command(self, sequence: int, target: Sequence[int], measured: Sequence[int]) -> int | None:
        """Process a reading and return its command, rounded to an integer (halves up) and limited to `low` to `high`.

        `target` and `measured` have one number per channel. Return None for a reading that is not newer than the
        latest, and for sequence 0, which resets the loop.
        """
        if sequence == 0:
            self._readings.clear()
            self._integral = Fraction(0)
            return None
        if self._readings:
            (latest,) = self._readings
            if sequence == latest or is_older(sequence, latest):
                return None
        previous = next(iter(self._readings.values()), measured)
        self._readings = {sequence: measured}
        errors = [wanted - is_ for wanted, is_ in zip(target, measured, strict=True)]
        changes = [is_ - was for is_, was in zip(measured, previous, strict=True)]
        self._integral = self._clamped(self._integral + _dot(self.integral, errors))
        exact = _dot(self.proportional, errors) + self._integral - _dot(self.derivative, changes)
        return int(self._clamped(Fraction(math.floor(exact + Fraction(1, 2)))))

    def _clamped(self, number: Fraction) -> Fraction:
        return min(Fraction(self.high), max(Fraction(self.low), number))


def _dot(gains: Gains, values: Sequence[int]) -> Fraction:
    return sum((gain * value for gain, value in zip(gains, values, strict=True)), Fraction(0))
