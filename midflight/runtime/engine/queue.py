"""The native queue of packets that go round again: resubmitted, recirculated, or cloned at egress.

A ring of records in the host's memory, each a packet's state and what else a pass needs. First in, first out; a full
ring or one round too many drops the packet and counts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir as ll

from midflight.runtime.engine.code import Code, Unit, Value

__all__ = ["QUEUE_LENGTH", "ROUNDS", "Queue"]

QUEUE_LENGTH = 1024
"""Packets that can wait at once. A power of two."""

ROUNDS = 256
"""Times that one packet can go round."""


class Queue:
    """Emits pushes and the loop that drains the ring."""

    INGRESS = -1
    """Stands for an egress port where a packet is to begin at ingress."""

    def __init__(self, unit: Unit) -> None:
        self.state_size = unit.state.size
        self.record = unit.state.size + 32

    @contextmanager
    def push(self, code: Code, round_: Value) -> Iterator[Value]:
        """Emit, where there is room and the packet has rounds left, what fills the record's state."""
        b = code.b
        head, tail = code.slot_value("queue.head"), code.slot_value("queue.tail")
        full = b.icmp_unsigned(">=", b.sub(tail, head), code.i64(QUEUE_LENGTH))
        tired = b.icmp_unsigned(">=", round_, code.i32(ROUNDS))
        with code.when(tired):
            code.count("dropped.rounds")
        with code.when(b.and_(full, b.not_(tired))):
            code.count("dropped.queue")
        with code.when(b.not_(b.or_(full, tired))):
            record = self._at(code, tail)
            code.store(b.add(round_, code.i32(1)), code.at(record, self.state_size + 20))
            yield record
            code.set_slot("queue.tail", b.add(tail, code.i64(1)))

    def describe(self, code: Code, record: Value, packet: Value, length: Value, consumed: Value, port: Value) -> None:
        """Store what a record holds besides the state; `port` is the egress port, or INGRESS."""
        code.b.store(packet, code.at(record, self.state_size), align=8)
        for offset, number in ((8, length), (12, consumed), (16, port)):
            code.store(code.resize(number, 32), code.at(record, self.state_size + offset))

    def drain(self, code: Code, ingress_pass: ll.Function, egress_pass: ll.Function) -> None:
        """Emit a loop that works off the ring until it is empty."""
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
        with code.when(b.not_(at_ingress)):
            b.call(egress_pass, [code.context, state, packet, length, consumed, port, round_])
        code.go(head_block)
        b.position_at_end(done)

    def _at(self, code: Code, position: Value) -> Value:
        slot = code.b.and_(position, code.i64(QUEUE_LENGTH - 1))
        return code.at(code.slot_pointer("queue"), code.b.mul(slot, code.i64(self.record)))
