"""SafetyStop: commands outside the safe envelope, or based on a stale sensor, never get to the actuator."""

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

    The sensor's readings, the commands for the actuator and the order to re-arm pass through one switch, all with the
    number of their `cell` and their sender's `time`. A command passes when the cell is armed, its value lies from
    `low` to `high`, and its time is no more than `patience` from that of the cell's latest reading. Any other is
    blocked; the first one of a cell that is armed raises the one alert and stops the cell, so that all further
    commands are blocked until the order to re-arm.

    Parameters:
        low, high: the safe envelope (int<32>), in the unit of the commands
        patience: the greatest age of a reading (1 to 2**30), in the unit of `time`; the senders' clocks agree, as by
            IEEE 1588, and wrap at 2**32
        blocked: what becomes of a blocked command: `replace`, it goes on with the value `safe`, or `drop`
        safe: the value that stands in for a blocked one, from `low` to `high`; 0 by default
        cells: how many cells there are (1 to 65536); whatever is for another is dropped

    `role` is 0 for a reading, 1 for a command, 2 for the order to re-arm; packets with another are dropped, readings
    and orders forwarded. `reason` tells what became of a command: 0 passed, 1 outside the envelope, 2 stale, 3 stopped
    before. The alert tells (cell, reason, time, value), with the value that was blocked.

    No cell is armed at first, or when the switch has lost its state: a machine does not restart by itself (IEC
    60204-1). Only the newest reading counts, by RFC 1982. Nothing overflows. Who may send an order to re-arm is for
    the network to say: the switch does not know its senders.

    Follows the emergency stop of Cesen et al. (NetSoft 2020), which watches positions against a level; different here
    are the sensor's age, the stop that holds, and the order to re-arm. State: 34 bits for each cell.

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
        """A reading, a command or an order to re-arm."""

        cell = bit[16]
        role = bit[8]
        reason = bit[8]
        time = bit[32]
        value = int_[32]

    def validate(self) -> None:
        """Check the limits."""
        within(self, "low", -(2**31), 2**31 - 1)
        within(self, "high", self.low, 2**31 - 1)
        within(self, "safe", self.low, self.high)
        within(self, "patience", 1, 2**30)
        within(self, "cells", 1, 2**16)
        one_of(self, "blocked", "replace", "drop")

    def setup(self) -> None:
        """For each cell: whether it is armed, and the time of its latest reading, under a bit that there is one."""
        self.armed = Register(bit[1], self.cells)
        self.heard = Register(bit[33], self.cells)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Take note of a reading or an order; let a command pass or stop its cell."""
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
