"""An update: the metrics of one instance or path at one time, as agents send them to path selectors."""

from __future__ import annotations

from dataclasses import dataclass

from midflight.errors import MidflightError
from midflight.runtime.steering.metrics.levels import Metric, RawMetric

__all__ = ["SEQUENCES", "Update"]

SEQUENCES = 1 << 32
"""Sequence numbers have 32 bits and start again at 0 after the largest."""


@dataclass(frozen=True, slots=True)
class Update:
    """The metrics of the instance `csci_id` of the service `cs_id`.

    `sequence` (0 to 2**32 - 1) increases by 1 with each update of an instance, and wraps. `at` is the time of the
    readings, in nanoseconds of the sender's clock since 1970 (0 to 2**64 - 1). `valid_for` is the nanoseconds for which
    the update may be used (1 to 2**64 - 1); a receiver counts them from the arrival, so that clocks need not agree.
    `scores` has levels 1 and 2, `raw` level 0. MidflightError if one of these numbers is out of its range, or if a type
    of score occurs twice.
    """

    cs_id: str
    csci_id: str
    sequence: int
    at: int
    valid_for: int
    scores: tuple[Metric, ...] = ()
    raw: tuple[RawMetric, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.sequence < SEQUENCES:
            raise MidflightError(f"update of {self.csci_id}: sequence {self.sequence} is not from 0 to {SEQUENCES - 1}")
        if not 0 <= self.at < 1 << 64 or not 0 < self.valid_for < 1 << 64:
            raise MidflightError(f"update of {self.csci_id}: time {self.at} or validity {self.valid_for} out of range")
        kinds = [each.kind for each in self.scores]
        for each in kinds:
            if kinds.count(each) > 1:
                raise MidflightError(f"update of {self.csci_id}: {each} occurs more than once")

    def score(self, kind: str) -> int | None:
        """Return the score of a metric type, or None if the update has none."""
        return next((each.value for each in self.scores if each.kind == kind), None)
