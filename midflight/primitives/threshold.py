"""Threshold: an alert when a sensor's reading crosses a level, and no second one until it has fallen back."""

from __future__ import annotations

from midflight.errors import KernelError
from midflight.primitives.kernel.header import Header
from midflight.primitives.kernel.packet import Packet
from midflight.primitives.kernel.primitive import Primitive, within
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.types import bit

__all__ = ["Threshold"]


class Threshold(Primitive):
    """Raise an alert when a reading reaches `above`; re-arm when one comes down to `clear`.

    Parameters, in the unit of the readings (0 to 2**32 - 1):
        above: a reading of at least this raises the alert (1 to 2**32 - 1)
        clear: a reading of at most this re-arms the sensor (below `above`); the gap is the hysteresis
        sensors: how many sensors have a state of their own (1 to 65536); readings of others always alert

    Every packet is forwarded. The alert tells (sensor, value). No arithmetic, so nothing overflows.

    >>> pressure = Threshold("pressure", above=900, clear=850).reference()
    >>> readings = (880, 905, 910, 840, 900)
    >>> [pressure.process(Message(REQUEST, "pressure", 0, {"sensor": 7, "value": each})).alerts for each in readings]
    [(), ((7, 905),), (), (), ((7, 900),)]
    """

    above: int
    clear: int
    sensors: int = 1024

    class Wire(Header):
        """A reading."""

        sensor = bit[16]
        value = bit[32]

    def validate(self) -> None:
        """Check the limits."""
        within(self, "above", 1, 2**32 - 1)
        within(self, "clear", 0, 2**32 - 1)
        within(self, "sensors", 1, 2**16)
        if self.clear >= self.above:
            raise KernelError(f"{self.title}: clear must be below above ({self.above}), not {self.clear}")

    def setup(self) -> None:
        """One bit for each sensor: whether the next high reading raises an alert."""
        self.armed = Register(bit[1], self.sensors, initial=1)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Compare the reading with the levels; alert on the way up."""
        was_armed = self.armed.update(
            wire.sensor, lambda old: 0 if wire.value >= self.above else (1 if wire.value <= self.clear else old)
        )
        if was_armed == 1 and wire.value >= self.above:
            packet.alert(wire.sensor, wire.value)
        packet.forward()
