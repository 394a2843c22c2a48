"""The native memory of the queues between ingress and egress."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midflight.runtime.engine.context import Context
from midflight.runtime.engine.jit import Native
from midflight.runtime.engine.queues import Queueing, QueueSettings, QueueState
from midflight.runtime.engine.trafficmanager import NEVER, PORTS, QUEUES, PortWords, QueueWords

__all__ = ["BUFFER", "QueueMemory"]

BUFFER = 1 << 26
"""The bytes that all packets in the queues of a switch may take together, with their headers and metadata."""

_PORT_RATE = slice(PortWords.GAP, PortWords.BITS + 1)
_QUEUE_RATE = slice(QueueWords.GAP, QueueWords.BITS + 1)


class QueueMemory:
    """The records of all ports and queues of an engine, and the packets in them. The caller holds the engine's lock."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._words: NDArray[np.uint64] | None = None
        self._native: Native | None = None
        context.set("tm.capacity", BUFFER)
        context.set("tm.due", NEVER)

    def apply(self, queueing: Queueing, native: Native) -> None:
        """Write the depth, rate and weight of every queue to native memory. Packets that wait stay in their queues.

        `native` is code with the functions `settle` and `discard` of the traffic manager.
        """
        if self._words is None:
            self._words = np.zeros((PORTS, PortWords.COUNT), np.uint64)
            self._context.point("tm.ports", self._words)
            weakref.finalize(self, _free, native, self._context)
        self._native = native
        self._context.set("tm.count", queueing.queues)
        ports, queues = self._words, self._words[:, PortWords.QUEUES :].reshape(PORTS, QUEUES, QueueWords.COUNT)
        before = ports[:, _PORT_RATE].copy(), queues[..., _QUEUE_RATE].copy()
        rates = [queueing.port_rate(port) for port in range(PORTS)]
        ports[:, _PORT_RATE] = [[rate.gap, rate.bits] for rate in rates]
        _write(queues, queueing.default)
        for (port, number), settings in queueing.special.items():
            _write(queues[port, number], settings)
        ports[:, PortWords.CHANGED] = (ports[:, _PORT_RATE] != before[0]).any(-1)
        queues[..., QueueWords.CHANGED] = (queues[..., _QUEUE_RATE] != before[1]).any(-1)
        native.function("settle")(self._context.address)

    def pass_time(self, now: int) -> None:
        """Move the clock of the queues to a time in nanoseconds, without letting packets leave that are due by then."""
        context = self._context
        context.set("tm.clock", max(context.get("tm.clock"), now + context.get("in.latency")))

    def state(self, queueing: Queueing, port: int, queue: int) -> QueueState:
        """Return the settings and counts of a queue. DeviceError if port or queue is out of range."""
        settings = queueing.get(port, queue)
        if self._words is None:
            return QueueState(settings, 0, 0, 0, 0, 0)
        words = self._queue(port, queue).tolist()
        return QueueState(
            settings,
            waiting=words[QueueWords.SIZE],
            peak=words[QueueWords.PEAK],
            enqueued=words[QueueWords.ENQUEUED],
            sent=words[QueueWords.SENT],
            dropped=words[QueueWords.DROPPED],
        )

    def used(self) -> set[tuple[int, int]]:
        """Return the queues, as (port, queue), that a packet has joined or been dropped at."""
        if self._words is None:
            return set()
        queues = self._words[:, PortWords.QUEUES :].reshape(PORTS, QUEUES, QueueWords.COUNT)
        reached = (queues[..., QueueWords.ENQUEUED] | queues[..., QueueWords.DROPPED]).nonzero()
        return set(zip(*(each.tolist() for each in reached), strict=True))

    def discard(self) -> None:
        """Drop all packets that wait in queues, and count them."""
        if self._words is None or self._native is None:
            return
        waiting = int(self._words[:, PortWords.WAITING].sum())
        self._context.set("dropped.waiting", self._context.get("dropped.waiting") + waiting)
        self._native.function("discard")(self._context.address)

    def _queue(self, port: int, number: int) -> NDArray[Any]:
        assert self._words is not None
        start = PortWords.QUEUES + number * QueueWords.COUNT
        assert number < QUEUES
        return self._words[port, start : start + QueueWords.COUNT]


def _write(words: NDArray[np.uint64], settings: QueueSettings) -> None:
    """Write settings to the words of one or more queues, which are those of the last dimension."""
    words[..., QueueWords.DEPTH] = settings.depth
    words[..., QueueWords.GAP] = settings.rate.gap
    words[..., QueueWords.BITS] = settings.rate.bits
    words[..., QueueWords.WEIGHT] = settings.weight


def _free(native: Native, context: Context) -> None:
    """Free the packets in the queues of an engine that is gone."""
    native.function("discard")(context.address)
