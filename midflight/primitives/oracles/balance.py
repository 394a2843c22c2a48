"""The oracle of Balance: the instance of each request, given the tables and the history of reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from midflight.primitives.oracles.hashes import positions

__all__ = ["Balancer"]

_SEED = int.from_bytes(b"BALA", "big")


@dataclass(slots=True)
class Balancer:
    """The oracle of `Balance`: a balancer with `buckets` buckets for flows whose identifiers have `bits` bits.

    A reported load is current for `lifetime` microseconds; with None, loads are ignored. `patience` is how long, in
    microseconds, an instance that gets requests may send no report; 0 means no limit.
    """

    buckets: int
    bits: int
    lifetime: int | None
    patience: int = 0
    reports: dict[int, tuple[int, int]] = field(default_factory=dict)
    """The latest report of each instance: (time, load)."""
    unanswered: dict[int, int] = field(default_factory=dict)
    """The time of the first request to each instance since its last report."""

    def report(self, instance: int, time: int, load: int) -> None:
        """Record an instance's load, reported at `time`, in microseconds on a 48-bit clock."""
        self.reports[instance] = time, load
        self.unanswered.pop(instance, None)

    def choose(self, flow: int, time: int, first: Mapping[int, int], second: Mapping[int, int]) -> int:
        """Return the instance for a flow at `time`, in microseconds on a 48-bit clock; 0 if the flow's bucket has none.

        `first` and `second` are the instances by bucket. The first one is returned, unless the loads of both are
        current and that of the second is lower.
        """
        [bucket] = positions([flow], self.bits, _SEED, self.buckets)
        usual, other = first.get(bucket, 0), second.get(bucket, 0)
        if other and self._load(other, time) < self._load(usual, time) < float("inf"):
            return other
        return usual

    def ask(self, flow: int, time: int, instance: int, first: Mapping[int, int], second: Mapping[int, int]) -> int:
        """Record a request meant for `instance`, and return the instance that gets it.

        That is `instance`, or the other one of the flow's bucket if `instance` has sent no report for more than
        `patience` since the first request. After 64 times `patience`, `instance` gets a request again, and the time
        counts from that one. With a `patience` of 0, nothing is recorded.
        """
        if not self.patience:
            return instance
        since = self.unanswered.setdefault(instance, time)
        waited = (time - since) % 2**47
        if waited > 64 * self.patience:
            self.unanswered[instance] = time
            return instance
        [bucket] = positions([flow], self.bits, _SEED, self.buckets)
        pair = first.get(bucket, 0), second.get(bucket, 0)
        other = pair[1] if pair[0] == instance else pair[0]
        return other if waited > self.patience and other else instance

    def _load(self, instance: int, time: int) -> float:
        when, load = self.reports.get(instance, (0, None))
        if load is None or self.lifetime is None or (time - when) % 2**47 > self.lifetime:
            return float("inf")
        return load
