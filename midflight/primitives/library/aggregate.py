"""Aggregate: the sum, or another reduction, of an array over a group of workers, taken while it passes the switch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

from midflight.primitives.kernel.arithmetic import add_overflows, sat_add
from midflight.primitives.kernel.header import Layout
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, int_, one_of, within
from midflight.primitives.serial import advance

__all__ = ["WIDTHS", "Aggregate", "Number", "Operation"]

Operation = Literal["sum", "min", "max", "and", "or", "xor", "count", "mean"]
Number = Literal["int32", "int16"]

WIDTHS: Final[Mapping[Number, int]] = {"int32": 32, "int16": 16}
"""The bits of a number."""


class Aggregate(Primitive):
    """Sum `lanes` numbers of every worker, element by element, and multicast the sum when all have sent theirs.

    Parameters:
        workers: how many contribute to each sum (1 to 64)
        lanes: numbers in a packet (1 to 256)
        slots: entries that a worker may have in flight (1 to 16384); the pool has twice as many
        operation: what is taken of the numbers: `sum`, `min`, `max`, bitwise `and`, `or` or `xor`; to the switch
            `count` and `mean` are sums, for which the hosts send ones for what they count, and divide
        number: what a number is, `int32` or `int16`. Hosts quantise floats to it (`midflight.primitives.fixedpoint`)
        overflow: of sums: `wrap` modulo 2**32 (2**16), `saturate` at the limits of int<32> (int<16>), or `detect`: the
            sum wraps, bit 0 of the result's `flags` is set, and the hosts compute that sum themselves. A worker
            that sets the bit in its own contribution has it set in the sum.
        base: the number of the first worker; the others' follow
        rank: on a switch below another, the number under which its sum counts there as one worker's
            contribution; -1 on the only or the topmost one, which answers
        switches: on a switch with both hosts and switches below it, how many of the `workers` are switches (0 to
            `workers` - 1): the hosts are numbered from `base`, the switches from `first`
        first: the number of the first of those switches, beyond those of the hosts

    Follows SwitchML (NSDI 2021): a pool of entries, a bitmap of the workers seen, and a shadow copy of every
    entry, so that a result can be asked for again until all workers have it. Different here: the packet names
    its chunk by the job's number and the common header's sequence number, and an entry knows which one it holds.
    So a packet of an older chunk or job, however late, is recognised and dropped, a newer one starts the entry
    afresh, and the two copies of an entry are two pool entries with the same rules rather than a version bit.

    Contract with the hosts: chunk k has sequence k + 1 and uses entry k % (2 * slots); a worker sends
    chunk k only once it has the result of chunk k - slots. Job and sequence together are compared as RFC 1982
    has it, so a job's number is newer than those of all jobs before. Bit 1 of `flags` tells that a contribution
    was sent before; a sum has that of the contribution that completed it. A result says by `epoch` in which life
    of the switch's state it was summed: hosts that see a newer one know that the switch has forgotten the rest.

    In a tree of switches each counts, then forwards: a complete sum goes up as a contribution, and so does every
    repetition of one. So the hosts' retransmissions make good what is lost between switches. Hosts
    and switches have numbers of their own in the whole tree, and what comes from anybody but a switch's own
    workers is dropped: so a contribution that passed a switch which has forgotten its part cannot be taken for
    that switch's sum.

    >>> gradients = Aggregate("gradients", workers=2, lanes=3).reference()
    >>> def contribute(worker, values):
    ...     fields = {"slot": 0, "worker": worker, "flags": 0, "job": 0, "epoch": 0, "values": values}
    ...     return gradients.process(Message(REQUEST, "gradients", 1, fields))
    >>> contribute(0, [1, 2, 2**31 - 1]).verdict.name
    'DROP'
    >>> complete = contribute(1, [10, 20, 30])
    >>> complete.verdict.name, complete.message.fields["values"].tolist()
    ('MULTICAST', [11, 22, 2147483647])
    """

    FAMILY = "aggregation"
    PAPER = "SwitchML: Sapio et al., NSDI 2021"
    OVERFLOW = "as the parameter says: wrap, saturate, or detect and leave it to the hosts"

    workers: int
    lanes: int = 32
    slots: int = 256
    operation: Operation = "sum"
    number: Number = "int32"
    overflow: Literal["wrap", "saturate", "detect"] = "saturate"
    base: int = 0
    rank: int = -1
    switches: int = 0
    first: int = 0

    class Wire(Header):
        """One worker's contribution on the way in, the sum on the way out."""

        slot = bit[16]
        worker = bit[8]
        flags = bit[8]
        job = bit[16]
        epoch = bit[16]
        values = int_["width"].array("lanes")

    def header(self) -> Layout:
        """Return the header's layout, with lanes of the numbers' width."""
        return self.layout_of(self.lanes, self.number)

    @classmethod
    def layout_of(cls, lanes: int, number: Number) -> Layout:
        """Return the layout of the header with so many lanes of these numbers."""
        return Layout.of(cls.Wire, {"lanes": lanes, "width": WIDTHS[number]})

    def validate(self) -> None:
        """Check the limits."""
        within(self, "workers", 1, 64)
        within(self, "lanes", 1, 256)
        within(self, "slots", 1, 2**14)
        within(self, "base", 0, 256 - self.workers)
        within(self, "rank", -1, 255)
        within(self, "switches", 0, self.workers - 1)
        if self.switches > 0:
            within(self, "first", self.base + self.workers - self.switches, 256 - self.switches)
        one_of(self, "overflow", "wrap", "saturate", "detect")
        one_of(self, "operation", *get_args(Operation))
        one_of(self, "number", *get_args(Number))

    def setup(self) -> None:
        """For each pool entry: the job and sequence that it holds, the workers seen, the sum so far."""
        entries = 2 * self.slots
        self.width = WIDTHS[self.number]
        self.hosts = self.workers - self.switches
        self.shift = self.first - self.hosts
        self.adds = self.operation in ("sum", "count", "mean")
        self.held = Register(bit[48], entries)
        self.seen = Register(bit[self.workers], entries)
        self.total = Register(int_[self.width], entries, lanes=self.lanes)
        if self.overflow == "detect":
            self.overflowed = Register(bit[8], entries)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Add a contribution once; answer when the sum is complete."""
        worker = wire.worker
        if self.base > 0:
            worker -= self.base  # wraps below the first one's
        if self.switches > 0:
            if wire.worker >= self.first:
                worker = wire.worker - self.shift  # follows the hosts'
            elif worker >= self.hosts:
                worker = bit[8](self.workers)  # nobody's
        if wire.slot >= 2 * self.slots or worker >= self.workers or packet.sequence == 0:
            packet.drop()
            return

        chunk = bit[48](wire.job) << 32 | bit[48](packet.sequence)
        ahead = advance(self.held, wire.slot, chunk)
        if ahead < 0:
            packet.drop()
            return

        # Newer than what is held: the entry starts afresh.
        fresh = ahead > 0
        mine = bit[self.workers](1) << worker
        before = self.seen.update(wire.slot, lambda old: mine if fresh else old | mine)
        duplicate = not fresh and before & mine != 0
        complete = (mine if fresh else before | mine) == 2**self.workers - 1

        if self.overflow == "detect":
            overflow = wire.flags & 1
        for lane in range(self.lanes):
            value = int_[self.width](self.neutral) if duplicate else wire.values[lane]
            total = self.total[lane].update_fetch(wire.slot, lambda old: value if fresh else self.combined(old, value))
            if self.overflow == "detect" and self.adds:
                partial = total - value  # what was there before: 0 in a fresh entry
                if add_overflows(partial, value):
                    overflow = bit[8](1)
            wire.values[lane] = total
        if self.overflow == "detect":
            overflow = self.overflowed.update_fetch(
                wire.slot, lambda old: overflow if fresh else (old if duplicate else old | overflow)
            )
            wire.flags = wire.flags & 2 | overflow
        else:
            wire.flags = wire.flags & 2
        wire.epoch = packet.epoch

        if not complete:
            packet.drop()
        elif self.rank >= 0:
            wire.worker = self.rank
            packet.forward()
        elif duplicate:
            packet.reply()
        else:
            packet.multicast()

    @property
    def neutral(self) -> int:
        """The number that changes no other when it is combined with it."""
        most = (1 << (WIDTHS[self.number] - 1)) - 1
        return {"min": most, "max": -most - 1, "and": -1}.get(self.operation, 0)

    def combined(self, old: int, value: int) -> int:
        """Return what two numbers come to."""
        if self.operation == "min":
            return min(old, value)
        if self.operation == "max":
            return max(old, value)
        if self.operation == "and":
            return old & value
        if self.operation == "or":
            return old | value
        if self.operation == "xor":
            return old ^ value
        if self.overflow == "saturate":
            return sat_add(old, value)
        return old + value
