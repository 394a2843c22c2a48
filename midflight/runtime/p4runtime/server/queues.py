"""The queues of a running switch: their settings and counts, which may be read and changed at any time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from midflight.errors import DeviceError
from midflight.runtime.engine import Backend
from midflight.runtime.engine.queues import Queueing, QueueState, Rate, as_rate
from midflight.runtime.p4runtime.queuemessages import QueueReport, QueueRequest

__all__ = ["Queues"]


class Queues:
    """The queues between ingress and egress of a switch. Settings apply to the current program and to later ones.

    A rate is a `Rate`, or text such as "100pps", "10Mbit" or "unlimited". `apply` is called after changes, then
    `observers`; `engine` returns the engine of the current program. DeviceError unless ports are 0 to 511, queues 0 to
    `count` - 1, depths 0 to 1,048,576, weights 0 to 100 and rates 0 to 10**12, and for any change unless `settable`,
    which is whether the switch can have queues. Nothing is changed then. Thread-safe.
    """

    def __init__(
        self,
        queueing: Queueing,
        apply: Callable[[], None],
        engine: Callable[[], Backend | None],
        *,
        settable: bool = True,
    ) -> None:
        self.queueing = queueing
        self._settable = settable
        self.observers: list[Callable[[], None]] = []
        self._apply = apply
        self._engine = engine
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """The number of queues of each port, 1 to 8."""
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
        """Set the depth (packets), rate or weight of a queue; values that are None remain unchanged.

        `port` and `queue` are numbers. Without `queue` (None), the settings apply to all queues of the port; without
        `port`, to all ports. DeviceError for a number out of its range: see the class.
        """
        with self._lock:
            self._check_settable()
            self.queueing.set(port, queue, depth=depth, rate=as_rate(rate), weight=weight)
            self._changed()

    def set_port(self, port: int | None = None, *, rate: Rate | str) -> None:
        """Set the rate at which a port takes packets from its queues. Without `port` (None), it is set for all ports.

        DeviceError if the port is not 0 to 511, or if the text is not a rate.
        """
        with self._lock:
            self._check_settable()
            self.queueing.set_port(port, rate=as_rate(rate) or Rate())
            self._changed()

    def port_rate(self, port: int) -> Rate:
        """Return the rate at which a port (0 to 511) takes packets from its queues. DeviceError if there is no such
        port.
        """
        return self.queueing.port_rate(port)

    def state(self, port: int, queue: int = 0) -> QueueState:
        """Return the settings and counts of a queue. The counts start with the program.

        DeviceError if the port is not 0 to 511, or if it has no such queue.
        """
        engine = self._engine()
        if engine is None:
            return QueueState(self.queueing.get(port, queue), 0, 0, 0, 0, 0)
        return engine.queue(port, queue)

    def states(self, port: int | None = None, queue: int | None = None) -> dict[tuple[int, int], QueueState]:
        """Return the states of queues by port and queue. None for `queue` means all queues of a port, and None for
        `port` all ports.

        Without `port`, queues are left out if they have the default settings and no packet has reached them. With
        `port`, DeviceError as for `set`; without it, a `queue` that does not exist gives an empty dict.
        """
        numbers = range(self.count) if queue is None else [queue]
        if port is not None:
            return {(port, each): self.state(port, each) for each in numbers}
        engine = self._engine()
        used = set() if engine is None else engine.used_queues()
        return {place: self.state(*place) for place in sorted(used | set(self.queueing.special)) if place[1] in numbers}

    def answer(self, request: QueueRequest) -> QueueReport:
        """Make the change that a request asks for, and return the queues that it concerns.

        DeviceError for values out of range, and for a change of a switch without queues; nothing is changed then.
        """
        rate, port_rate = as_rate(request.rate), as_rate(request.port_rate)
        with self._lock:
            if request.changes:
                self._check_settable()
            self.queueing.set(request.port, request.queue, depth=request.depth, rate=rate, weight=request.weight)
            if port_rate is not None:
                self.queueing.set_port(request.port, rate=port_rate)
            if request.changes:
                self._changed()
        states = self.states(request.port, request.queue)
        return QueueReport(self.count, states, {port: self.port_rate(port) for port, _ in states})

    def _check_settable(self) -> None:
        if not self._settable:
            raise DeviceError("an XDP program has no queues", hint="configure the interfaces instead: tc qdisc")

    def _changed(self) -> None:
        self._apply()
        for each in self.observers:
            each()
