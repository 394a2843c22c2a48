"""Simulated links: each direction is a `Channel` with delay, rate, a finite queue, loss, duplication and reordering."""

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
    """A node at the end of a link: it receives the frames that arrive."""

    def receive(self, port: int, frame: bytes, /) -> None:
        """Process a frame that has just arrived by port `port` of the node."""
        ...


class Clock(Protocol):
    """The clock that a link uses: that of a simulator in virtual time, or real time in the relay process."""

    @property
    def now(self) -> int:
        """The current time in nanoseconds."""

    def at(self, time: int, action: Callable[..., None], /, *arguments: object) -> None:
        """Call `action(*arguments)` once, at `time` in nanoseconds."""

    def random(self, name: str) -> Random:
        """Return the generator of random numbers for this name: the same name and seed give the same numbers."""

    def trace(self, channel: bytes, what: int, frame: bytes) -> None:
        """Record an event on a channel. `what` is 0 for a frame delivered, 1 for one lost, 2 for one that the queue had
        no room for.
        """


@dataclass(slots=True)
class ChannelStatistics:
    """Counters of frames on one direction of a link; the sum of two objects adds them up.

    `packets` are frames sent, including those that the link then loses, and `bytes` their bytes without preamble and
    frame check sequence. `lost`, `duplicated` and `reordered` count what the link did, `delivered` the frames that
    arrived. `overflowed` and `oversized` were dropped before they were sent: the queue was full, or they exceeded the
    link's MTU.
    """

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
    """One direction of a link, named `from->to`, which delivers frames to port `port` of `node`.

    `quality` determines delay, rate, queue and impairments. Random choices come from the clock's stream for this name.
    """

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
        self.up = True
        """Whether frames pass; otherwise all that are sent are lost."""

    @property
    def free_at(self) -> int:
        """The time in nanoseconds at which all frames accepted so far have been transmitted, before their propagation
        delay.

        Stays 0 on a link without a limited rate, which is always free.
        """
        return self._free_at

    def impair(self, quality: LinkQuality) -> None:
        """Change the link's quality from now on. Frames in flight are not affected."""
        self.quality = quality
        self._impaired = quality.impaired

    def send(self, frame: bytes) -> None:
        """Accept a frame for transmission now. Frames beyond the MTU or the queue's capacity are counted and
        dropped.
        """
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
        if not self.up:
            statistics.lost += 1
            clock.trace(self._tag, _LOST, frame)
            return
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
