"""Aggregate: all-reduce in the switch, the sum or another reduction of an array over a group of workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

from midflight.primitives.kernel.arithmetic import add_overflows, sat_add
from midflight.primitives.kernel.header import Layout
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, int_, one_of, within
from midflight.primitives.serial import advance

__all__ = ["WIDTHS", "Aggregate", "Number", "Operation"]

Operation = Literal["sum", "min", "max", "and", "or", "xor", "count", "mean"]
"""The reductions that an `Aggregate` computes."""

Number = Literal["int32", "int16"]
"""The types of an `Aggregate`'s numbers on the wire."""

WIDTHS: Final[Mapping[Number, int]] = {"int32": 32, "int16": 16}
"""The width of each number type in bits."""


class Aggregate(Primitive):
    """Sum `lanes` numbers of every worker, element by element, and multicast the sum when all have sent theirs.

    Parameters:
        workers: how many contribute to each sum (1 to 64)
        lanes: numbers in a packet (1 to 256)
        slots: chunks that a worker may have in flight (1 to 16384); the switch has twice as many entries
        operation: `sum`, `min`, `max`, bitwise `and`, `or` or `xor`, `count` or `mean`. The last two are sums for the
            switch: hosts send ones to count, and divide
        number: the type of a number, `int32` or `int16`. Hosts quantise floats (`midflight.primitives.fixedpoint`)
        overflow: of sums: `wrap` modulo 2**32 (2**16), `saturate` at the limits of int<32> (int<16>), or `detect`: the
            sum wraps, bit 0 of the result's `flags` is set, and the hosts compute that sum themselves. If a worker
            sets the bit in its contribution, the sum has it set
        base: the number of the first worker (0 to 256 - `workers`); the other workers have the following numbers
        rank: on a switch below another switch, its worker number there (0 to 255); -1 on the only or topmost switch,
            which answers
        switches: on a switch with both hosts and switches below it, how many of the `workers` are switches (0 to
            `workers` - 1). The hosts are numbered from `base`, the switches from `first`
        first: the number of the first of those switches, above those of the hosts (at most 256 - `switches`); ignored
            without `switches`

    Follows SwitchML (NSDI 2021): a pool of entries, a bitmap of the workers seen, and a shadow copy of every entry, so
    that workers can request a result again until all have it. Different here: job and sequence number in a packet
    identify its chunk, and an entry stores which chunk it holds. The switch therefore drops packets of older chunks and
    jobs, however late, and restarts the entry for a newer one. The two copies of an entry are two pool entries with the
    same rules instead of a version bit.

    Contract with the hosts: chunk k has sequence k + 1 and uses entry k % (2 * slots). A worker sends chunk k only
    after the result of chunk k - slots. Job and sequence together are compared as a serial number (RFC 1982); a job's
    number must be newer than those of all earlier jobs. Bit 1 of `flags` marks a retransmission; a result has the bit
    of the contribution that it answers. `epoch` in a result is the epoch of the switch's state in which it was summed.
    A newer epoch shows hosts that the switch has lost all earlier state.

    In a tree of switches, each one sends a complete sum up as its contribution, and again for every retransmission. The
    hosts' retransmissions therefore also repair losses between switches. Hosts and switches have unique numbers in the
    tree, and a switch drops packets from others than its own workers. A contribution that passes a switch which has
    lost its state can therefore not be mistaken for that switch's sum.

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
    OVERFLOW = "by parameter: wrap, saturate, or detect and compute on the hosts"
    MEMBER = "worker"
    JOB = "job"

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
        """One worker's contribution to a chunk on the way in, the sum on the way out.

        `slot` is the pool entry, `worker` the sender's number. Bit 0 of `flags` means overflow, bit 1 a retransmission.
        `job` is the job's number, `epoch` in a result that of the switch's state, and `values` the chunk's numbers.
        """

        slot = bit[16]
        worker = bit[8]
        flags = bit[8]
        job = bit[16]
        epoch = bit[16]
        values = int_["width"].array("lanes")

    def header(self) -> Layout:
        """Return the layout of `Wire` with `lanes` lanes of the parameter `number`'s type."""
        return self.layout_of(self.lanes, self.number)

    @classmethod
    def layout_of(cls, lanes: int, number: Number) -> Layout:
        """Return the header's layout for a number of lanes and a number type, without creating an `Aggregate`.

        KernelError unless `lanes` is 1 to 8187.
        """
        return Layout.of(cls.Wire, {"lanes": lanes, "width": WIDTHS[number]})

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
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
        """Create, for each of 2 * `slots` pool entries: its job and sequence, the workers seen, and the sum so far."""
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
        """Add a worker's contribution to its entry's sum, once. Answer with a complete sum, otherwise drop the packet.

        The contribution that completes the sum is multicast; a repeated one is replied to. Below another switch
        (`rank`), both are forwarded to it instead.
        """
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

        # Newer than the stored chunk: restart the entry.
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
        """The number that does not change another one in `combined`.

        It is the largest number for `min`, the smallest for `max`, -1 for `and`, and 0 for the other operations.
        """
        most = (1 << (WIDTHS[self.number] - 1)) - 1
        return {"min": most, "max": -most - 1, "and": -1}.get(self.operation, 0)

    def combined(self, old: int, value: int) -> int:
        """Return the reduction of a stored and a new number by `operation`. Sums saturate or wrap, by `overflow`."""
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
