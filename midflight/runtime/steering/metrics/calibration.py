"""Calibration: two sites that do the same work under the same load report scores that agree within 0.1.

Every site runs the same fixed workload at several loads. Its readings, compared with those of a reference site at the
same loads, give a linear correction (`calibrate`). Further rounds show whether the corrected scores agree
(`agreement`). The registry entries of draft-ietf-cats-metric-definition, section 6, ask for a fixed workload, a
deviation below 0.1, and at most one abnormal score in ten rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from midflight.errors import MidflightError

__all__ = ["TOLERANCE", "Agreement", "Calibration", "agreement", "calibrate"]

TOLERANCE = Fraction(1, 10)
"""The largest deviation of two sites' scores, and the largest share of rounds that may deviate more."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A linear correction of a site's readings of one gauge to those of the reference site.

    Calling it with a reading returns the corrected reading, `gain` * reading + `offset`.
    """

    gain: float = 1.0
    offset: float = 0.0

    def __call__(self, reading: float) -> float:
        """Return the reading that the reference site would have at the same load."""
        return self.gain * reading + self.offset


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well the scores of two sites agree over several rounds of the same workload.

    Scores are numbers from 0 to 10. `deviation` is the largest absolute difference of the two scores of a round.
    `abnormal` is the share of rounds, from 0 to 1, in which the difference is more than 0.1.
    """

    deviation: float
    abnormal: Fraction

    @property
    def holds(self) -> bool:
        """Whether the two sites agree: at most one round in ten deviates by more than 0.1."""
        return self.abnormal <= TOLERANCE


def calibrate(readings: Sequence[float], reference: Sequence[float]) -> Calibration:
    """Return the correction of a site's readings to the reference site's, both of the same rounds of the workload.

    It is the line with the least squares of the differences. MidflightError if there are fewer than three rounds, if
    their numbers differ, or if the readings are all equal, so that they do not show the load.
    """
    if len(readings) != len(reference) or len(readings) < 3:
        raise MidflightError(
            f"{len(readings)} readings cannot be calibrated by {len(reference)} of the reference site",
            hint="run the same workload at three loads or more on both sites",
        )
    site, other = np.asarray(readings, float), np.asarray(reference, float)
    spread = site - site.mean()
    if not spread.any():
        raise MidflightError(
            f"all {len(readings)} readings are {readings[0]}", hint="run the workload at different loads"
        )
    gain = float(spread @ (other - other.mean()) / (spread @ spread))
    return Calibration(gain, float(other.mean() - gain * site.mean()))


def agreement(scores: Sequence[Fraction], reference: Sequence[Fraction]) -> Agreement:
    """Return how well two sites' scores agree, both of the same rounds and not rounded (`Agent.scores`).

    MidflightError if there are no rounds, or if their numbers differ.
    """
    if not scores or len(scores) != len(reference):
        raise MidflightError(f"{len(scores)} scores cannot be compared with {len(reference)}")
    differences = [abs(one - other) for one, other in zip(scores, reference, strict=True)]
    abnormal = sum(each > TOLERANCE for each in differences)
    return Agreement(float(max(differences)), Fraction(abnormal, len(differences)))
