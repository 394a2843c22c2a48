"""The sending end of the distribution of metrics: which of an instance's readings become updates.

Three rules bound the traffic, and keep small changes from moving requests back and forth (RFC 10054 asks for both):
an update is sent at least every `interval`; in between, only if a score changes by `threshold` points or more since the
last update; and such changes take tokens from a bucket, so that a load that swings cannot flood the path selectors.
"""

from __future__ import annotations

from dataclasses import dataclass

from midflight.errors import MidflightError
from midflight.runtime.steering.metrics.levels import Metric, RawMetric
from midflight.runtime.steering.metrics.update import SEQUENCES, Update

__all__ = ["Publisher", "Schedule"]

_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Schedule:
    """When updates are sent. Times are in nanoseconds.

    * `interval`: the longest time between two updates. `validity`: for how long a receiver may use an update; more than
      `interval`, so that one lost update makes nothing stale.
    * `threshold`: the change of a score, in points, that is worth an update before the interval has passed. A score
      that appears, disappears, or changes to or from 0 is always worth one.
    * `burst`: how many such updates may follow each other at once; `refill`: the time in which one more is allowed.

    MidflightError if a number is not positive, or if the validity is not more than the interval.
    """

    interval: int = 10 * _SECOND
    validity: int = 35 * _SECOND
    threshold: int = 2
    burst: int = 3
    refill: int = 5 * _SECOND

    def __post_init__(self) -> None:
        if min(self.interval, self.threshold, self.burst, self.refill) <= 0:
            raise MidflightError(f"{self}: all numbers must be positive")
        if self.validity <= self.interval:
            raise MidflightError(
                f"updates sent every {self.interval} ns must be valid for longer, not {self.validity} ns"
            )

    def most(self, duration: int) -> int:
        """Return the largest number of updates that one instance can send in any `duration`, whatever its readings."""
        return self.burst + 2 + -(-duration // self.refill) + duration // self.interval


class Publisher:
    """Makes the updates of the instance `csci_id` of a service `cs_id`, as `schedule` says; None is the default one.

    `first` is the sequence number of the first update. After a restart it must be larger than before: seconds since
    1970 serve, as no instance sends more than one update a second for long.
    """

    def __init__(self, cs_id: str, csci_id: str, schedule: Schedule | None = None, first: int = 0) -> None:
        self._schedule = schedule or Schedule()
        self._cs_id, self._csci_id = cs_id, csci_id
        self._sequence = first % SEQUENCES
        self._sent: Update | None = None
        self._scores: dict[str, int] = {}
        self._tokens: float = self._schedule.burst
        self._counted = 0  # the time until which tokens have been added
        self.held = 0
        """How many changes were not sent at once because there were no tokens left."""

    def offer(self, scores: tuple[Metric, ...], now: int, raw: tuple[RawMetric, ...] = ()) -> Update | None:
        """Return an update with these metrics, measured at `now`, or None if it is not worth sending yet.

        `now` is in nanoseconds and never decreases. A score that falls to 0 is sent without waiting for a token while
        less than one is owed, so that an instance that is down attracts no further requests; its token is owed then.
        MidflightError if the scores or raw metrics do not fit an update.
        """
        schedule, last = self._schedule, self._sent
        self._tokens = min(schedule.burst, self._tokens + (now - self._counted) / schedule.refill)
        self._counted = now
        changed = {each.kind: each.value for each in scores}
        if last is not None and now - last.at < schedule.interval:
            if not self._is_worth_sending(changed):
                return None
            down = self._tokens > -1 and any(not value and self._scores.get(kind) for kind, value in changed.items())
            if self._tokens < 1 and not down:
                self.held += 1
                return None
            self._tokens -= 1
        update = Update(self._cs_id, self._csci_id, self._sequence, now, schedule.validity, scores, raw)
        self._sequence = (self._sequence + 1) % SEQUENCES
        self._sent, self._scores = update, changed
        return update

    def _is_worth_sending(self, changed: dict[str, int]) -> bool:
        if changed.keys() != self._scores.keys():
            return True
        return any(
            abs(value - self._scores[kind]) >= self._schedule.threshold or (not value) != (not self._scores[kind])
            for kind, value in changed.items()
        )
