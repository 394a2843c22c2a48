"""Metrics of compute and network, from raw readings to one score, as CATS defines them.

Level 0 is a raw reading in its own unit. Level 1 is one score a category, made by an agent: computing and service
by the C-SMA beside an instance, communication by the C-NMA for a path. Level 2 is one score of everything. Scores
are whole numbers from 0, the poorest, to 10, the best; 0 to 3 means not recommended for steering, 8 to 10 means
preferred (draft-ietf-cats-metric-definition, sections 3 and 4; requirements in RFC 10054).
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
    """The categories of level 1, by the metric type that each has on the wire."""

    COMPUTING = "computing_comb"
    COMMUNICATION = "communication_comb"
    SERVICE = "service_comb"


C_SMA = frozenset({Category.COMPUTING, Category.SERVICE})
"""What a service metric agent reports."""

C_NMA = frozenset({Category.COMMUNICATION})
"""What a network metric agent reports."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """How a raw reading becomes a score: `worst` scores 0, `best` scores 10, straight between and no further.

    `worst` may lie above `best`, as a delay's does. `weight` is the gauge's share in its category. A `vital` gauge
    that scores 0 takes its whole category to 0: an instance that is down has no computing power, however idle.
    """

    name: str
    category: Category
    worst: float
    best: float
    weight: int = 1
    vital: bool = False

    def __post_init__(self) -> None:
        if self.worst == self.best:
            raise MidflightError(f"gauge {self.name}: worst and best are both {self.worst}, so nothing lies between")
        if self.weight < 1:
            raise MidflightError(f"gauge {self.name}: weight {self.weight} is not a positive whole number")

    def score(self, reading: float) -> Fraction:
        """Return a reading's score by min-max scaling, from 0 to 10, not rounded."""
        worst, best = Fraction(self.worst), Fraction(self.best)
        return BEST * min(Fraction(1), max(Fraction(0), (Fraction(reading) - worst) / (best - worst)))


@dataclass(frozen=True, slots=True)
class Metric:
    """A score of level 1 or 2 under its metric type: a category's, or `norm_fi` for level 2."""

    kind: str
    level: int
    value: int

    def fields(self) -> dict[str, str | int]:
        """Return the metric's representation (section 4.4): one octet, unsigned, without unit, normalised."""
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
    """What an agent tells of a service contact instance or of a path at time `at`: one metric a category."""

    subject: str
    metrics: Mapping[Category, Metric]
    at: int


class Agent:
    """A metric agent: turns raw readings into level 1. Its gauges' categories are those of its role."""

    def __init__(self, role: frozenset[Category], gauges: Iterable[Gauge]) -> None:
        self._gauges = tuple(gauges)
        for each in self._gauges:
            if each.category not in role:
                raise MidflightError(
                    f"gauge {each.name} is of category {each.category}, which this agent has no part in"
                )

    def report(self, subject: str, readings: Mapping[str, float], at: int) -> Report:
        """Return the level 1 metrics of a subject; MidflightError where a gauge has no reading.

        `at` is the time of the readings in the caller's unit; readings without a gauge are left alone.
        """
        scores: dict[Category, list[tuple[Gauge, Fraction]]] = {}
        for gauge in self._gauges:
            if gauge.name not in readings:
                raise MidflightError(f"{subject} gives no reading of {gauge.name}")
            scores.setdefault(gauge.category, []).append((gauge, gauge.score(readings[gauge.name])))
        return Report(subject, {category: _level1(category, each) for category, each in scores.items()}, at)


def combine(metrics: Iterable[Metric], weights: Mapping[Category, int]) -> Fraction:
    """Return the weighted mean of level 1 scores, not rounded; a category without weight counts once."""
    weighed = [(weights.get(Category(each.kind), 1), each.value) for each in metrics]
    total = sum(weight for weight, _ in weighed)
    if total <= 0:
        raise MidflightError("there is no metric to combine, or its weight is not positive")
    return Fraction(sum(weight * value for weight, value in weighed), total)


def level2(metrics: Iterable[Metric], weights: Mapping[Category, int]) -> Metric:
    """Return the single normalised metric of level 1 scores."""
    return Metric("norm_fi", 2, _rounded(combine(metrics, weights)))


def path_readings(path: Path, links: Mapping[tuple[str, str], Mapping[str, float]]) -> dict[str, float]:
    """Return a path's raw readings, made from those of its links, each given by its two nodes in the path's order.

    `delay` is the path's and `length` its number of links; `utilisation` is that of the fullest link and `loss` the
    probability (0 to 1) that some link loses a packet. A link without a reading counts as empty and lossless.
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
