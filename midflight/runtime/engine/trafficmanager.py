"""Native code of the traffic manager: the queues between ingress and egress, and their schedulers.

Ingress adds packets to a queue of their egress port (`enqueue`), and `advance` moves the traffic manager's clock, which
runs egress on every packet that is due by then. Times are in nanoseconds. Python configures the queues (`queues.py`).

A packet leaves its queue once the queue's rate and its port's rate permit it. Among the queues of a port that may send
at the same time, those without a weight come first, the one with the highest number before the others. Queues with
weights share what is left (start-time fair queueing: Goyal, Vin and Cheng, SIGCOMM 1996). Ports are independent;
packets that leave at the same time leave in the order in which they came to the head of their queues.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir as ll

from midflight.runtime.engine.code import I32, I64, POINTER, Code, Unit, Value
from midflight.runtime.engine.layout import scalar_width
from midflight.runtime.engine.noting import Event, note
from midflight.runtime.engine.stages import standard

__all__ = ["ARGUMENTS", "NEVER", "PORTS", "QUEUES", "SLOTS", "PortWords", "QueueWords", "TrafficManager"]

PORTS = 512
"""The number of ports with queues of their own. Packets to higher ports share those of the last one."""

QUEUES = 8
"""The maximum number of queues of a port, as the field `priority` has three bits."""

SLOTS = {
    "in.times": 8, "in.now": 8, "in.floor": 8, "in.spacing": 8, "in.latency": 8,
    "tm.ports": 8, "tm.active": PORTS // 8, "tm.count": 8, "tm.used": 8, "tm.capacity": 8, "tm.clock": 8, "tm.due": 8,
    "tm.next": 8, "tm.sequence": 8, "arrived": 8, "source": 8, "source.base": 8, "source.now": 8, "out.times": 8,
    "dropped.tail": 8, "dropped.priority": 8, "dropped.buffer": 8, "dropped.waiting": 8,
}  # fmt: skip
"""The slots of the traffic manager, with their sizes in bytes."""

ARGUMENTS = [POINTER, POINTER, POINTER, I32, I32, I32, I32]
"""The arguments of enqueue and egress: context, state, packet, length, consumed, port, round."""

_PER_PORT = QUEUES
NEVER = (1 << 64) - 1
"""The value of `tm.due` if no packet waits."""
SHARE = 1 << 8
"""The scale of virtual time: the units that a byte takes at weight 1."""


class QueueWords:
    """The 64-bit words of a queue.

    HEAD and TAIL are the addresses of its first and last packet. FREE_AT is the time from which the next packet may
    leave. GAP (nanoseconds a packet) and BITS (bits a second) are its rate, 0 if unlimited. WEIGHT is 0 for strict
    priority. FINISH is its virtual time. STARTED is 1 once a packet has joined it. CHANGED is
    1 if its rate changed since `settle`. DEPTH is the most packets that may wait; the others count packets.
    """

    HEAD, TAIL, SIZE, DEPTH, FREE_AT, GAP, BITS, WEIGHT, FINISH, STARTED, ENQUEUED, SENT, DROPPED, PEAK, CHANGED = (
        range(15)
    )
    COUNT = 16


class PortWords:
    """The 64-bit words of a port.

    WAITING is the number of its packets in queues. CHOICE is the queue whose packet leaves at DUE; SEQUENCE orders
    ports with equal DUE. FREE_AT, GAP, BITS and CHANGED are as in `QueueWords`, for all queues together, and VIRTUAL is
    the virtual time. The port's queues follow its words, from QUEUES.
    """

    WAITING, DUE, CHOICE, SEQUENCE, FREE_AT, GAP, BITS, VIRTUAL, CHANGED = range(9)
    QUEUES = 16
    COUNT = QUEUES + _PER_PORT * QueueWords.COUNT


class _Packet:
    """Offsets in the record of a packet that waits; its state follows at STATE, and then its bytes."""

    NEXT, ENTERED, ARRIVED, SOURCE, LENGTH, CONSUMED, ROUND, PORT, SIZE = 0, 8, 16, 24, 32, 36, 40, 44, 48
    SEQUENCE = 56
    STATE = 64


class TrafficManager:
    """Builds the native functions of the traffic manager, the queues between ingress and egress.

    `unit` is the module of the program. The constructor builds `enqueue` and `refresh`; the methods build `advance`,
    `settle` and `discard`. P4Error if the variables of all functions of the program exceed the engine's stack.
    """

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        void = ll.VoidType()
        self._malloc = ll.Function(unit.module, ll.FunctionType(POINTER, [I64]), "malloc")
        self._free = ll.Function(unit.module, ll.FunctionType(void, [POINTER]), "free")
        self.refresh = self._refresh()
        self.enqueue = self._enqueue()

    # Words

    def _word(self, code: Code, record: Value, number: int) -> Value:
        return code.load(code.at(record, 8 * number), 64)

    def _put(self, code: Code, record: Value, number: int, value: Value) -> None:
        code.store(value, code.at(record, 8 * number))

    def _add(self, code: Code, record: Value, number: int, value: int) -> Value:
        total = code.b.add(self._word(code, record, number), code.i64(value))
        self._put(code, record, number, total)
        return total

    def _port(self, code: Code, number: Value) -> Value:
        ports = code.load_pointer(code.slot("tm.ports"))
        return code.at(ports, code.b.mul(code.resize(number, 64), code.i64(8 * PortWords.COUNT)))

    def _queue(self, code: Code, port: Value, number: Value) -> Value:
        offset = code.b.mul(code.resize(number, 64), code.i64(8 * QueueWords.COUNT))
        return code.at(code.at(port, 8 * PortWords.QUEUES), offset)

    def _set(self, code: Code, state: Value, name: str, number: Value) -> None:
        if (target := standard(code, state, name)) is not None:
            code.write(code.resize(number, scalar_width(target.type)), target)

    def _microseconds(self, code: Code, time: Value) -> Value:
        return code.b.udiv(time, code.i64(1000))

    def _larger(self, code: Code, one: Value, other: Value) -> Value:
        return code.b.select(code.b.icmp_unsigned(">", one, other), one, other)

    def _service(self, code: Code, gap: Value, bits: Value, length: Value) -> Value:
        """Return the time that a packet takes at a rate, rounded up, so that the rate is never exceeded."""
        b = code.b
        limited = b.icmp_unsigned("!=", bits, code.i64(0))
        divisor = b.select(limited, bits, code.i64(1))
        work = b.add(b.mul(length, code.i64(8_000_000_000)), b.sub(divisor, code.i64(1)))
        return b.add(gap, b.select(limited, b.udiv(work, divisor), code.i64(0)))

    # Scheduling

    def _refresh(self) -> ll.Function:
        """Build `refresh(context, port)`: finds which queue of a port sends next, and when."""
        code = Code(self.unit, self.unit.function("refresh", [POINTER, I64], ll.VoidType(), inline=False))
        b = code.b
        number = code.function.args[1]
        port = self._port(code, number)
        active = code.at(code.slot("tm.active", PORTS // 8), b.shl(b.lshr(number, code.i64(6)), code.i64(3)))
        bit = b.shl(code.i64(1), b.and_(number, code.i64(63)))
        with code.when(b.icmp_unsigned("==", self._word(code, port, PortWords.WAITING), code.i64(0))):
            code.store(b.and_(code.load(active, 64), b.not_(bit)), active)
            b.ret_void()
        code.store(b.or_(code.load(active, 64), bit), active)
        due_at, choice_at, start_at = (code.allocate(8) for _ in range(3))
        code.store(code.i64(NEVER), due_at)
        count = code.slot_value("tm.count")
        with code.loop(count) as each:
            queue = self._queue(code, port, each)
            with code.when(b.icmp_unsigned("!=", self._word(code, queue, QueueWords.SIZE), code.i64(0))):
                ready = self._ready(code, queue)
                earlier = b.icmp_unsigned("<", ready, code.load(due_at, 64))
                code.store(b.select(earlier, ready, code.load(due_at, 64)), due_at)
        due = self._larger(code, code.load(due_at, 64), self._word(code, port, PortWords.FREE_AT))
        code.store(code.i64(0), choice_at)
        code.store(code.i64(NEVER), start_at)
        with code.loop(count) as index:
            each = b.sub(b.sub(count, index), code.i64(1))
            queue = self._queue(code, port, each)
            with code.when(b.icmp_unsigned("!=", self._word(code, queue, QueueWords.SIZE), code.i64(0))):
                # A queue without a weight starts at once, so no queue comes before it. Others start at 1 or later.
                weighted = b.icmp_unsigned("!=", self._word(code, queue, QueueWords.WEIGHT), code.i64(0))
                start = b.select(weighted, self._start(code, port, queue), code.i64(0))
                better = b.icmp_unsigned("<", start, code.load(start_at, 64))
                with code.when(b.and_(better, b.icmp_unsigned("<=", self._ready(code, queue), due))):
                    code.store(start, start_at)
                    code.store(each, choice_at)
        choice = code.load(choice_at, 64)
        head = code.load_pointer(self._queue(code, port, choice))
        self._put(code, port, PortWords.DUE, due)
        self._put(code, port, PortWords.CHOICE, choice)
        self._put(code, port, PortWords.SEQUENCE, code.load(code.at(head, _Packet.SEQUENCE), 64))
        b.ret_void()
        return code.function

    def _ready(self, code: Code, queue: Value) -> Value:
        """Return when the first packet of a queue, which has one, may leave as far as the queue is concerned."""
        head = code.load_pointer(code.at(queue, 8 * QueueWords.HEAD))
        return self._larger(
            code, code.load(code.at(head, _Packet.ENTERED), 64), self._word(code, queue, QueueWords.FREE_AT)
        )

    def _start(self, code: Code, port: Value, queue: Value) -> Value:
        """Return the virtual time at which a weighted queue's next packet starts, at least 1."""
        start = self._larger(
            code, self._word(code, port, PortWords.VIRTUAL), self._word(code, queue, QueueWords.FINISH)
        )
        return self._larger(code, start, code.i64(1))

    def _earliest(self, code: Code) -> tuple[Value, Value]:
        """Emit the search for the port whose packet leaves next. Returns its number, and the time or NEVER."""
        b = code.b
        port_at, due_at, order_at, left_at = (code.allocate(8) for _ in range(4))
        code.store(code.i64(0), port_at)
        code.store(code.i64(NEVER), due_at)
        code.store(code.i64(NEVER), order_at)
        count = self.unit.intrinsic("llvm.cttz", [I64], ll.FunctionType(I64, [I64, ll.IntType(1)]))
        with code.loop(code.i64(PORTS // 64)) as word:
            code.store(code.load(code.at(code.slot("tm.active", PORTS // 8), b.shl(word, code.i64(3))), 64), left_at)
            look, body, done = code.block("look"), code.block("body"), code.block("done")
            b.branch(look)
            b.position_at_end(look)
            left = code.load(left_at, 64)
            b.cbranch(b.icmp_unsigned("==", left, code.i64(0)), done, body)
            b.position_at_end(body)
            number = b.add(b.shl(word, code.i64(6)), b.call(count, [left, code.constant(1, 1)]))
            port = self._port(code, number)
            due, order = self._word(code, port, PortWords.DUE), self._word(code, port, PortWords.SEQUENCE)
            before = b.icmp_unsigned("<", due, code.load(due_at, 64))
            tie = b.icmp_unsigned("==", due, code.load(due_at, 64))
            first = b.or_(before, b.and_(tie, b.icmp_unsigned("<", order, code.load(order_at, 64))))
            for value, place in ((number, port_at), (due, due_at), (order, order_at)):
                code.store(b.select(first, value, code.load(place, 64)), place)
            code.store(b.and_(left, b.sub(left, code.i64(1))), left_at)
            b.branch(look)
            b.position_at_end(done)
        return code.load(port_at, 64), code.load(due_at, 64)

    # Packets

    def _enqueue(self) -> ll.Function:
        """Build `enqueue(context, state, packet, length, consumed, port, round)`.

        A copy of the packet, with its state, joins a queue of the port. If the queue is full, it is dropped.
        """
        unit = self.unit
        code = Code(unit, unit.function("enqueue", ARGUMENTS, ll.VoidType(), inline=False))
        b = code.b
        _, state, packet, length, consumed, out, round_ = code.function.args
        wide = code.resize(out, 64)
        number = b.select(b.icmp_unsigned("<", wide, code.i64(PORTS)), wide, code.i64(PORTS - 1))
        port = self._port(code, number)
        field = standard(code, state, "priority")
        priority = code.i64(0) if field is None else code.resize(code.read(field), 64)
        with code.when(b.icmp_unsigned(">=", priority, code.slot_value("tm.count"))):
            code.count("dropped.priority")
            note(code, Event.DROP, 2)
            b.ret_void()
        queue = self._queue(code, port, priority)
        size, now = self._word(code, queue, QueueWords.SIZE), code.slot_value("tm.clock")
        with code.when(b.icmp_unsigned(">=", size, self._word(code, queue, QueueWords.DEPTH))):
            self._add(code, queue, QueueWords.DROPPED, 1)
            code.count("dropped.tail")
            note(code, Event.DROP, 3)
            b.ret_void()
        need = b.add(code.resize(length, 64), code.i64(_Packet.STATE + unit.state.size))
        used = b.add(code.slot_value("tm.used"), need)
        record_at = code.allocate(8)
        b.store(ll.Constant(POINTER, None), record_at, align=8)
        with code.when(b.icmp_unsigned("<=", used, code.slot_value("tm.capacity"))):
            b.store(b.call(self._malloc, [need]), record_at, align=8)
        record = code.load_pointer(record_at)
        with code.when(b.icmp_unsigned("==", b.ptrtoint(record, I64), code.i64(0)), rarely=True):
            self._add(code, queue, QueueWords.DROPPED, 1)
            code.count("dropped.buffer")
            note(code, Event.DROP, 4)
            b.ret_void()
        code.set_slot("tm.used", used)
        self._fill(code, record, now, need)
        for offset, word in (
            (_Packet.LENGTH, length), (_Packet.CONSUMED, consumed), (_Packet.ROUND, round_), (_Packet.PORT, out),
        ):  # fmt: skip
            code.store(word, code.at(record, offset))
        waiting = code.at(record, _Packet.STATE)
        code.copy(waiting, state, unit.state.size)
        code.copy(code.at(waiting, unit.state.size), packet, length)
        self._set(code, waiting, "enq_timestamp", self._microseconds(code, now))
        self._set(code, waiting, "enq_qdepth", size)
        empty = b.icmp_unsigned("==", size, code.i64(0))
        with code.when(empty):
            b.store(record, code.at(queue, 8 * QueueWords.HEAD), align=8)
        with code.when(b.not_(empty)):
            b.store(record, code.load_pointer(code.at(queue, 8 * QueueWords.TAIL)), align=8)
        b.store(record, code.at(queue, 8 * QueueWords.TAIL), align=8)
        grown = self._add(code, queue, QueueWords.SIZE, 1)
        self._put(code, queue, QueueWords.PEAK, self._larger(code, grown, self._word(code, queue, QueueWords.PEAK)))
        self._add(code, queue, QueueWords.ENQUEUED, 1)
        self._add(code, port, PortWords.WAITING, 1)
        with code.when(b.icmp_unsigned("==", self._word(code, queue, QueueWords.STARTED), code.i64(0))):
            # As on BMv2, the very first packet waits for the time that a packet takes to leave.
            self._put(code, queue, QueueWords.STARTED, code.i64(1))
            self._put(code, queue, QueueWords.FREE_AT, b.add(now, self._took(code, queue, QueueWords, record)))
        with code.when(empty):
            b.call(self.refresh, [code.context, number])
        b.ret_void()
        return code.function

    def _fill(self, code: Code, record: Value, now: Value, need: Value) -> None:
        """Store the 64-bit words of a packet that joins a queue."""
        code.b.store(ll.Constant(POINTER, None), code.at(record, _Packet.NEXT), align=8)
        order = code.b.add(code.slot_value("tm.sequence"), code.i64(1))
        code.set_slot("tm.sequence", order)
        for offset, word in (
            (_Packet.ENTERED, now),
            (_Packet.ARRIVED, code.slot_value("arrived")),
            (_Packet.SOURCE, code.slot_value("source")),
            (_Packet.SIZE, need),
            (_Packet.SEQUENCE, order),
        ):
            code.store(word, code.at(record, offset))

    def _took(self, code: Code, record: Value, words: type[QueueWords] | type[PortWords], packet: Value) -> Value:
        """Return the time that a waiting packet takes at the rate of a queue or port."""
        length = code.resize(code.load(code.at(packet, _Packet.STATE + self.unit.state.length), 32), 64)
        return self._service(code, self._word(code, record, words.GAP), self._word(code, record, words.BITS), length)

    def _take(self, code: Code, number: Value, due: Value) -> tuple[Value, Value]:
        """Emit the removal of a port's next packet. Returns its record and its queue's size afterwards."""
        b = code.b
        port = self._port(code, number)
        choice = self._word(code, port, PortWords.CHOICE)
        queue = self._queue(code, port, choice)
        record = code.load_pointer(code.at(queue, 8 * QueueWords.HEAD))
        b.store(code.load_pointer(record), code.at(queue, 8 * QueueWords.HEAD), align=8)
        size = self._add(code, queue, QueueWords.SIZE, -1)
        self._add(code, queue, QueueWords.SENT, 1)
        self._add(code, port, PortWords.WAITING, -1)
        self._put(code, queue, QueueWords.FREE_AT, b.add(due, self._took(code, queue, QueueWords, record)))
        self._put(code, port, PortWords.FREE_AT, b.add(due, self._took(code, port, PortWords, record)))
        weight = self._word(code, queue, QueueWords.WEIGHT)
        with code.when(b.icmp_unsigned("!=", weight, code.i64(0))):
            start = self._start(code, port, queue)
            length = code.resize(code.load(code.at(record, _Packet.STATE + self.unit.state.length), 32), 64)
            self._put(code, port, PortWords.VIRTUAL, start)
            share = b.udiv(b.mul(length, code.i64(SHARE)), weight)
            self._put(code, queue, QueueWords.FINISH, b.add(b.add(start, share), code.i64(1)))
        b.call(self.refresh, [code.context, number])
        state = code.at(record, _Packet.STATE)
        entered, arrived = (code.load(code.at(record, each), 64) for each in (_Packet.ENTERED, _Packet.ARRIVED))
        now, joined = self._microseconds(code, due), self._microseconds(code, entered)
        code.set_slot("now", now)
        code.set_slot("source", code.load(code.at(record, _Packet.SOURCE), 64))
        code.set_slot("arrived", arrived)
        later = self._larger(code, now, b.add(self._microseconds(code, arrived), code.i64(1)))
        self._set(code, state, "egress_global_timestamp", later)
        self._set(code, state, "deq_timedelta", b.sub(now, joined))
        self._set(code, state, "deq_qdepth", size)
        self._set(code, state, "qid", choice)
        if self.unit.names is not None:
            earlier = b.icmp_unsigned("!=", code.slot_value("source"), code.slot_value("source.now"))
            with code.when(earlier):
                came = standard(code, state, "ingress_port")
                length = code.load(code.at(record, _Packet.LENGTH), 32)
                note(code, Event.LATER, 0 if came is None else code.resize(code.read(came), 32), length)
        note(code, Event.QUEUE, choice, b.sub(due, entered))
        return record, size

    def build_advance(self, egress_pass: ll.Function, again: Callable[[Code], None]) -> ll.Function:
        """Build `advance(context, until)`: runs egress on every packet that leaves by a time, in order of time.

        `again` emits the processing of packets that egress recirculated. Afterwards, the slot `tm.due` is the time at
        which the next packet leaves, or 2**64 - 1.
        """
        unit = self.unit
        code = Code(unit, unit.function("advance", [POINTER, I64], ll.VoidType(), inline=False))
        b = code.b
        until = code.function.args[1]
        look, leave, done = code.block("look"), code.block("leave"), code.block("done")
        b.branch(look)
        b.position_at_end(look)
        number, due = self._earliest(code)
        code.set_slot("tm.due", due)
        waits = b.icmp_unsigned(">", due, until)
        b.cbranch(waits, done, leave)
        b.position_at_end(leave)
        clock = self._larger(code, due, code.slot_value("tm.clock"))
        code.set_slot("tm.clock", clock)
        record, _ = self._take(code, number, clock)
        state = code.at(record, _Packet.STATE)
        length, consumed, round_, port = (
            code.load(code.at(record, each), 32)
            for each in (_Packet.LENGTH, _Packet.CONSUMED, _Packet.ROUND, _Packet.PORT)
        )
        packet = code.at(state, unit.state.size)
        b.call(egress_pass, [code.context, state, packet, length, consumed, port, round_])
        again(code)
        self._release(code, record)
        b.branch(look)
        b.position_at_end(done)
        code.set_slot("tm.clock", self._larger(code, until, code.slot_value("tm.clock")))
        b.ret_void()
        return code.function

    def _release(self, code: Code, record: Value) -> None:
        size = code.load(code.at(record, _Packet.SIZE), 64)
        code.set_slot("tm.used", code.b.sub(code.slot_value("tm.used"), size))
        code.b.call(self._free, [record])

    def build_settle(self) -> None:
        """Build `settle(context)`, which is necessary after a change of rates or weights.

        The next packet of a queue or port whose rate changed waits no longer than it takes at the new rate.
        """
        code = Code(self.unit, ll.Function(self.unit.module, ll.FunctionType(ll.VoidType(), [POINTER]), "settle"))
        with code.loop(code.i64(PORTS)) as number:
            port = self._port(code, number)
            with code.loop(code.i64(QUEUES)) as each:
                queue = self._queue(code, port, each)
                self._hasten(code, queue, QueueWords, queue)
            self._hasten(code, port, PortWords, self._queue(code, port, self._word(code, port, PortWords.CHOICE)))
            code.b.call(self.refresh, [code.context, number])
        code.set_slot("tm.due", self._earliest(code)[1])
        code.b.ret_void()

    def _hasten(self, code: Code, record: Value, words: type[QueueWords] | type[PortWords], queue: Value) -> None:
        """Move the time from which a queue or port is free forward, if its rate changed.

        The next packet is the first of `queue`.
        """
        b = code.b
        with code.when(b.icmp_unsigned("!=", self._word(code, record, words.CHANGED), code.i64(0))):
            self._put(code, record, words.CHANGED, code.i64(0))
            waits = b.icmp_unsigned("!=", self._word(code, queue, QueueWords.SIZE), code.i64(0))
            took = code.choose(
                waits, lambda: self._took(code, record, words, code.load_pointer(queue)), lambda: code.i64(0)
            )
            limit, free = b.add(code.slot_value("tm.clock"), took), self._word(code, record, words.FREE_AT)
            self._put(code, record, words.FREE_AT, b.select(b.icmp_unsigned("<", free, limit), free, limit))

    def build_discard(self) -> None:
        """Build `discard(context)`: frees all packets that wait, without processing them."""
        unit = self.unit
        code = Code(unit, ll.Function(unit.module, ll.FunctionType(ll.VoidType(), [POINTER]), "discard"))
        b = code.b
        with code.loop(code.i64(PORTS)) as number:
            port = self._port(code, number)
            with code.loop(code.i64(QUEUES)) as each:
                queue = self._queue(code, port, each)
                look, drop, done = code.block("look"), code.block("drop"), code.block("done")
                b.branch(look)
                b.position_at_end(look)
                b.cbranch(b.icmp_unsigned("==", self._word(code, queue, QueueWords.SIZE), code.i64(0)), done, drop)
                b.position_at_end(drop)
                record = code.load_pointer(code.at(queue, 8 * QueueWords.HEAD))
                b.store(code.load_pointer(record), code.at(queue, 8 * QueueWords.HEAD), align=8)
                self._add(code, queue, QueueWords.SIZE, -1)
                self._release(code, record)
                b.branch(look)
                b.position_at_end(done)
            self._put(code, port, PortWords.WAITING, code.i64(0))
            b.call(self.refresh, [code.context, number])
        code.set_slot("tm.due", code.i64(NEVER))
        b.ret_void()
