"""Metrics of compute and network, from raw readings to one score, as defined by CATS.

Level 0 is a raw reading in its own unit. Level 1 is one score for each category, computed by an agent: the C-SMA next
to an instance scores computing and service, and the C-NMA scores the communication on a path. Level 2 is one score of
everything. Scores are integers from 0 (worst) to 10 (best); 0 to 3 means not recommended for steering, and 8 to 10
means preferred (draft-ietf-cats-metric-definition, sections 3 and 4; requirements in RFC 10054).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise

from midflight.errors import MidflightError
from midflight.runtime.steering.graph import Path

__all__ = ["C_NMA", "C_SMA", "Agent", "Category", "Gauge", "Metric", "Report", "combine", "level2", "path_readings"]

BEST = 10


class Category(StrEnum):
    """The categories of level 1. The values are their metric types on the wire."""

    COMPUTING = "computing_comb"
    COMMUNICATION = "communication_comb"
    SERVICE = "service_comb"


C_SMA = frozenset({Category.COMPUTING, Category.SERVICE})
"""The categories that a service metric agent reports."""

C_NMA = frozenset({Category.COMMUNICATION})
"""The categories that a network metric agent reports."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """Converts a raw reading to a score: `worst` scores 0, `best` scores 10, linear in between and limited to 0..10.

    `worst` may be larger than `best`, as for a delay. `weight` is the gauge's share in its category. A `vital` gauge
    that scores 0 sets its whole category to 0: an instance that is down has no computing power, however idle it is.
    MidflightError if `worst` equals `best`, or if the weight is below 1.
    """

    name: str
    category: Category
    worst: float
    best: float
    weight: int = 1
    vital: bool = False

    def __post_init__(self) -> None:
        if self.worst == self.best:
            raise MidflightError(f"gauge {self.name}: worst and best are both {self.worst}")
        if self.weight < 1:
            raise MidflightError(f"gauge {self.name}: weight {self.weight} is not a positive integer")

    def score(self, reading: float) -> Fraction:
        """Return the score of a reading: 0 at `worst`, 10 at `best`, linear in between, and not rounded."""
        worst, best = Fraction(self.worst), Fraction(self.best)
        return BEST * min(Fraction(1), max(Fraction(0), (Fraction(reading) - worst) / (best - worst)))


@dataclass(frozen=True, slots=True)
class Metric:
    """A score of level 1 or 2 with its metric type: that of a category, or `norm_fi` for level 2."""

    kind: str
    level: int
    value: int

    def fields(self) -> dict[str, str | int]:
        """Return the metric's fields with the names of draft-ietf-cats-metric-definition, section 4.4.

        The value is one unsigned octet, normalised and without a unit.
        """
        return {
            "Metric_Type": self.kind,
            "Level": self.level,
            "Format": "unsigned integer",
            "Length": 1,
            "Source": "normalization",
            "Value": self.value,
        }


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

    `role` is the set of categories that it may report: `C_SMA` or `C_NMA`. MidflightError if a gauge belongs to
    another.
    """

    def __init__(self, role: frozenset[Category], gauges: Iterable[Gauge]) -> None:
        self._gauges = tuple(gauges)
        for each in self._gauges:
            if each.category not in role:
                raise MidflightError(
                    f"gauge {each.name} is of category {each.category}, which this agent does not report"
                )

    def report(self, subject: str, readings: Mapping[str, float], at: int) -> Report:
        """Return the level 1 metrics of a subject, an instance or path by name, from its readings by name of the gauge.

        `at` is the time of the readings, in a unit that the caller chooses. Readings without a gauge are ignored.
        MidflightError if a gauge has no reading.
        """
        scores: dict[Category, list[tuple[Gauge, Fraction]]] = {}
        for gauge in self._gauges:
            if gauge.name not in readings:
                raise MidflightError(f"{subject} has no reading of {gauge.name}")
            scores.setdefault(gauge.category, []).append((gauge, gauge.score(readings[gauge.name])))
        return Report(subject, {category: _level1(category, each) for category, each in scores.items()}, at)


def combine(metrics: Iterable[Metric], weights: Mapping[Category, int]) -> Fraction:
    """Return the weighted mean of level 1 scores, not rounded. A category without a weight has weight 1.

    MidflightError if there are no metrics, or if their total weight is not positive.
    """
    weighed = [(weights.get(Category(each.kind), 1), each.value) for each in metrics]
    total = sum(weight for weight, _ in weighed)
    if total <= 0:
        raise MidflightError("there are no metrics to combine, or their total weight is not positive")
    return Fraction(sum(weight * value for weight, value in weighed), total)


def level2(metrics: Iterable[Metric], weights: Mapping[Category, int]) -> Metric:
    """Return the level 2 metric, one score from 0 to 10, for level 1 metrics: their weighted mean, rounded half up.

    A category without a weight has weight 1. MidflightError if there are no metrics, or if their total weight is not
    positive.
    """
    return Metric("norm_fi", 2, _rounded(combine(metrics, weights)))


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


def _level1(category: Category, scores: list[tuple[Gauge, Fraction]]) -> Metric:
    if any(gauge.vital and not score for gauge, score in scores):
        return Metric(category, 1, 0)
    total = sum(gauge.weight for gauge, _ in scores)
    return Metric(category, 1, _rounded(sum(gauge.weight * score for gauge, score in scores) / Fraction(total)))


def _rounded(score: Fraction) -> int:
    return int(score + Fraction(1, 2))
