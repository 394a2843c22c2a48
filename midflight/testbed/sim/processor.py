"""The embedded switch, or another device without ports, as the processor of a simulated switch."""

from __future__ import annotations

import itertools

import numpy as np

from midflight.runtime.devices.base import PacketDevice, QueueingDevice
from midflight.runtime.engine import Packets
from midflight.testbed.sim.switch import Departures, Frames
from midflight.testbed.topology.clocks import SwitchClock

__all__ = ["DeviceProcessor"]


class DeviceProcessor:
    """Passes frames to a device, whose program sees the time of the switch's own clock (a `Processor`)."""

    def __init__(self, device: PacketDevice, clock: SwitchClock) -> None:
        self._device = device
        self._queueing = device if isinstance(device, QueueingDevice) else None
        self._clock = clock

    def process(self, frames: Frames, now: int) -> Departures:
        """Process (ingress port, frame) pairs that arrive at the simulator's time `now`, and return the frames that
        leave.
        """
        queueing, local, batch = self._queueing, self._clock.read(now), Packets.from_list(frames)
        if queueing is None or not queueing.queued:
            return self._departures(self._device.process(batch, local // 1000))
        return self._departures(queueing.process(batch, local // 1000, np.full(len(frames), local, np.uint64)))

    def advance(self, now: int) -> Departures:
        """Return the frames that leave the device's queues until the simulator's time `now`, in nanoseconds."""
        assert self._queueing is not None
        return self._departures(self._queueing.advance(self._clock.read(now)))

    @property
    def due(self) -> int | None:
        """The simulator's time in nanoseconds for the next `advance`; None if neither a frame waits in a queue nor a
        digest for others of its list.
        """
        if self._queueing is None:
            return None
        due = self._queueing.due
        return None if due is None else self._clock.when(due)

    def _departures(self, packets: Packets) -> Departures:
        if packets.times is None:
            return [(None, list(packets))]
        timed = zip(packets.times.tolist(), packets, strict=True)
        return [
            (self._clock.when(time), [frame for _, frame in frames])
            for time, frames in itertools.groupby(timed, key=lambda each: each[0])
        ]
