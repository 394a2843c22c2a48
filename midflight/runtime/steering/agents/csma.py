"""The C-SMA: the service metric agent beside an instance, from readings to updates (RFC 10053)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from midflight.errors import MidflightError, UnsupportedError
from midflight.runtime.steering.agents.publisher import Publisher
from midflight.runtime.steering.agents.readers import Reader
from midflight.runtime.steering.metrics import (
    C_SMA,
    MEASUREMENT_WINDOW,
    Agent,
    Category,
    Gauge,
    Metric,
    MinMax,
    RawMetric,
    Statistics,
    Update,
    Window,
    level2,
)
from midflight.runtime.steering.metrics.catalogue import KINDS

__all__ = ["ServiceAgent", "gauges"]

# Readings of which the latest counts and not the mean: what is available now, and what is configured.
_LATEST = ("service_available", "service_workers", "compute_cpu_cores", "compute_memory_size")


def gauges(*, queue: float = 64, service_time: float = 0.1, slots: float = 0, hits: bool = False) -> tuple[Gauge, ...]:
    """Return the gauges that a C-SMA scores with by default; those whose reading is missing are left out.

    The computing score is the idle share of the CPUs. A queue of `queue` requests, or a service time of
    `service_time` seconds, scores 0. In a switch, `slots` is the number of a primitive's slots, 0 for none, and `hits`
    whether its hit rate counts, as for a cache. MidflightError if a bound is not positive or `slots` is negative.
    """
    if queue <= 0 or service_time <= 0 or slots < 0:
        raise MidflightError(
            f"bounds of gauges: queue {queue} and service time {service_time} must be positive, and slots {slots} at "
            "least 0"
        )
    found = [
        Gauge("compute_cpu_utilization", Category.COMPUTING, MinMax(worst=1, best=0)),
        Gauge("service_available", Category.SERVICE, MinMax(worst=0, best=1), vital=True),
        Gauge("service_queue_length", Category.SERVICE, MinMax(worst=queue, best=0), weight=2),
        Gauge("service_time", Category.SERVICE, MinMax(worst=service_time, best=0), weight=2),
    ]
    if hits:
        found.append(Gauge("service_hit_rate", Category.SERVICE, MinMax(worst=0, best=1), weight=2))
    if slots:
        found.append(Gauge("compute_slots_free", Category.COMPUTING, MinMax(worst=0, best=slots)))
    return tuple(found)


class ServiceAgent:
    """Reads an instance's load, and makes the updates that are worth sending.

    * publisher: decides what is worth sending.
    * service: reads the service. While it raises MidflightError, the service is not available and scores 0.
    * system: reads the machine; None to leave that out, as in a switch.
    * scored: the gauges.
    * window: the measurement window in nanoseconds. Scores are of the means in it.
    """

    def __init__(
        self,
        publisher: Publisher,
        service: Reader,
        system: Reader | None,
        scored: Iterable[Gauge],
        window: int = MEASUREMENT_WINDOW,
    ) -> None:
        self._publisher = publisher
        self._service, self._system = service, system
        self._gauges = tuple(scored)
        self._length = window
        self._windows: dict[str, Window] = {}
        self.failure = ""
        """Why the service could not be read at the last poll; empty if it could."""

    def poll(self, now: int) -> Update | None:
        """Read everything once at `now`, in nanoseconds since 1970, and return an update if one is due.

        UnsupportedError if a library is missing that a reader needs. MidflightError if the window is not positive, or
        for the reasons of `scores`; errors of `system` propagate.
        """
        for kind, value in self._read().items():
            window = self._windows.setdefault(kind, Window(kind, self._length))
            window.add(value, now)
        raw = self._raw(now)
        return self._publisher.offer(self.scores({each.kind: each.value for each in raw}), now, raw)

    def scores(self, readings: Mapping[str, float]) -> tuple[Metric, ...]:
        """Return the scores of levels 1 and 2 that follow from `readings`, by type of raw metric.

        Gauges without a reading are left out. If the service scores 0, so does level 2. MidflightError if no gauge has
        a reading, or if one is not finite.
        """
        there = [each for each in self._gauges if each.name in readings]
        found = tuple(Agent(C_SMA, there).report("", readings, 0).metrics.values())
        down = [each for each in found if each.kind == Category.SERVICE and not each.value]
        return (*found, level2(down or found, {}))

    def _read(self) -> dict[str, float]:
        found = dict(self._system()) if self._system else {}
        try:
            found |= {"service_available": 1, **self._service()}
            self.failure = ""
        except UnsupportedError:
            raise
        except MidflightError as error:
            found["service_available"] = 0
            self.failure = error.message
        return {kind: value for kind, value in found.items() if kind in KINDS}

    def _raw(self, now: int) -> tuple[RawMetric, ...]:
        made = (
            each.metric(Statistics.CURRENT if kind in _LATEST else Statistics.MEAN, now)
            for kind, each in self._windows.items()
        )
        return tuple(each for each in made if each is not None)
