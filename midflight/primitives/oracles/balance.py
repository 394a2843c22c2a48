"""The oracle of Balance: the instance of each request, given the tables and the history of reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from midflight.primitives.oracles.hashes import positions

__all__ = ["Balancer"]

_SEED = int.from_bytes(b"BALA", "big")


@dataclass(slots=True)
class Balancer:
    """A balancer with `buckets` buckets for flows of `bits` bits, of which reports are current for `lifetime`.

    `lifetime` is None if loads do not matter.
    """

    buckets: int
    bits: int
    lifetime: int | None
    reports: dict[int, tuple[int, int]] = field(default_factory=dict)
    """The latest report of each instance: (time, load)."""

    def report(self, instance: int, time: int, load: int) -> None:
        """Note an instance's load, reported at `time` (48 bits)."""
        self.reports[instance] = time, load

    def choose(self, flow: int, time: int, first: Mapping[int, int], second: Mapping[int, int]) -> int:
        """Return the instance for a flow at `time`, or 0 if its bucket has none."""
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
