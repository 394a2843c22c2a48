"""Links: delay, rate, a finite queue, and impairments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from random import Random
from typing import Protocol

from midflight.testbed.topology.quality import LinkQuality

__all__ = ["Channel", "ChannelStatistics", "Clock", "Node"]

_ETHERNET = 14  # bytes of a frame before its packet
_DELIVERED, _LOST, _OVERFLOWED = range(3)


class Node(Protocol):
    """The end of a link."""

    def receive(self, port: int, frame: bytes, /) -> None:
        """Receive a frame that has arrived at a port."""
        ...


class Clock(Protocol):
    """The clock of a link: that of a simulator, or real time."""

    @property
    def now(self) -> int:
        """The time in nanoseconds."""

    def at(self, time: int, action: Callable[..., None], /, *arguments: object) -> None:
        """Call `action(*arguments)` at a time."""

    def random(self, name: str) -> Random:
        """Return the stream of random numbers with this name."""

    def trace(self, channel: bytes, what: int, frame: bytes) -> None:
        """Record an event on the link."""


@dataclass(slots=True)
class ChannelStatistics:
    """Counters of one direction of a link. `bytes` counts frames without preamble and frame check sequence."""

    packets: int = 0  # frames sent, including those lost later
    bytes: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    overflowed: int = 0  # dropped before they were sent, because the queue was full
    delivered: int = 0
    oversized: int = 0  # dropped before they were sent, because they exceeded the link's MTU

    def __add__(self, other: ChannelStatistics) -> ChannelStatistics:
        return ChannelStatistics(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


class Channel:
    """One direction of a link, named `from->to`, which delivers frames to a port of a node."""

    def __init__(self, clock: Clock, name: str, quality: LinkQuality, node: Node, port: int) -> None:
        self.name = name
        self.quality = quality
        self.statistics = ChannelStatistics()
        self._clock = clock
        self._node = node
        self._port = port
        self._tag = name.encode()
        self._random = clock.random(f"link {name}")
        self._impaired = quality.impaired
        self._free_at = 0

    @property
    def free_at(self) -> int:
        """The time at which the last frame that was queued has left."""
        return self._free_at

    def impair(self, quality: LinkQuality) -> None:
        """Change the quality from now on. Frames in flight are not affected."""
        self.quality = quality
        self._impaired = quality.impaired

    def send(self, frame: bytes) -> None:
        """Queue a frame for transmission now. It is dropped if it exceeds the MTU or the queue is full."""
        clock, quality, statistics = self._clock, self.quality, self.statistics
        if len(frame) > quality.mtu + _ETHERNET:
            statistics.oversized += 1
            return
        departure = clock.now
        if quality.rate is not None:
            backlog = max(0, self._free_at - departure)
            if quality.queue is not None and backlog * quality.rate > quality.queue * 8_000_000_000:
                statistics.overflowed += 1
                clock.trace(self._tag, _OVERFLOWED, frame)
                return
            departure += backlog - (-len(frame) * 8_000_000_000 // quality.rate)
            self._free_at = departure
        statistics.packets += 1
        statistics.bytes += len(frame)
        arrival = departure + quality.delay
        if not self._impaired:
            clock.at(arrival, self._deliver, frame)
            return
        # Always four draws a frame, so that changing one probability does not affect other frames.
        draw = self._random.random
        lost, duplicated, reordered, late = draw(), draw(), draw(), draw()
        if lost < quality.loss:
            statistics.lost += 1
            clock.trace(self._tag, _LOST, frame)
            return
        lateness = 1 + int(late * quality.jitter)
        if duplicated < quality.duplicate:
            statistics.duplicated += 1
            clock.at(arrival + lateness, self._deliver, frame)
        if reordered < quality.reorder:
            statistics.reordered += 1
            arrival += lateness
        clock.at(arrival, self._deliver, frame)

    def _deliver(self, frame: bytes) -> None:
        self.statistics.delivered += 1
        self._clock.trace(self._tag, _DELIVERED, frame)
        self._node.receive(self._port, frame)
