"""Metric agents: from raw readings of an instance or a path to one level 1 score for each category.

The C-SMA next to an instance scores computing and service, the C-NMA scores the communication on a path, and the C-PS,
which knows both, may score what is composed of them, such as the total delay (RFC 10053;
draft-ietf-cats-metric-definition, section 3.3).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from midflight.errors import MidflightError
from midflight.runtime.steering.graph import Path
from midflight.runtime.steering.metrics.calibration import Calibration
from midflight.runtime.steering.metrics.combination import Combination, rounded, weighted_mean
from midflight.runtime.steering.metrics.levels import BEST, Category, Metric
from midflight.runtime.steering.metrics.normalisation import Normalisation

__all__ = ["C_NMA", "C_PS", "C_SMA", "Agent", "Gauge", "Report", "path_readings"]

C_SMA = frozenset({Category.COMPUTING, Category.SERVICE})
"""The categories that a service metric agent reports."""

C_NMA = frozenset({Category.COMMUNICATION})
"""The categories that a network metric agent reports."""

C_PS = frozenset({Category.COMPOSED})
"""The categories that only a path selector can score, as they need the readings of both agents."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """Converts the reading called `name` to a score by a normalisation function.

    `weight` is the gauge's share in its category. A `vital` gauge that scores 0 sets its whole category to 0: an
    instance that is down has no computing power, however idle it is. MidflightError if the weight is below 1.
    """

    name: str
    category: Category
    normalisation: Normalisation
    weight: int = 1
    vital: bool = False

    def __post_init__(self) -> None:
        if self.weight < 1:
            raise MidflightError(f"gauge {self.name}: weight {self.weight} is not a positive integer")

    def score(self, reading: float) -> Fraction:
        """Return the score of a reading, from 0 to 10 and not rounded.

        MidflightError if the reading is not finite, or if the normalisation function returns no number from 0 to 1.
        """
        if not abs(reading) <= sys.float_info.max:
            raise MidflightError(f"gauge {self.name}: the reading {reading} is not a finite number")
        share = self.normalisation(reading)
        if not 0 <= share <= 1:
            raise MidflightError(f"gauge {self.name}: {reading} is normalised to {share}, which is not from 0 to 1")
        return BEST * share


@dataclass(frozen=True, slots=True)
class Report:
    """The scores that an agent reports of a `subject`, an instance or a path: one level 1 metric for each category.

    `at` is the time of the readings, in the unit of `Agent.report`.
    """

    subject: str
    metrics: Mapping[Category, Metric]
    at: int


class Agent:
    """A metric agent: converts raw readings to level 1 metrics, scores from 0 to 10 for each category.

    `role` is the set of categories that it may report: `C_SMA`, `C_NMA` or `C_PS`. `combination` combines the scores
    of a category's gauges. `calibrations` correct readings, by gauge, before they are scored (see `calibration.py`).
    MidflightError if a gauge belongs to another role.
    """

    def __init__(
        self,
        role: frozenset[Category],
        gauges: Iterable[Gauge],
        combination: Combination = weighted_mean,
        calibrations: Mapping[str, Calibration] | None = None,
    ) -> None:
        self._gauges = tuple(gauges)
        self._combination = combination
        self._calibrations = dict(calibrations or {})
        for each in self._gauges:
            if each.category not in role:
                raise MidflightError(
                    f"gauge {each.name} is of category {each.category}, which this agent does not report"
                )

    def scores(self, subject: str, readings: Mapping[str, float]) -> dict[Category, Fraction]:
        """Return a subject's scores by category, from 0 to 10 and not rounded, from its readings by name of the gauge.

        Readings without a gauge are ignored. MidflightError if a gauge has no reading, or for the reasons of
        `Gauge.score`.
        """
        scores: dict[Category, list[tuple[Gauge, Fraction]]] = {}
        for gauge in self._gauges:
            if gauge.name not in readings:
                raise MidflightError(f"{subject} has no reading of {gauge.name}")
            reading = readings[gauge.name]
            if correct := self._calibrations.get(gauge.name):
                reading = correct(reading)
            scores.setdefault(gauge.category, []).append((gauge, gauge.score(reading)))
        return {category: self._combined(each) for category, each in scores.items()}

    def report(self, subject: str, readings: Mapping[str, float], at: int) -> Report:
        """Return the level 1 metrics of a subject, an instance or path by name, from its readings by name of the gauge.

        `at` is the time of the readings, in a unit that the caller chooses. Readings without a gauge are ignored.
        MidflightError if a gauge has no reading, or for the reasons of `Gauge.score`.
        """
        scores = self.scores(subject, readings)
        return Report(subject, {each: Metric(each, 1, rounded(score)) for each, score in scores.items()}, at)

    def _combined(self, scores: list[tuple[Gauge, Fraction]]) -> Fraction:
        if any(gauge.vital and not score for gauge, score in scores):
            return Fraction(0)
        return self._combination([(gauge.weight, score) for gauge, score in scores])


def path_readings(path: Path, links: Mapping[tuple[str, str], Mapping[str, float]]) -> dict[str, float]:
    """Return the raw readings of a path, given those of its links by node pair in the direction of the path.

    `delay` is that of the path and `length` its number of links; `utilisation` is that of the busiest link, and `loss`
    the probability (0 to 1) that any link loses a packet. A link without readings counts as idle and lossless.
    """
    steps = [links.get(each, {}) for each in pairwise(path.nodes)]
    kept = 1.0
    for each in steps:
        kept *= 1 - each.get("loss", 0.0)
    fullest = max((each.get("utilisation", 0.0) for each in steps), default=0.0)
    return {"delay": path.delay, "length": len(steps), "utilisation": fullest, "loss": 1 - kept}
