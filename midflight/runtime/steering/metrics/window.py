"""The measurement window of a raw metric: the samples of the last seconds, and their statistics."""

from __future__ import annotations

import math
from collections import deque

from midflight.errors import MidflightError
from midflight.runtime.steering.metrics.catalogue import raw
from midflight.runtime.steering.metrics.levels import RawMetric, Statistics

__all__ = ["MEASUREMENT_WINDOW", "Window"]

MEASUREMENT_WINDOW = 10_000_000_000
"""The default length of a measurement window in nanoseconds: the registry's 10 seconds
(draft-ietf-cats-metric-definition, section 6)."""


class Window:
    """Samples of one raw metric, of a type in `KINDS`, that are not older than `length` nanoseconds.

    At most `limit` samples are kept, the newest. MidflightError if the length or the limit is not positive.
    """

    def __init__(self, kind: str, length: int = MEASUREMENT_WINDOW, limit: int = 1024) -> None:
        if length <= 0 or limit <= 0:
            raise MidflightError(f"window of {kind}: length {length} ns and limit {limit} must be positive")
        self._kind = kind
        self._length = length
        self._samples: deque[tuple[int, float]] = deque(maxlen=limit)

    def add(self, value: float, now: int) -> None:
        """Add a sample that was measured at `now`, in nanoseconds. Samples that are too old by then are removed."""
        self._samples.append((now, value))
        self._expire(now)

    def metric(self, statistics: Statistics, now: int) -> RawMetric | None:
        """Return a statistic of the samples as a raw metric, or None if no sample is left at `now`."""
        self._expire(now)
        values = [value for _, value in self._samples]
        if not values:
            return None
        match statistics:
            case Statistics.MAX:
                value = max(values)
            case Statistics.MIN:
                value = min(values)
            case Statistics.MEAN:
                value = math.fsum(values) / len(values)
            case Statistics.CURRENT:
                value = values[-1]
        return raw(self._kind, value, statistics)

    def count(self, now: int) -> int:
        """Return the number of samples that are left at `now`."""
        self._expire(now)
        return len(self._samples)

    def _expire(self, now: int) -> None:
        while self._samples and self._samples[0][0] < now - self._length:
            self._samples.popleft()
