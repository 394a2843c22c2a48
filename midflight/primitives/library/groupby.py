"""GroupBy: aggregates key-value pairs by key on their way to a server, in cells that evict on collisions."""

from __future__ import annotations

from typing import Literal

from midflight.primitives.kernel.arithmetic import add_overflows, bits, concat, hash_
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, int_, one_of, power_of_two, within
from midflight.primitives.serial import advance

__all__ = ["GroupBy"]


class GroupBy(Primitive):
    """Aggregate values by key in the switch; an evicted pair goes on to the server in the packet that evicts it.

    Parameters:
        workers: the number of senders (1 to 256), including the server if it flushes
        operation: `sum`, `min`, `max`, or `count`, which counts pairs whatever their values
        lanes: pairs in a packet (1 to 16; 12 bytes each); each lane has its own cells
        cells: pairs that a lane can hold (1 to 2**20)
        window: packets that a worker may have in flight (1 to 1024, a power of two)

    A packet carries a pair in each lane whose bit is set in `present`. A hash of the key selects a cell. If the cell is
    empty or holds the key, the pair is merged into it. If it holds another key, the old pair replaces the new one in
    the packet. `command` is `GroupBy.PUT` (0) or `GroupBy.FLUSH` (1). A FLUSH removes the pairs in `cell` of every lane
    and carries them. Packets with another command, a worker or `cell` that does not exist, or sequence 0 are dropped.

    The switch replies to a PUT without remaining pairs; its `present` is 0. Other PUTs are forwarded to the server,
    which takes the pairs and replies instead. The switch replies to a FLUSH. A server treats evicted pairs like pairs
    that have not passed a switch.

    Contract with the hosts: a worker numbers its packets from 1 with the common header's sequence, and sends number n
    only after the answer to n - window. `job` and sequence together increase from run to run (RFC 1982). The switch
    stores the pairs that each of the latest `window` packets carried, so that a repeated packet carries the same pairs
    and does not count again. A server accepts each (worker, job, sequence) once. After all packets are answered and all
    cells flushed, even if packets were lost, duplicated or late:

        the server's totals of evicted and flushed pairs equal those of all pairs that the workers have sent

    If a sum would exceed int<32>, the old pair is evicted and the cell starts with the new value, so nothing overflows.
    A switch that loses its state loses pairs. The `epoch` in answers shows this, and the hosts start again with a newer
    job.

    Follows DAIET (HotNets 2017). Different here: the old pair is evicted instead of the new one, so that cells follow
    the keys in use; it travels in the packet instead of a spillover bucket; and each pair counts exactly once. State:
    97 bits per cell, 97 bits per lane and packet in flight, and 48 bits per packet in flight.

    >>> words = GroupBy("words", workers=1, cells=1).reference()
    >>> def put(sequence, key, value):
    ...     header = {"command": GroupBy.PUT, "worker": 0, "job": 0, "epoch": 0, "cell": 0, "present": 1}
    ...     outcome = words.process(Message(REQUEST, "words", sequence, {**header, "keys": [key], "values": [value]}))
    ...     fields = outcome.message.fields
    ...     return outcome.verdict.name, fields["present"], int(fields["keys"][0]), int(fields["values"][0])
    >>> put(1, 7, 10), put(2, 7, 5), put(2, 7, 5)
    (('REPLY', 0, 0, 0), ('REPLY', 0, 0, 0), ('REPLY', 0, 0, 0))
    >>> put(3, 8, 1), put(3, 8, 1)
    (('FORWARD', 1, 7, 15), ('FORWARD', 1, 7, 15))
    """

    FAMILY = "aggregation"
    PAPER = "DAIET: Sapio et al., HotNets 2017"
    OVERFLOW = "a sum that would exceed int<32> evicts the old pair and restarts the cell"
    MEMBER = "worker"
    JOB = "job"

    PUT = 0
    FLUSH = 1

    workers: int
    operation: Literal["sum", "min", "max", "count"] = "sum"
    lanes: int = 1
    cells: int = 1024
    window: int = 16

    class Wire(Header):
        """A packet with a key-value pair in each lane whose bit is set in `present` (bit 0 for lane 0).

        `command` is PUT or FLUSH, `worker` the sender's number, `job` its run, `cell` the cell to flush. On the way
        out, the pairs are those that were evicted or flushed, and `epoch` is that of the switch's state.
        """

        command = bit[8]
        worker = bit[8]
        job = bit[16]
        epoch = bit[16]
        present = bit[16]
        cell = bit[32]
        keys = bit[64].array("lanes")
        values = int_[32].array("lanes")

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "workers", 1, 256)
        within(self, "lanes", 1, 16)
        within(self, "cells", 1, 2**20)
        power_of_two(self, "window", 1, 1024)
        one_of(self, "operation", "sum", "min", "max", "count")

    def setup(self) -> None:
        """Create the cells, and for each packet in flight: its number and the pairs that left with it.

        A stored key has a valid bit above it.
        """
        flights = self.workers * self.window
        self.adds = self.operation in ("sum", "count")
        self.held = Register(bit[48], flights)
        self.cell_keys = Register(bit[65], self.cells, lanes=self.lanes)
        self.cell_values = Register(int_[32], self.cells, lanes=self.lanes)
        self.taken_keys = Register(bit[65], flights, lanes=self.lanes)
        self.taken_values = Register(int_[32], flights, lanes=self.lanes)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Merge a packet's pairs into their cells, or flush one cell of every lane, once. It carries the evicted pairs.

        Reply if no pair remains, and to a FLUSH; otherwise forward the packet to the server.
        """
        flush = wire.command == self.FLUSH
        unknown = wire.command > self.FLUSH or wire.worker >= self.workers
        if unknown or packet.sequence == 0 or wire.cell >= self.cells:
            packet.drop()
            return

        # A packet older than the window has already been answered.
        flight = bit[32](wire.worker) * self.window + packet.sequence % self.window
        ahead = advance(self.held, flight, concat(wire.job, packet.sequence))
        if ahead < 0:
            packet.drop()
            return

        fresh = ahead > 0
        left = bit[16](0)
        for lane in range(self.lanes):
            moves = fresh and (flush or bits(wire.present, lane, lane) == 1)
            place = wire.cell if flush else hash_(wire.keys[lane], range=self.cells)
            key = bit[65](0) if flush else concat(bit[1](1), wire.keys[lane])
            value = int_[32](1) if self.operation == "count" else wire.values[lane]
            before = self.cell_keys[lane].update_if(place, moves, lambda _: key)
            joins = moves and before == key
            was = self.cell_values[lane].update_if(
                place, moves, lambda old: self.combined(old, value) if joins else value
            )
            if self.adds:
                joins = joins and not add_overflows(was, value)

            gone = before if moves and not joins else bit[65](0)
            taken = self.taken_keys[lane].update_fetch(flight, lambda old: gone if fresh else old)
            along = self.taken_values[lane].update_fetch(flight, lambda old: was if fresh else old)
            wire.keys[lane] = bit[64](taken)
            wire.values[lane] = 0 if taken == 0 else along
            if taken != 0:
                left |= 1 << lane

        wire.present = left
        wire.epoch = packet.epoch
        if flush or left == 0:
            packet.reply()
        else:
            packet.forward()

    def combined(self, old: int, value: int) -> int:
        """Return the aggregate of a key's stored and new value; the new value alone if the sum would exceed int<32>."""
        if self.operation == "min":
            return min(old, value)
        if self.operation == "max":
            return max(old, value)
        return value if add_overflows(old, value) else old + value
