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

    A reported load is current for `lifetime` microseconds; None if loads do not matter.
    """

    buckets: int
    bits: int
    lifetime: int | None
    reports: dict[int, tuple[int, int]] = field(default_factory=dict)
    """The latest report of each instance: (time, load)."""

    def report(self, instance: int, time: int, load: int) -> None:
        """Record an instance's load, reported at `time`, in microseconds on a 48-bit clock."""
        self.reports[instance] = time, load

    def choose(self, flow: int, time: int, first: Mapping[int, int], second: Mapping[int, int]) -> int:
        """Return the instance for a flow at `time`, in microseconds on a 48-bit clock; 0 if the flow's bucket has none.

        `first` and `second` are the instances by bucket.
        """
        [bucket] = positions([flow], self.bits, _SEED, self.buckets)
        usual, other = first.get(bucket, 0), second.get(bucket, 0)
        if other and self._load(other, time) < self._load(usual, time) < float("inf"):
            return other
        return usual

    def _load(self, instance: int, time: int) -> float:
        when, load = self.reports.get(instance, (0, None))
        if load is None or self.lifetime is None or (time - when) % 2**47 > self.lifetime:
            return float("inf")
        return load
