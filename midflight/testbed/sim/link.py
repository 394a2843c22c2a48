"""Links: delay, rate, a finite queue, and what goes wrong on a wire."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol

from midflight.errors import MidflightError
from midflight.testbed.sim.simulator import Simulator

__all__ = ["Channel", "ChannelStatistics", "LinkQuality", "Node"]

_DELIVERED, _LOST, _OVERFLOWED = range(3)


class Node(Protocol):
    """What a link ends in."""

    def receive(self, port: int, frame: bytes, /) -> None:
        """Take a frame that arrived at a port."""
        ...


@dataclass(frozen=True, slots=True)
class LinkQuality:
    """How a link behaves, the same in both directions.

    delay: propagation, in ns. rate: bits a second; None sends at once. queue: bytes that may wait for transmission,
    more are dropped; None for no limit. loss, duplicate, reorder: probabilities, for each frame on its own. A reordered
    frame and the copy of a duplicated one arrive late by up to `jitter` ns, so that others overtake them.
    """

    delay: int = 1_000
    rate: int | None = 10_000_000_000
    queue: int | None = 1 << 20
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    jitter: int = 20_000

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise MidflightError(f"a link's {name} is a probability from 0 to 1, not {getattr(self, name)}")
        if self.loss == 1.0:
            raise MidflightError("a link that loses every frame lets no job end", hint="leave the link out instead")
        if self.delay < 0 or self.jitter < 1 or (self.rate is not None and self.rate < 1):
            raise MidflightError("a link needs a delay of at least 0 ns, a jitter of at least 1 ns and a positive rate")


@dataclass(slots=True)
class ChannelStatistics:
    """What has happened on one direction of a link. `bytes` are those of the frames, without preamble and FCS."""

    packets: int = 0  # put onto the wire by the sender
    bytes: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    overflowed: int = 0  # dropped before the wire, because the queue was full
    delivered: int = 0

    def __add__(self, other: ChannelStatistics) -> ChannelStatistics:
        return ChannelStatistics(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


class Channel:
    """One direction of a link, named `from->to`, which delivers to a port of a node."""

    def __init__(self, simulator: Simulator, name: str, quality: LinkQuality, node: Node, port: int) -> None:
        self.name = name
        self.quality = quality
        self.statistics = ChannelStatistics()
        self._simulator = simulator
        self._node = node
        self._port = port
        self._tag = name.encode()
        self._random = simulator.random(f"link {name}")
        self._impaired = bool(quality.loss or quality.duplicate or quality.reorder)
        self._free_at = 0

    def send(self, frame: bytes) -> None:
        """Queue a frame for transmission now."""
        simulator, quality, statistics = self._simulator, self.quality, self.statistics
        departure = simulator.now
        if quality.rate is not None:
            backlog = max(0, self._free_at - departure)
            if quality.queue is not None and backlog * quality.rate > quality.queue * 8_000_000_000:
                statistics.overflowed += 1
                simulator.trace(self._tag, _OVERFLOWED, frame)
                return
            departure += backlog - (-len(frame) * 8_000_000_000 // quality.rate)
            self._free_at = departure
        statistics.packets += 1
        statistics.bytes += len(frame)
        arrival = departure + quality.delay
        if not self._impaired:
            simulator.at(arrival, self._deliver, frame)
            return
        # Four draws a frame whatever becomes of it: a frame's luck does not depend on the probabilities set.
        draw = self._random.random
        lost, duplicated, reordered, late = draw(), draw(), draw(), draw()
        if lost < quality.loss:
            statistics.lost += 1
            simulator.trace(self._tag, _LOST, frame)
            return
        lateness = 1 + int(late * quality.jitter)
        if duplicated < quality.duplicate:
            statistics.duplicated += 1
            simulator.at(arrival + lateness, self._deliver, frame)
        if reordered < quality.reorder:
            statistics.reordered += 1
            arrival += lateness
        simulator.at(arrival, self._deliver, frame)

    def _deliver(self, frame: bytes) -> None:
        self.statistics.delivered += 1
        self._simulator.trace(self._tag, _DELIVERED, frame)
        self._node.receive(self._port, frame)
