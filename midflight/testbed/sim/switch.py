"""Simulated switches: ports around a packet processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.errors import MidflightError
from midflight.testbed.sim.link import Channel
from midflight.testbed.sim.simulator import Simulator

__all__ = ["Departures", "Processor", "Switch"]

Frames = Sequence[tuple[int, bytes]]
Departures = Sequence[tuple[int | None, Frames]]
"""Frames as (port, frame) pairs, in sending order, with the time in ns at which they leave the switch.

None is the usual time: a packet takes the switch's latency.
"""


class Processor(Protocol):
    """What a switch does with frames. Times are the simulator's, in nanoseconds."""

    def process(self, frames: Frames, now: int) -> Departures:
        """Process (ingress port, frame) pairs that arrive at the simulator's time `now`, and return the frames that
        leave.
        """

    def advance(self, now: int) -> Departures:
        """Return the frames that leave the switch's queues until the simulator's time `now`, in nanoseconds."""

    @property
    def due(self) -> int | None:
        """The simulator's time in nanoseconds for the next `advance`; None if no frame waits in a queue."""


class Switch:
    """A simulated switch. Frames that arrive at the same time are processed as one batch, in order of arrival.

    `processor` processes the packets. `latency` is the time in nanoseconds from the arrival of a frame until its
    results are sent to the egress links, without queues. While `on` is False, arriving frames, and frames that leave
    queues, are counted in `lost` and dropped. After a change of the queues' settings, call `wake`.
    """

    def __init__(self, simulator: Simulator, name: str, processor: Processor, *, latency: int = 1_000) -> None:
        self.name = name
        self.on = True
        self.lost = 0  # frames that arrived, or left a queue, while it was off
        self.unconnected = 0  # frames sent to a port without a link
        self._simulator = simulator
        self.processor = processor
        self._latency = latency
        self._channels: dict[int, Channel] = {}
        self._batch: list[tuple[int, bytes]] = []
        self._alarm: int | None = None  # the earliest time at which `_advance` is scheduled

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

    def send(self, frames: Frames) -> None:
        """Send (port, frame) pairs to the links now, in order. Frames for a port without a link are dropped, and
        counted in `unconnected`.
        """
        for port, frame in frames:
            channel = self._channels.get(port)
            if channel is None:
                self.unconnected += 1
            else:
                channel.send(frame)

    def wake(self) -> None:
        """Look up again when the next frame leaves a queue, and schedule that time, after a change of the queues'
        settings.
        """
        due = self.processor.due
        if due is not None and (self._alarm is None or due < self._alarm):
            self._alarm = max(due, self._simulator.now)
            self._simulator.at(self._alarm, self._advance, self._alarm)

    def _process(self) -> None:
        batch, self._batch = self._batch, []
        if not self.on:
            self.lost += len(batch)
            return
        self._leave(self.processor.process(batch, self._simulator.now))

    def _advance(self, alarm: int) -> None:
        if self._alarm == alarm:
            self._alarm = None
        self._leave(self.processor.advance(self._simulator.now))

    def _leave(self, departures: Departures) -> None:
        now = self._simulator.now
        for time, frames in departures:
            if not self.on:
                self.lost += len(frames)
            elif frames:
                self._simulator.at(now + self._latency if time is None else max(time, now), self.send, frames)
        self.wake()
