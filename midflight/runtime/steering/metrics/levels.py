"""Metrics of level 0, 1 and 2 as values, with the fields of draft-ietf-cats-metric-definition, sections 3 and 4.

Level 0 is a raw metric in its own unit. Level 1 is one score for each category, level 2 one score of everything. Scores
are integers from 0 (worst) to 10 (best).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum

from midflight.errors import MidflightError

__all__ = ["BEST", "LEVEL2", "Band", "Category", "Metric", "RawMetric", "Source", "Statistics"]

BEST = 10
"""The best score; the worst is 0."""

LEVEL2 = "norm_fi"
"""The metric type of level 2 (section 4.4.3)."""


class Category(StrEnum):
    """The categories of level 1 (section 3.3). The values are their metric types on the wire."""

    COMPUTING = "computing_comb"
    COMMUNICATION = "communication_comb"
    SERVICE = "service_comb"
    COMPOSED = "composed_comb"


class Source(StrEnum):
    """How a metric's value was obtained (draft-ietf-cats-metric-definition, section 4.1)."""

    NOMINAL = "nominal"
    ESTIMATION = "estimation"
    MEASURED = "directly measured"
    NORMALIZATION = "normalization"
    AGGREGATION = "aggregation"


class Statistics(StrEnum):
    """The statistic of the samples of one measurement window that a value is (section 4.1)."""

    MAX = "max"
    MIN = "min"
    MEAN = "mean"
    CURRENT = "cur"


class Band(StrEnum):
    """The meaning of a score, from the registry entry of the level 2 metric (section 6)."""

    LOW = "not recommended"
    MEDIUM = "optional"
    HIGH = "preferred"

    @classmethod
    def of(cls, score: float) -> Band:
        """Return the band of a score: 0 to 3 is low, 4 to 7 medium and 8 to 10 high; in between, the band below."""
        return cls.LOW if score < 4 else cls.MEDIUM if score < 8 else cls.HIGH


@dataclass(frozen=True, slots=True)
class RawMetric:
    """A level 0 metric: its metric type, its value, and the value's unit, origin and statistic.

    `unit` is one of the draft's names, such as "mbps", or an SI unit; "none" is a pure number. `kind` is one of
    `catalogue.KINDS` or any other name; receivers ignore names that they do not know. MidflightError if the value is
    not finite, or an integer that no float holds.
    """

    kind: str
    value: float
    unit: str = "none"
    source: Source = Source.MEASURED
    statistics: Statistics = Statistics.CURRENT

    def __post_init__(self) -> None:
        if not abs(self.value) <= sys.float_info.max:
            raise MidflightError(f"raw metric {self.kind}: {self.value} is not a finite number")

    def fields(self) -> dict[str, str | int | float]:
        """Return the metric's fields with the names of section 4.1. Values have eight octets."""
        whole = isinstance(self.value, int)
        return {
            "Metric_Type": self.kind,
            "Level": 0,
            "Format": "int" if whole else "float",
            **({} if whole else {"Format_std": "ieee_754"}),
            "Length": 8,
            "Unit": self.unit,
            "Source": self.source.value,
            "Statistics": self.statistics.value,
            "Value": self.value,
        }


@dataclass(frozen=True, slots=True)
class Metric:
    """A score of level 1 or 2 with its metric type: that of a category, or `norm_fi` for level 2.

    `level` is 1 or 2 and `kind` the metric type, which are not checked. MidflightError if the value is not an integer
    from 0 to 10.
    """

    kind: str
    level: int
    value: int

    def __post_init__(self) -> None:
        if not 0 <= self.value <= BEST or self.value != int(self.value):
            raise MidflightError(f"metric {self.kind}: the score {self.value} is not an integer from 0 to {BEST}")

    @property
    def band(self) -> Band:
        """What the score says about using the instance: not recommended, optional or preferred."""
        return Band.of(self.value)

    def fields(self) -> dict[str, str | int]:
        """Return the metric's fields with the names of draft-ietf-cats-metric-definition, section 4.4.

        The value is one unsigned octet, normalised and without a unit.
        """
        return {
            "Metric_Type": self.kind,
            "Level": self.level,
            "Format": "unsigned integer",
            "Length": 1,
            "Source": Source.NORMALIZATION.value,
            "Value": self.value,
        }
