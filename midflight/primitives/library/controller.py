"""Controller: PID and linear state feedback in fixed point, computed while a reading passes to its actuator."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.errors import KernelError
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, int_, within

__all__ = ["Controller"]

Gains = Sequence[float]

LARGEST_GAIN = 2**23
"""In units of 2**-fraction: a gain takes 24 bits, its product with an error 57, and those of all channels 61."""


class Controller(Primitive):
    """Put a command into each reading that passes, from the errors of `channels` measured values against their targets.

        command = sum(proportional * error) + integral - sum(derivative * change of measured)
        integral += sum(integral_gain * error)

    With one channel that is a PID controller, and with several and proportional gains alone linear state feedback,
    u = K (r - x), such as an LQR; with integral gains, too, an LQI. The derivative is that of the measured value, so
    that a new target is no kick.

    Parameters:
        proportional, integral, derivative: the gains, one for each channel, in units of the command for each unit of
            the measured value, and for each sample: multiply by the sample time, or divide by it. One that is
            left out is 0. Each is rounded to a multiple of 2**-fraction, and is below 2**(23 - fraction)
        low, high: the least and the greatest command (int<32>)
        fraction: fraction bits of the gains and of the integral (0 to 16)
        channels: measured values in a packet (1 to 8)
        loops: how many loops have a state of their own (1 to 65536); readings of others are dropped

    A reading is addressed to the actuator and forwarded with its command, which is rounded to a whole number, a half
    up. Numbers are wide enough for every sum to be exact; the command alone saturates, at `low` and `high`. So does the
    integral: it never holds more than the command could use, and winds up no further (anti-windup by clamping).

    Each reading counts once: the common header's sequence number goes up from 1, and a reading that is not newer
    (RFC 1982) than its loop's latest is dropped. Sequence 0 forgets the loop's state, and is dropped, too.

    Follows Rüth et al. (NetCompute 2018), which has state feedback in P4 with gains as constants; different here are
    integral and derivative, limits, a declared fixed-point format and readings that come twice, late or never. What
    must not reach an actuator, whoever computed it, is the business of `SafetyStop`. State: 160 bits for each loop.

    >>> heater = Controller("heater", proportional=[2.0], integral=[0.5], low=0, high=1000).reference()
    >>> def command(sequence, measured):
    ...     fields = {"loop": 0, "target": [80], "measured": [measured], "command": 0}
    ...     return heater.process(Message(REQUEST, "heater", sequence, fields)).message.fields["command"]
    >>> command(1, 20), command(2, 60), command(3, 78)
    (150, 80, 45)
    """

    FAMILY = "control"
    PAPER = "Rüth et al., NetCompute 2018"
    OVERFLOW = "every sum is exact; command and integral saturate at `low` and `high`"

    low: int
    high: int
    proportional: Gains = ()
    integral: Gains = ()
    derivative: Gains = ()
    fraction: int = 8
    channels: int = 1
    loops: int = 256

    class Wire(Header):
        """A reading, and on the way out the command for it."""

        loop = bit[16]
        target = int_[32].array("channels")
        measured = int_[32].array("channels")
        command = int_[32]

    def validate(self) -> None:
        """Check the limits."""
        within(self, "fraction", 0, 16)
        within(self, "channels", 1, 8)
        within(self, "loops", 1, 2**16)
        within(self, "low", -(2**31), 2**31 - 1)
        within(self, "high", -(2**31), 2**31 - 1)
        if self.low > self.high:
            raise KernelError(f"{self.title}: low ({self.low}) must not be above high ({self.high})")

    def setup(self) -> None:
        """Turn the gains into whole numbers; for each loop: its latest sequence, integral and weighted measurement."""
        self.p = self._fixed("proportional", self.proportional)
        self.i = self._fixed("integral", self.integral)
        self.d = self._fixed("derivative", self.derivative)
        self.latest = Register(bit[32], self.loops)
        self.integrated = Register(int_[64], self.loops)
        self.weighted = Register(int_[64], self.loops)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Compute the command from the errors and the loop's state."""
        if wire.loop >= self.loops:
            packet.drop()
            return
        forget = packet.sequence == 0
        latest = self.latest.update(
            wire.loop,
            lambda old: packet.sequence if forget or old == 0 or 0 < packet.sequence - old < 2**31 else old,
        )
        if not forget and latest != 0 and not 0 < packet.sequence - latest < 2**31:
            packet.drop()
            return

        low = int_[64](self.low)
        high = int_[64](self.high)
        command = int_[64](0)
        step = int_[64](0)
        weighted = int_[64](0)
        for channel in range(self.channels):
            measured = int_[64](wire.measured[channel])
            error = int_[64](wire.target[channel]) - measured
            command += error * self.p[channel]
            step += error * self.i[channel]
            weighted += measured * self.d[channel]
        command += self.integrated.update_fetch(
            wire.loop,
            lambda old: 0 if forget else max(low << self.fraction, min(high << self.fraction, old + step)),
        )
        before = self.weighted.update(wire.loop, lambda _: weighted)
        if latest != 0:
            command -= weighted - before
        command = command + 2**self.fraction // 2 >> self.fraction
        wire.command = int_[32](max(low, min(high, command)))
        if forget:
            packet.drop()
        else:
            packet.forward()

    def _fixed(self, name: str, gains: Gains) -> tuple[int, ...]:
        """Return one gain for each channel, in units of 2**-fraction."""
        if not gains:
            return (0,) * self.channels
        if isinstance(gains, (str, int, float)) or len(gains) != self.channels:
            raise KernelError(
                f"{self.title}: {name} takes one gain for each of the {self.channels} channels, not {gains!r}"
            )
        limit = LARGEST_GAIN / 2**self.fraction
        for each in gains:
            if not abs(each) < limit:
                raise KernelError(f"{self.title}: the {name} gain {each} is not below {limit:g} in magnitude")
        return tuple(round(each * 2**self.fraction) for each in gains)
