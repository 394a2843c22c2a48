"""GroupBy: pairs of key and value put together by key on their way to a server, in cells that evict what collides."""

from __future__ import annotations

from typing import Literal

from midflight.primitives.kernel.arithmetic import add_overflows, bits, concat, hash_
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, int_, one_of, power_of_two, within
from midflight.primitives.serial import advance

__all__ = ["GroupBy"]


class GroupBy(Primitive):
    """Aggregate values by key in the switch; a pair that has to make room goes on to the server inside the packet.

    Parameters:
        workers: how many send (1 to 256), the server included where it flushes
        operation: `sum`, `min`, `max` or `count`, which takes each pair for one, whatever its value
        lanes: pairs in a packet (1 to 16; 12 bytes each); each lane has cells of its own
        cells: pairs that a lane can hold (1 to 2**20)
        window: packets that a worker may have in flight (1 to 1024, a power of two)

    A packet carries a pair in each lane of which `present` has the bit. Where the key's cell, by its hash, holds that
    key or none, the pair goes into it. Where it holds another one, the old pair takes the new one's place in the
    packet. `command` is `GroupBy.PUT` (0), or `GroupBy.FLUSH` (1): then the packet takes with it what every lane holds
    in `cell`, which is empty afterwards. A packet with a `cell` that is not there or another command is dropped.

    A PUT that has no pair left is answered to its worker: `present` is 0. Any other is forwarded to the server, which
    takes its pairs and answers in the switch's place; a FLUSH is answered to whoever sent it. A server treats pairs
    alike whether they were evicted or have never seen a switch.

    Contract with the hosts: a worker counts its packets by the common header's sequence number from 1, and sends
    number n only when n - window is answered. `job` and sequence together go up from one run to the next (RFC 1982).
    The switch keeps what each of the latest `window` packets took along, and a packet that comes again takes the same,
    instead of counting again. A server, too, takes each (worker, job, sequence) once. Then, when all packets have been
    answered and all cells flushed, whatever was lost, doubled or late on the way:

        the server's totals of evicted and flushed pairs are those of all the pairs that workers have sent

    A sum that would leave int<32> evicts the old pair and begins anew, so that nothing overflows. A switch that has
    lost its state has lost pairs: an answer's `epoch` tells, and the hosts begin anew, with a newer job.

    Follows DAIET (HotNets 2017). Different here: the old pair is evicted, not the new one, so that cells follow the
    keys in use; it goes in the packet and not into a spillover bucket; and a contract makes it exactly once. State for
    each lane: 97 bits for a cell and 97 for a packet in flight; and 48 for each packet in flight.

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
    OVERFLOW = "a sum that would leave int<32> evicts the old pair and begins anew"

    PUT = 0
    FLUSH = 1

    workers: int
    operation: Literal["sum", "min", "max", "count"] = "sum"
    lanes: int = 1
    cells: int = 1024
    window: int = 16

    class Wire(Header):
        """Pairs on the way in, and those that had to go on the way out."""

        command = bit[8]
        worker = bit[8]
        job = bit[16]
        epoch = bit[16]
        present = bit[16]
        cell = bit[32]
        keys = bit[64].array("lanes")
        values = int_[32].array("lanes")

    def validate(self) -> None:
        """Check the limits."""
        within(self, "workers", 1, 256)
        within(self, "lanes", 1, 16)
        within(self, "cells", 1, 2**20)
        power_of_two(self, "window", 1, 1024)
        one_of(self, "operation", "sum", "min", "max", "count")

    def setup(self) -> None:
        """Make the cells, and for each packet in flight its number and the pairs that it took along.

        A key stands below a bit that there is one.
        """
        flights = self.workers * self.window
        self.adds = self.operation in ("sum", "count")
        self.held = Register(bit[48], flights)
        self.cell_keys = Register(bit[65], self.cells, lanes=self.lanes)
        self.cell_values = Register(int_[32], self.cells, lanes=self.lanes)
        self.taken_keys = Register(bit[65], flights, lanes=self.lanes)
        self.taken_values = Register(int_[32], flights, lanes=self.lanes)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Put the pairs into their cells, or flush one; take along what had to go."""
        flush = wire.command == self.FLUSH
        unknown = wire.command > self.FLUSH or wire.worker >= self.workers
        if unknown or packet.sequence == 0 or wire.cell >= self.cells:
            packet.drop()
            return

        # An older packet than what is held has been answered long ago.
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
        """Return what two values of a key come to; a sum that would overflow begins anew."""
        if self.operation == "min":
            return min(old, value)
        if self.operation == "max":
            return max(old, value)
        return value if add_overflows(old, value) else old + value
