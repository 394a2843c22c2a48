"""Simulated switches: ports around whatever processes packets."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from midflight.errors import MidflightError
from midflight.testbed.sim.link import Channel
from midflight.testbed.sim.simulator import Simulator

__all__ = ["Processor", "Switch"]

Processor = Callable[[list[tuple[int, bytes]], int], Iterable[tuple[int, bytes]]]
"""Takes (ingress port, frame) pairs and the time in microseconds, gives (egress port, frame) pairs in sending order."""


class Switch:
    """A switch that processes all frames which arrive at one instant as one batch, in order of arrival.

    latency: nanoseconds from a frame's arrival until what became of it is handed to the egress link.
    """

    def __init__(self, simulator: Simulator, name: str, processor: Processor, *, latency: int = 1_000) -> None:
        self.name = name
        self.on = True
        self.lost = 0  # frames that came while it was off
        self.unconnected = 0  # frames sent to a port without a link
        self._simulator = simulator
        self._processor = processor
        self._latency = latency
        self._channels: dict[int, Channel] = {}
        self._batch: list[tuple[int, bytes]] = []

    def attach(self, port: int, channel: Channel) -> None:
        """Connect a port to the link that carries what the switch sends there."""
        if port in self._channels:
            raise MidflightError(f"port {port} of switch {self.name} is taken")
        self._channels[port] = channel

    def receive(self, port: int, frame: bytes) -> None:
        """Take a frame from a link."""
        if not self._batch:
            self._simulator.at(self._simulator.now, self._process)  # after everything else that arrives now
        self._batch.append((port, frame))

    def _process(self) -> None:
        batch, self._batch = self._batch, []
        if not self.on:
            self.lost += len(batch)
            return
        sent = list(self._processor(batch, self._simulator.now // 1_000))
        if sent:
            self._simulator.at(self._simulator.now + self._latency, self.send, sent)

    def send(self, frames: list[tuple[int, bytes]]) -> None:
        """Put (port, frame) pairs onto the links, in order; those to a port without one are counted and dropped."""
        for port, frame in frames:
            channel = self._channels.get(port)
            if channel is None:
                self.unconnected += 1
            else:
                channel.send(frame)
