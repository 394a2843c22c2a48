"""Controller: PID control and linear state feedback in fixed point, computed on readings in flight."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

from midflight.errors import KernelError
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, int_, within

__all__ = ["Controller"]

Gains = Sequence[float]

LARGEST_GAIN = 2**23
"""The bound of a gain in units of 2**-fraction. A gain takes 24 bits, its product with an error 57, all products 61."""


class Controller(Primitive):
    """Write a command into each reading, computed from the errors of `channels` measured values.

        command = sum(proportional * error) + integral - sum(derivative * change of measured)
        integral += sum(integral_gain * error)

    With one channel this is a PID controller. With several channels and only proportional gains it is linear state
    feedback, u = K (r - x), such as an LQR; with integral gains as well, an LQI. The derivative is that of the measured
    value, so that a change of the target causes no kick.

    Parameters:
        proportional, integral, derivative: the gains, one per channel, in units of the command per unit of the measured
            value. Integral gains are multiplied by the sample time, and derivative gains divided by it. Omitted gains
            are 0. Gains are rounded to multiples of 2**-fraction, with magnitudes below 2**(23 - fraction)
        low, high: the smallest and the largest command (int<32>)
        fraction: fraction bits of the gains and of the integral (0 to 16)
        channels: measured values in a packet (1 to 8)
        loops: how many loops have a state of their own (1 to 65536); readings of others are dropped

    A reading is addressed to the actuator and forwarded with its command, rounded to the nearest integer, halves up.
    All sums are exact. The command and the integral saturate at `low` and `high`, so that the integral does not wind up
    (anti-windup by clamping).

    Each reading counts once: the common header's sequence number increases from 1, and a reading that is not newer
    (RFC 1982) than its loop's latest one is dropped. Sequence 0 resets the loop's state and is dropped as well.

    Follows Rüth et al. (NetCompute 2018), which has state feedback in P4 with constant gains. Different here: integral
    and derivative terms, limits, a declared fixed-point format, and readings that are duplicated, late or lost.
    `SafetyStop` keeps unsafe commands from an actuator, whoever computed them. State: 160 bits per loop.

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
        """A reading, and its command on the way out: `loop` is the number of the loop, from 0.

        `target` and `measured` have a value per channel, in a unit that the user chooses.
        """

        loop = bit[16]
        target = int_[32].array("channels")
        measured = int_[32].array("channels")
        command = int_[32]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description, or if `low` is above `high`.

        `setup` checks the gains.
        """
        within(self, "fraction", 0, 16)
        within(self, "channels", 1, 8)
        within(self, "loops", 1, 2**16)
        within(self, "low", -(2**31), 2**31 - 1)
        within(self, "high", -(2**31), 2**31 - 1)
        if self.low > self.high:
            raise KernelError(f"{self.title}: low ({self.low}) must not be above high ({self.high})")

    def setup(self) -> None:
        """Convert the gains to integers; create, per loop: latest sequence, integral, weighted sum of measured values.

        KernelError for a gain that is too large, or if there is not one gain per channel.
        """
        self.p = self._fixed("proportional", self.proportional)
        self.i = self._fixed("integral", self.integral)
        self.d = self._fixed("derivative", self.derivative)
        self.latest = Register(bit[32], self.loops)
        self.integrated = Register(int_[64], self.loops)
        self.weighted = Register(int_[64], self.loops)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Write the command into a reading and forward it.

        Drop readings that are not newer than the latest, and resets.
        """
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
        """Return one gain per channel, in units of 2**-fraction."""
        if not gains:
            return (0,) * self.channels
        if isinstance(gains, (str, int, float)) or len(gains) != self.channels:
            raise KernelError(
                f"{self.title}: {name} takes one gain for each of the {self.channels} channels, not {gains!r}"
            )
        limit = LARGEST_GAIN / 2**self.fraction
        for each in gains:
            if not isinstance(each, Real):
                raise KernelError(f"{self.title}: the {name} gain {each!r} must be a number")
            if not abs(each) < limit:
                raise KernelError(f"{self.title}: the magnitude of the {name} gain {each} must be below {limit:g}")
        return tuple(round(each * 2**self.fraction) for each in gains)
