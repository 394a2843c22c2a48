"""The entries of the performance metrics registry for scores (draft-ietf-cats-metric-definition, section 6).

An entry fixes what two implementations must have in common for their scores to be comparable: the range, the
measurement window, the roles that report it, and the tolerance of calibration. IANA has not assigned identifiers yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from midflight.errors import MidflightError
from midflight.runtime.steering.metrics.calibration import TOLERANCE
from midflight.runtime.steering.metrics.levels import BEST, LEVEL2, Category
from midflight.runtime.steering.metrics.window import MEASUREMENT_WINDOW

__all__ = ["ENTRIES", "Entry", "entry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A registry entry of a score.

    `name` is the registered name and `metric_type` the type on the wire. Scores are from `lowest` to `highest`, of
    samples that are at most `measurement_window` nanoseconds old. Scores of two calibrated agents differ by at most
    `tolerance`. `roles` may report the score.
    """

    name: str
    metric_type: str
    level: int
    description: str
    roles: tuple[str, ...]
    lowest: int = 0
    highest: int = BEST
    unit: str = "unitless"
    output: str = "singleton"
    measurement_window: int = MEASUREMENT_WINDOW
    tolerance: Fraction = TOLERANCE
    controller: str = "IETF"
    version: str = "1.0"


def _level1(category: Category, label: str, description: str, *roles: str) -> Entry:
    name = f"Norm_Passive_CATS-L1_{label}_RFCXXXXsecY_Unitless_Singleton"
    return Entry(name, category.value, 1, description, roles)


ENTRIES: Mapping[str, Entry] = MappingProxyType(
    {
        each.metric_type: each
        for each in (
            Entry(
                "Norm_Passive_CATS-L2_RFCXXXXsecY_Unitless_Singleton",
                LEVEL2,
                2,
                "overall capability of an instance and the path to it",
                ("C-SMA", "C-NMA", "C-PS"),
            ),
            _level1(Category.COMPUTING, "Compute", "computing power that is left", "C-SMA"),
            _level1(Category.COMMUNICATION, "Communication", "quality of a path", "C-NMA"),
            _level1(Category.SERVICE, "Service", "availability and speed of the service", "C-SMA"),
            _level1(Category.COMPOSED, "Composed", "readings of several categories together", "C-PS"),
        )
    }
)
"""The entries by metric type."""


def entry(metric_type: str) -> Entry:
    """Return the entry of a score's metric type. MidflightError if it is not registered."""
    if metric_type not in ENTRIES:
        raise MidflightError(f"{metric_type} is not a registered score", hint=f"registered are {', '.join(ENTRIES)}")
    return ENTRIES[metric_type]
