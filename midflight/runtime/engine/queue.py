"""The native queue of packets for another round: resubmitted, recirculated, or cloned in egress.

It is a ring buffer of records in the host's memory, in order of arrival. A record has the packet's state and the other
inputs of a pass. If the ring is full, or the packet had too many rounds, the packet is dropped and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir as ll

from midflight.runtime.engine.code import Code, Unit, Value

__all__ = ["QUEUE_LENGTH", "ROUNDS", "Queue"]

QUEUE_LENGTH = 1024
"""The maximum number of packets in the queue, a power of two."""

ROUNDS = 256
"""The maximum number of rounds of one packet."""


class Queue:
    """Emits the code that adds packets to the queue, and the loop that processes them.

    `length` is the maximum number of packets in it, a power of two.
    """

    INGRESS = -1
    """Replaces the egress port for a packet that starts at ingress."""

    def __init__(self, unit: Unit, length: int = QUEUE_LENGTH) -> None:
        self.length = length
        self.state_size = unit.state.size
        self.record = unit.state.size + 32

    @contextmanager
    def push(self, code: Code, round_: Value) -> Iterator[Value]:
        """Emit code that adds a record if the queue has space and the packet has rounds left; else it counts a drop.

        Yields the record's address to the body of the `with`, which emits the code that fills it. `round_` (i32) is the
        packet's current round.
        """
        b = code.b
        head, tail = code.slot_value("queue.head"), code.slot_value("queue.tail")
        full = b.icmp_unsigned(">=", b.sub(tail, head), code.i64(self.length))
        exhausted = b.icmp_unsigned(">=", round_, code.i32(ROUNDS))
        with code.when(exhausted):
            code.count("dropped.rounds")
        with code.when(b.and_(full, b.not_(exhausted))):
            code.count("dropped.queue")
        with code.when(b.not_(b.or_(full, exhausted))):
            record = self._at(code, tail)
            code.store(b.add(round_, code.i32(1)), code.at(record, self.state_size + 20))
            yield record
            code.set_slot("queue.tail", b.add(tail, code.i64(1)))

    def describe(self, code: Code, record: Value, packet: Value, length: Value, consumed: Value, port: Value) -> None:
        """Emit stores of a record's fields other than the packet's state: its address, length, consumed bytes and port.

        `port` is the egress port, or INGRESS for a packet that starts at ingress.
        """
        code.b.store(packet, code.at(record, self.state_size), align=8)
        for offset, number in ((8, length), (12, consumed), (16, port)):
            code.store(code.resize(number, 32), code.at(record, self.state_size + offset))

    def drain(self, code: Code, ingress_pass: ll.Function, egress_pass: ll.Function | None) -> None:
        """Emit a loop that passes the queue's packets to `ingress_pass` or `egress_pass` until the queue is empty.

        Without `egress_pass` (None), all packets go to ingress.
        """
        b = code.b
        state = code.allocate(self.state_size)
        head_block, body, done = code.block("waiting"), code.block("again"), code.block("drained")
        code.go(head_block)
        b.position_at_end(head_block)
        head = code.slot_value("queue.head")
        b.cbranch(b.icmp_unsigned("==", head, code.slot_value("queue.tail")), done, body)
        b.position_at_end(body)
        record = self._at(code, head)
        code.copy(state, record, self.state_size)
        packet = code.load_pointer(code.at(record, self.state_size))
        length, consumed, port, round_ = (
            code.load(code.at(record, self.state_size + offset), 32) for offset in (8, 12, 16, 20)
        )
        code.set_slot("queue.head", b.add(head, code.i64(1)))
        at_ingress = b.icmp_unsigned("==", port, code.i32(self.INGRESS))
        with code.when(at_ingress):
            b.call(ingress_pass, [code.context, state, packet, length, round_])
        if egress_pass is not None:
            with code.when(b.not_(at_ingress)):
                b.call(egress_pass, [code.context, state, packet, length, consumed, port, round_])
        code.repeat(head_block, done)
        b.position_at_end(done)

    def _at(self, code: Code, position: Value) -> Value:
        slot = code.b.and_(position, code.i64(self.length - 1))
        return code.at(code.slot_pointer("queue"), code.b.mul(slot, code.i64(self.record)))
