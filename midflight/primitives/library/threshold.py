"""Threshold: raises an alert when a reading crosses a level, with hysteresis, or changes too fast."""

from __future__ import annotations

from midflight.errors import KernelError
from midflight.primitives.kernel.arithmetic import concat
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, within

__all__ = ["Threshold"]


class Threshold(Primitive):
    """Raise an alert when a reading reaches `above`; re-arm when one comes down to `clear`.

    Parameters, in the unit of the readings (0 to 2**32 - 1):
        above: a reading of at least this raises the alert (1 to 2**32 - 1)
        clear: a reading of at most this re-arms the sensor (below `above`); the difference is the hysteresis
        rate: a reading that differs by more than this from the sensor's previous one also raises an alert, every time
            and at any level (1 to 2**32 - 1); 0 disables this
        sensors: how many sensors have state (1 to 65536); for others, every reading of at least `above` raises an
            alert, and `rate` has no effect

    Every packet is forwarded and raises at most one alert (sensor, value). Nothing overflows: differences are computed
    as the larger reading minus the smaller.

    Follows the alarms of industrial sensing in the data plane (Cesen et al., NetSoft 2020). Different here: hysteresis,
    so that a value that fluctuates around the level raises one alert. State: 1 bit per sensor, and 33 more with `rate`.

    >>> pressure = Threshold("pressure", above=900, clear=850).reference()
    >>> readings = (880, 905, 910, 840, 900)
    >>> [pressure.process(Message(REQUEST, "pressure", 0, {"sensor": 7, "value": each})).alerts for each in readings]
    [(), ((7, 905),), (), (), ((7, 900),)]
    >>> pressure = Threshold("pressure", above=900, clear=850, rate=50).reference()
    >>> [pressure.process(Message(REQUEST, "pressure", 0, {"sensor": 7, "value": each})).alerts for each in (10, 60, 9)]
    [(), (), ((7, 9),)]
    """

    FAMILY = "detection"
    PAPER = "Cesen et al., NetSoft 2020"
    OVERFLOW = "differences are the larger reading minus the smaller"

    above: int
    clear: int
    rate: int = 0
    sensors: int = 1024

    class Wire(Header):
        """A sensor's reading: the sensor's number, from 0, and the value in a unit that the user chooses."""

        sensor = bit[16]
        value = bit[32]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "above", 1, 2**32 - 1)
        within(self, "clear", 0, 2**32 - 2)
        within(self, "rate", 0, 2**32 - 1)
        within(self, "sensors", 1, 2**16)
        if self.clear >= self.above:
            raise KernelError(f"{self.title}: clear must be below above ({self.above}), not {self.clear}")

    def setup(self) -> None:
        """Create, for each sensor: whether it is armed, first 1; with `rate`, the last reading below a valid bit."""
        self.armed = Register(bit[1], self.sensors, initial=1)
        if self.rate > 0:
            self.last = Register(bit[33], self.sensors)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Forward a reading.

        Raise an alert if it reaches `above` while the sensor is armed, or changes by more than `rate`.
        """
        was_armed = self.armed.update(
            wire.sensor, lambda old: 0 if wire.value >= self.above else (1 if wire.value <= self.clear else old)
        )
        alert = was_armed == 1 and wire.value >= self.above
        if self.rate > 0:
            reading = concat(bit[1](1), wire.value)
            last = self.last.update(wire.sensor, lambda _: reading)
            alert = alert or (last != 0 and max(reading, last) - min(reading, last) > self.rate)
        if alert:
            packet.alert(wire.sensor, wire.value)
        packet.forward()
