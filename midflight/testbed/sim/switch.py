"""Simulated switches: ports around a packet processor."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from midflight.errors import MidflightError
from midflight.testbed.sim.link import Channel
from midflight.testbed.sim.simulator import Simulator

__all__ = ["Processor", "Switch"]

Processor = Callable[[list[tuple[int, bytes]], int], Iterable[tuple[int, bytes]]]
"""Processes packets: takes (ingress port, frame) pairs and the time in microseconds, returns (egress port, frame)
pairs.
"""


class Switch:
    """A simulated switch. Frames that arrive at the same time are processed as one batch, in order of arrival.

    `processor` processes the packets. `latency` is the time in nanoseconds from the arrival of a frame until its
    results are sent to the egress links. While `on` is False, arriving frames are counted in `lost` and dropped.
    """

    def __init__(self, simulator: Simulator, name: str, processor: Processor, *, latency: int = 1_000) -> None:
        self.name = name
        self.on = True
        self.lost = 0  # frames that arrived while it was off
        self.unconnected = 0  # frames sent to a port without a link
        self._simulator = simulator
        self.processor = processor
        self._latency = latency
        self._channels: dict[int, Channel] = {}
        self._batch: list[tuple[int, bytes]] = []

    def attach(self, port: int, channel: Channel) -> None:
        """Connect a port of the switch to the channel that carries its outgoing frames.

        MidflightError if the port has a link already.
        """
        if port in self._channels:
            raise MidflightError(f"port {port} of switch {self.name} already has a link")
        self._channels[port] = channel

    def receive(self, port: int, frame: bytes) -> None:
        """Accept a frame that arrives by a port. It is processed at the current time, after all frames that arrive at
        this time.
        """
        if not self._batch:
            self._simulator.at(self._simulator.now, self._process)  # after all frames that arrive at this time
        self._batch.append((port, frame))

    def _process(self) -> None:
        batch, self._batch = self._batch, []
        if not self.on:
            self.lost += len(batch)
            return
        sent = list(self.processor(batch, self._simulator.now // 1_000))
        if sent:
            self._simulator.at(self._simulator.now + self._latency, self.send, sent)

    def send(self, frames: list[tuple[int, bytes]]) -> None:
        """Send (port, frame) pairs to the links now, in order. Frames for a port without a link are dropped, and
        counted in `unconnected`.
        """
        for port, frame in frames:
            channel = self._channels.get(port)
            if channel is None:
                self.unconnected += 1
            else:
                channel.send(frame)
