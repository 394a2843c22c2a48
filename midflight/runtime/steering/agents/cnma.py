"""The C-NMA: the network metric agent of an ingress, which scores the path to an instance or egress (RFC 10053).

Delay and loss are those of round trips (`stamp.py`), the rate is that of a port's counter, and the queue follows from
both. Where packets of `Telemetry` take the path, its queues are measured in-band instead (`inband.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from midflight.errors import MidflightError
from midflight.runtime.steering.agents.inband import PathStamps
from midflight.runtime.steering.agents.publisher import Publisher
from midflight.runtime.steering.agents.stamp import Prober
from midflight.runtime.steering.metrics import C_NMA, Agent, Category, Gauge, MinMax, RawMetric, Update, raw

__all__ = ["PathAgent", "PortRate", "gauges"]

_SECOND = 1_000_000_000


def gauges(
    *, delay: float = 0.05, loss: float = 0.02, utilization: float = 1.0, queue: float = 0.01
) -> tuple[Gauge, ...]:
    """Return the gauges that a C-NMA scores with by default: a delay in seconds, a loss, a utilisation or a time in
    queues in seconds of this size scores 0.

    MidflightError if one of them is not positive.
    """
    if min(delay, loss, utilization, queue) <= 0:
        raise MidflightError(
            f"bounds of gauges must be positive: delay {delay}, loss {loss}, utilization {utilization}, queue {queue}"
        )
    return (
        Gauge("network_delay", Category.COMMUNICATION, MinMax(worst=delay, best=0), weight=2),
        Gauge("network_loss", Category.COMMUNICATION, MinMax(worst=loss, best=0), vital=True),
        Gauge("network_utilization", Category.COMMUNICATION, MinMax(worst=utilization, best=0)),
        Gauge("network_queue_delay", Category.COMMUNICATION, MinMax(worst=queue, best=0)),
    )


class PortRate:
    """The rate of a port, computed from its counter of octets whenever it is called.

    `read` returns the counter, which may start again from 0.
    """

    def __init__(self, read: Callable[[], int]) -> None:
        self._read = read
        self._last: tuple[int, int] | None = None

    def __call__(self, now: int) -> float | None:
        """Return the bits a second since the last call, at `now` in nanoseconds.

        None at the first call, if the counter has started again, or if `now` is not later than at the last call.
        MidflightError if the counter cannot be read.
        """
        octets, last = self._read(), self._last
        self._last = octets, now
        if last is None or now <= last[1] or octets < last[0]:
            return None
        return (octets - last[0]) * 8 / ((now - last[1]) / _SECOND)


class PathAgent:
    """Scores one path, and makes the updates that are worth sending.

    * publisher: decides what is worth sending; its CSCI-ID is the end of the path.
    * prober: has the answers to the probes.
    * rate: the rate of the port that leads to the path, or None; `capacity` is the port's in bits a second.
    * stamps: has the in-band stamps of the path's packets; None if there are none.
    * scored: the gauges; those whose reading is missing are left out.

    MidflightError if the capacity is not positive.
    """

    def __init__(
        self,
        publisher: Publisher,
        prober: Prober,
        scored: Iterable[Gauge],
        rate: PortRate | None = None,
        capacity: float | None = None,
        stamps: PathStamps | None = None,
    ) -> None:
        if capacity is not None and capacity <= 0:
            raise MidflightError(f"the capacity of a port must be positive, not {capacity} bits a second")
        self._publisher, self._prober, self._gauges = publisher, prober, tuple(scored)
        self._rate, self._capacity, self._stamps = rate, capacity, stamps

    def poll(self, now: int) -> Update | None:
        """Return an update of the path's metrics at `now`, in nanoseconds since 1970, or None if none is due.

        None is due before the first probe has been answered or lost, or if the publisher finds the change too small.
        Raises what the port's rate raises, such as MidflightError if its counter cannot be read.
        """
        rate = self._rate(now) if self._rate else None
        found: tuple[RawMetric, ...] = self._prober.metrics(now, rate)
        if self._stamps is not None:
            found = (*found, *self._stamps.metrics(now))
        if rate is not None and self._capacity is not None:
            found = (*found, raw("network_utilization", min(1.0, rate / self._capacity)))
        readings: Mapping[str, float] = {each.kind: each.value for each in found}
        there = [each for each in self._gauges if each.name in readings]
        if "network_loss" not in readings or not there:
            return None
        report = Agent(C_NMA, there).report("", readings, now)
        return self._publisher.offer(tuple(report.metrics.values()), now, found)
