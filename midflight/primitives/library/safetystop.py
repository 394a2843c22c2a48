"""SafetyStop: blocks commands outside a safe envelope, or based on a stale sensor, before they reach the actuator."""

from __future__ import annotations

from typing import Final, Literal

from midflight.primitives.kernel.arithmetic import concat
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, int_, one_of, within

__all__ = ["SafetyStop"]

READING: Final = 0
COMMAND: Final = 1
REARM: Final = 2

PASSED: Final = 0
OUTSIDE: Final = 1
STALE: Final = 2
STOPPED: Final = 3


class SafetyStop(Primitive):
    """Stop an actuator when it is sent an unsafe command, until somebody re-arms it.

    Sensor readings, commands for the actuator and re-arm orders pass through one switch. Each contains the number of
    its `cell` and its sender's `time`. A command passes if the cell is armed, the value is `low` to `high`, and its
    time differs from that of the cell's latest reading by at most `patience`. Other commands are blocked. The first
    blocked command of an armed cell raises an alert and stops the cell: all further commands are blocked until it is
    re-armed.

    Parameters:
        low, high: the safe envelope (int<32>), in the unit of the commands
        patience: the maximum age of a reading (1 to 2**30), in the unit of `time`. The senders' clocks are
            synchronised, for example by IEEE 1588, and wrap at 2**32
        blocked: what happens to a blocked command: `replace` forwards it with the value `safe`, `drop` drops it
        safe: the value that replaces a blocked one, `low` to `high`; 0 by default
        cells: the number of cells (1 to 65536); packets for other cells are dropped

    `role` is 0 for a reading, 1 for a command, 2 for a re-arm order. Packets with other roles are dropped; readings and
    orders are forwarded. `reason` is the result of a command: 0 passed, 1 outside the envelope, 2 stale, 3 already
    stopped. An alert contains (cell, reason, time, value), with the blocked value.

    All cells are disarmed at first and after the switch has lost its state, as a machine must not restart by itself
    (IEC 60204-1). Only the newest reading counts (RFC 1982). Nothing overflows. The switch does not authenticate
    senders: the network must restrict who can send re-arm orders.

    Follows the emergency stop of Cesen et al. (NetSoft 2020), which compares positions with a level. Different here:
    the sensor's age, the persistent stop, and re-arming. State: 34 bits per cell.

    >>> press = SafetyStop("press", low=-100, high=100, patience=20).reference()
    >>> def send(role, time, value):
    ...     fields = {"cell": 0, "role": role, "reason": 0, "time": time, "value": value}
    ...     outcome = press.process(Message(REQUEST, "press", 0, fields))
    ...     return outcome.message.fields["value"], outcome.message.fields["reason"], outcome.alerts
    >>> [send(*each) for each in ((0, 1000, 7), (2, 1001, 0), (1, 1002, 60))]  # a reading, re-armed, a command
    [(7, 0, ()), (0, 0, ()), (60, 0, ())]
    >>> [send(*each) for each in ((1, 1030, 60), (1, 1031, 60))]  # the sensor is silent
    [(0, 2, ((0, 2, 1030, 60),)), (0, 3, ())]
    """

    FAMILY = "control"
    PAPER = "Cesen et al., NetSoft 2020"
    OVERFLOW = "nothing is summed"

    low: int
    high: int
    patience: int
    blocked: Literal["replace", "drop"] = "replace"
    safe: int = 0
    cells: int = 256

    class Wire(Header):
        """A reading, a command or a re-arm order, as `role` says: 0, 1 or 2.

        `cell` is a number from 0, `time` the sender's clock, `value` a command's value, and `reason` the result of a
        command.
        """

        cell = bit[16]
        role = bit[8]
        reason = bit[8]
        time = bit[32]
        value = int_[32]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "low", -(2**31), 2**31 - 1)
        within(self, "high", self.low, 2**31 - 1)
        within(self, "safe", self.low, self.high)
        within(self, "patience", 1, 2**30)
        within(self, "cells", 1, 2**16)
        one_of(self, "blocked", "replace", "drop")

    def setup(self) -> None:
        """Create, for each cell: whether it is armed, and the time of its latest reading below a valid bit."""
        self.armed = Register(bit[1], self.cells)
        self.heard = Register(bit[33], self.cells)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Store a reading's time, arm a cell, or check a command: forward it if it is safe and the cell armed.

        Otherwise replace or drop it, as `blocked` says. The command that stops an armed cell raises an alert.
        """
        if wire.cell >= self.cells or wire.role > REARM:
            packet.drop()
            return
        newest = concat(bit[1](1), wire.time)
        heard = self.heard.update(
            wire.cell,
            lambda old: newest if wire.role == READING and (old == 0 or bit[32](newest - old) < 2**31) else old,
        )
        fresh = heard != 0 and bit[32](newest - heard) + self.patience <= 2 * self.patience
        inside = self.low <= wire.value <= self.high
        safe = fresh and inside
        armed = self.armed.update(
            wire.cell,
            lambda old: 1 if wire.role == REARM else (0 if wire.role == COMMAND and not safe else old),
        )
        packet.forward()
        if wire.role == COMMAND:
            wire.reason = STOPPED if armed == 0 else (OUTSIDE if not inside else (STALE if not fresh else PASSED))
            if armed == 1 and not safe:
                packet.alert(wire.cell, wire.reason, wire.time, wire.value)
            if wire.reason != PASSED:
                if self.blocked == "drop":
                    packet.drop()
                else:
                    wire.value = self.safe
