"""The queues of a running switch: their settings and counts, which may be read and changed at any time."""

from __future__ import annotations

from collections.abc import Callable

from midflight.runtime.engine import Engine
from midflight.runtime.engine.queues import Queueing, QueueState, Rate, parse_rate

__all__ = ["Queues"]


class Queues:
    """The queues between ingress and egress of a switch. Settings apply to the current program and to later ones.

    A rate is a `Rate`, or text such as "100pps", "10Mbit" or "unlimited". `apply` is called after changes, and `engine`
    returns the engine of the current program. DeviceError if a value, port or queue is out of range.
    """

    def __init__(self, queueing: Queueing, apply: Callable[[], None], engine: Callable[[], Engine | None]) -> None:
        self.queueing = queueing
        self._apply = apply
        self._engine = engine

    @property
    def count(self) -> int:
        """The number of queues of each port."""
        return self.queueing.queues

    def set(
        self,
        port: int | None = None,
        queue: int | None = None,
        *,
        depth: int | None = None,
        rate: Rate | str | None = None,
        weight: int | None = None,
    ) -> None:
        """Set depth (packets), rate or weight of a queue; without `queue`, of all of the port; without `port`, of all.

        DeviceError if a value is out of range.
        """
        self.queueing.set(port, queue, depth=depth, rate=_rate(rate), weight=weight)
        self._apply()

    def set_port(self, port: int | None = None, *, rate: Rate | str) -> None:
        """Set the rate at which a port, or every port, takes packets from its queues. DeviceError if out of range."""
        self.queueing.set_port(port, rate=_rate(rate) or Rate())
        self._apply()

    def port_rate(self, port: int) -> Rate:
        """Return the rate of a port. DeviceError if there is no such port."""
        return self.queueing.port_rate(port)

    def state(self, port: int, queue: int = 0) -> QueueState:
        """Return the settings and counts of a queue. The counts start with the program. DeviceError as for `set`."""
        engine = self._engine()
        if engine is None:
            return QueueState(self.queueing.get(port, queue), 0, 0, 0, 0, 0)
        return engine.queue(port, queue)


def _rate(rate: Rate | str | None) -> Rate | None:
    return parse_rate(rate) if isinstance(rate, str) else rate
