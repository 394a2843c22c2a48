"""The trust in measurements of an instance as they age: fresh, then the last good value, then the static one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from midflight.errors import MidflightError

__all__ = ["Ages", "Grade", "grade"]


class Grade(StrEnum):
    """The value that a C-PS uses: a fresh measurement, the last good one, or the static description."""

    FRESH = "fresh"
    LAST_GOOD = "last good"
    STATIC = "static"


@dataclass(frozen=True, slots=True)
class Ages:
    """The ages at which a measurement is no longer fresh and no longer good, in one unit.

    MidflightError unless 0 < `fresh` <= `good`.
    """

    fresh: float
    good: float

    def __post_init__(self) -> None:
        if not 0 < self.fresh <= self.good:
            raise MidflightError(f"fresh ({self.fresh}) must be positive and at most good ({self.good})")


def grade(age: float | None, ages: Ages) -> Grade:
    """Return the grade of a measurement of this age; None is no measurement at all."""
    if age is None or age > ages.good:
        return Grade.STATIC
    return Grade.FRESH if age <= ages.fresh else Grade.LAST_GOOD
