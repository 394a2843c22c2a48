"""Emits the v1model switch around a program: ingress, traffic manager, egress, and the loop over a batch.

The actions after ingress and egress, and their order, are those of simple_switch's documentation. A packet is processed
completely, with all of its copies, before the next one. Packets for another round wait in a queue of bounded length,
and their number of rounds is bounded as well, so a batch always ends.

Without queues, ingress calls egress. With queues, ingress adds packets to a queue of their port, from which the traffic
manager runs egress when their time has come: see `trafficmanager.py`. A program that reads what only queues determine
(`QUEUE_FIELDS`) always gets queues; other programs get them when someone configures a queue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir as ll

from midflight.p4 import ir
from midflight.runtime.engine.apply import Tables
from midflight.runtime.engine.code import I32, I64, POINTER, Code, Place, Unit, Value
from midflight.runtime.engine.context import Slots
from midflight.runtime.engine.externs import lower_call
from midflight.runtime.engine.externs.traffic import DROP_PORT, SESSION_MASK
from midflight.runtime.engine.layout import scalar_width
from midflight.runtime.engine.noting import Event, note
from midflight.runtime.engine.output import build_emit, build_send
from midflight.runtime.engine.packetstate import preserved_fields
from midflight.runtime.engine.queue import ROUNDS, Queue
from midflight.runtime.engine.stages import Stages, build_stages, standard
from midflight.runtime.engine.trafficmanager import ARGUMENTS, TrafficManager

__all__ = ["DROPS", "NORMAL", "QUEUE_FIELDS", "Lowered", "lower_program"]

NORMAL, INGRESS_CLONE, EGRESS_CLONE, _, RECIRCULATED, REPLICATED, RESUBMITTED = range(7)
"""The values of instance_type, as in simple_switch."""

DROPS = ("ingress", "egress", "replicas", "memory", "queue", "rounds", "tail", "priority", "buffer", "waiting")
"""The reasons for which the engine drops packets; `engine.Stats` explains them."""

QUEUE_FIELDS = frozenset(
    ["enq_timestamp", "enq_qdepth", "deq_timedelta", "deq_qdepth", "egress_global_timestamp", "priority", "qid"]
)
"""The fields of the standard metadata that ask for queues."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """A program in LLVM: the module under construction, the table layouts, and the name of its entry function.

    `queued` is whether the program has queues between ingress and egress. It then also has the functions `settle` and
    `discard` of the traffic manager.
    """

    unit: Unit
    tables: Tables
    entry: str
    queued: bool


def lower_program(
    program: ir.Program, slots: Slots | None = None, *, traced: bool = False, queued: bool = False
) -> Lowered:
    """Return a checked program as an LLVM module with a function `process(context)` for the context's batch.

    slots: those of the same program lowered before; the code then works with the same context
    traced: also record traces
    queued: put queues between ingress and egress, even if the program does not ask for them

    Raises P4Error for a construct that the engine does not support.
    """
    tables = Tables()
    unit = Unit(program, lower_call, tables.apply, tables.contains, slots, traced=traced)
    stages = build_stages(unit)
    queued = queued or bool(unit.touched & QUEUE_FIELDS)
    _Driver(unit, stages, queued=queued).build()
    return Lowered(unit, tables, "process", queued)


class _Driver:
    """Builds the functions around the stages."""

    def __init__(self, unit: Unit, stages: Stages, *, queued: bool) -> None:
        self.unit = unit
        self.stages = stages
        self.emit = build_emit(unit, stages)
        self.send = build_send(unit, timed=queued)
        again = unit.intents & {"resubmit", "recirculate"}
        self.queue = Queue(unit) if again or "clone" in unit.intents else None
        self.manager = TrafficManager(unit) if queued else None
        self.timed = queued or "ingress_global_timestamp" in unit.touched

    def build(self) -> None:
        """Build all functions, callees first."""
        self.egress_pass = self._egress_pass()
        self.ingress_pass = self._ingress_pass()
        self.advance: ll.Function | None = None
        if self.manager is not None:
            self.advance = self.manager.build_advance(self.egress_pass, self._again_now)
            self.manager.build_settle()
            self.manager.build_discard()
        self._process()

    @property
    def after_ingress(self) -> ll.Function:
        """What happens to a packet with an egress port after ingress: it enters egress, or a queue."""
        return self.egress_pass if self.manager is None else self.manager.enqueue

    # Steps that several functions share

    def _set(self, code: Code, state: Value, name: str, number: Value) -> None:
        if (target := standard(code, state, name)) is not None:
            code.write(code.resize(number, scalar_width(target.type)), target)

    def _get(self, code: Code, state: Value, name: str, width: int) -> Value:
        target = standard(code, state, name)
        return code.constant(width, 0) if target is None else code.resize(code.read(target), width)

    def _intent(self, code: Code, state: Value, name: str) -> Value:
        return code.load(code.at(state, self.unit.state.intent(name)), 32)

    def _clear_intents(self, code: Code, state: Value) -> None:
        if self.unit.intents:
            code.clear(code.at(state, self.unit.state.intents), self.unit.state.size - self.unit.state.intents)

    def _reset_metadata(self, code: Code, state: Value) -> None:
        layout = self.unit.state
        code.clear(code.at(state, layout.metadata), layout.size - layout.metadata)

    def _preserve(self, code: Code, source: Value, target: Value, number: Value) -> None:
        """Copy the user metadata fields of a field list, whose number is known only at run time."""
        kind = self.unit.program.metadata
        metadata = self.unit.state.metadata
        for path, field_type, numbers in preserved_fields(kind):
            wanted = code.constant(1, 0)
            for each in sorted(numbers):
                wanted = code.b.or_(wanted, code.b.icmp_unsigned("==", number, code.i32(each)))
            places = []
            for base in (source, target):
                places.append(code.member(Place(code.at(base, metadata), kind), *path))
            with code.when(wanted):
                code.copy(places[1].pointer, places[0].pointer, code.layout.size(field_type))

    def _for_replicas(self, code: Code, directory: str, number: Value, body: Callable[[Value, Value], None]) -> None:
        """Run `body(port, instance)` for every replica of a multicast group or clone session."""
        b = code.b
        starts, lists = code.slot_pointer(f"{directory}.starts"), code.slot_pointer(f"{directory}.lists")
        start = code.load(code.at(starts, b.shl(code.resize(number, 64), code.i64(2))), 32)
        record = code.at(lists, b.shl(code.resize(start, 64), code.i64(2)))
        count = code.load(record, 32)
        with code.when(b.icmp_unsigned("==", count, code.i32(0))):
            code.count("dropped.replicas")
        with code.loop(count) as index:
            where = code.at(record, b.add(b.shl(code.resize(index, 64), code.i64(3)), code.i64(8)))
            body(code.load(where, 32), code.load(code.at(where, 4), 32))

    # Egress

    def _egress_pass(self) -> ll.Function:
        """Build `egress_pass(context, state, packet, length, consumed, port, round)`."""
        unit, stages = self.unit, self.stages
        function = unit.function("egress_pass", ARGUMENTS, ll.VoidType())
        code = Code(unit, function)
        b = code.b
        context, state, packet, length, consumed, port, round_ = function.args
        if unit.names is not None:
            note(code, Event.EGRESS, port, self._get(code, state, "egress_rid", 64))
        self._set(code, state, "egress_port", port)
        self._set(code, state, "egress_spec", code.i32(0))
        self._set(code, state, "packet_length", code.load(code.at(state, unit.state.length), 32))
        if "clone" in unit.intents:
            code.store(code.i32(0), code.at(state, unit.state.intent("clone")))
        arguments = [context, state, packet, length, consumed]
        b.call(stages.egress, arguments)
        if "clone" in unit.intents:
            session = self._intent(code, state, "clone")
            with code.when(b.icmp_unsigned("!=", session, code.i32(0))):
                note(code, Event.CLONE, b.and_(session, code.i32(SESSION_MASK)))
                self._clone_egress(code, arguments, session, round_)
        dropped = b.icmp_unsigned("==", self._get(code, state, "egress_spec", 32), code.i32(DROP_PORT))
        with code.when(dropped):
            code.count("dropped.egress")
            note(code, Event.DROP, 1)
            b.ret_void()
        if stages.compute:
            b.call(stages.compute, arguments)
        total = b.call(self.emit, arguments)
        with code.when(b.icmp_unsigned("==", total, code.i32(-1))):
            b.ret_void()
        if "recirculate" in unit.intents:
            asked = self._intent(code, state, "recirculate")
            with code.when(b.icmp_unsigned("!=", asked, code.i32(0))):
                note(code, Event.RECIRCULATE)
                self._recirculate(code, state, total, asked, round_)
                b.ret_void()
        note(code, Event.SENT, port, total)
        b.call(self.send, [context, total, port])
        b.ret_void()
        return function

    def _clone_egress(self, code: Code, arguments: list[Value], session: Value, round_: Value) -> None:
        """Queue egress-to-egress clones for another egress: current headers, metadata reset except the field list."""
        context, state, packet, length, consumed = arguments
        assert self.queue is not None
        queue, manager = self.queue, self.manager

        def fill(copy: Value, instance: Value) -> None:
            code.copy(copy, state, self.unit.state.size)
            self._reset_metadata(code, copy)
            offset = self.unit.state.length
            code.store(code.load(code.at(state, offset), 32), code.at(copy, offset))
            self._preserve(code, state, copy, self._intent(code, state, "clone_list"))
            self._set(code, copy, "instance_type", code.i32(EGRESS_CLONE))
            self._set(code, copy, "egress_rid", instance)

        def queue_one(port: Value, instance: Value) -> None:
            with queue.push(code, round_) as copy:
                fill(copy, instance)
                queue.describe(code, copy, packet, length, consumed, port)

        fresh = None if manager is None else code.allocate(self.unit.state.size)

        def enqueue_one(port: Value, instance: Value) -> None:
            assert manager is not None
            exhausted = code.b.icmp_unsigned(">=", round_, code.i32(ROUNDS))
            with code.when(exhausted):
                code.count("dropped.rounds")
            with code.when(code.b.not_(exhausted)):
                fill(fresh, instance)
                following = code.b.add(round_, code.i32(1))
                code.b.call(manager.enqueue, [context, fresh, packet, length, consumed, port, following])

        body = queue_one if manager is None else enqueue_one
        self._for_replicas(code, "clones", code.b.and_(session, code.i32(SESSION_MASK)), body)

    def _recirculate(self, code: Code, state: Value, total: Value, asked: Value, round_: Value) -> None:
        """Queue the packet that was just deparsed as a new one. Its bytes remain after the end of the output."""
        assert self.queue is not None
        used = code.slot_value("out.used")
        start = code.at(code.load_pointer(code.slot("out.data")), used)
        code.set_slot("out.used", code.b.add(used, code.resize(total, 64)))
        self._again(code, state, start, total, asked, RECIRCULATED, round_)

    def _again(
        self, code: Code, state: Value, packet: Value, length: Value, asked: Value, instance: int, round_: Value
    ) -> None:
        """Queue a packet for another ingress with the fields of its field list. Its ingress_port is 0, as in BMv2."""
        assert self.queue is not None
        with self.queue.push(code, round_) as copy:
            code.clear(copy, self.unit.state.size)
            self._preserve(code, state, copy, code.b.sub(asked, code.i32(1)))
            self._set(code, copy, "instance_type", code.i32(instance))
            self.queue.describe(code, copy, packet, length, code.i32(0), code.i32(self.queue.INGRESS))

    # Ingress and traffic manager

    def _ingress_pass(self) -> ll.Function:
        """Build `ingress_pass(context, state, packet, length, round)`."""
        unit, stages = self.unit, self.stages
        function = unit.function("ingress_pass", [POINTER, POINTER, POINTER, I32, I32], ll.VoidType())
        code = Code(unit, function)
        b = code.b
        context, state, packet, length, round_ = function.args
        if unit.names is not None:
            instance = b.shl(self._get(code, state, "instance_type", 64), code.i64(32))
            arrival = b.or_(instance, code.resize(length, 64))
            note(code, Event.PACKET, self._get(code, state, "ingress_port", 32), arrival)
        self._set(code, state, "packet_length", length)
        consumed = b.call(stages.parse, [context, state, packet, length, code.i32(0)])
        code.store(length, code.at(state, unit.state.length))
        arguments = [context, state, packet, length, consumed]
        if stages.verify:
            code.set_slot("checksum_error", code.i64(0))
            b.call(stages.verify, arguments)
            self._set(code, state, "checksum_error", code.slot_value("checksum_error"))
        b.call(stages.ingress, arguments)
        if "clone" in unit.intents:
            session = self._intent(code, state, "clone")
            with code.when(b.icmp_unsigned("!=", session, code.i32(0))):
                note(code, Event.CLONE, b.and_(session, code.i32(SESSION_MASK)))
                self._clone_ingress(code, arguments, session, round_)
        if "resubmit" in unit.intents:
            asked = self._intent(code, state, "resubmit")
            with code.when(b.icmp_unsigned("!=", asked, code.i32(0))):
                note(code, Event.RESUBMIT)
                self._again(code, state, packet, length, asked, RESUBMITTED, round_)
                b.ret_void()
        group = self._get(code, state, "mcast_grp", 16)
        with code.when(b.icmp_unsigned("!=", group, code.constant(16, 0))):
            note(code, Event.MULTICAST, group)
            self._set(code, state, "instance_type", code.i32(REPLICATED))
            self._replicate(code, "groups", group, arguments, round_)
            b.ret_void()
        spec = self._get(code, state, "egress_spec", 32)
        with code.when(b.icmp_unsigned("==", spec, code.i32(DROP_PORT))):
            code.count("dropped.ingress")
            note(code, Event.DROP, 0)
            b.ret_void()
        self._set(code, state, "instance_type", code.i32(NORMAL))
        b.call(self.after_ingress, [*arguments, spec, round_])
        b.ret_void()
        return function

    def _replicate(self, code: Code, directory: str, number: Value, arguments: list[Value], round_: Value) -> None:
        """Pass a copy of the state to egress, or a queue, for each replica."""
        context, state, packet, length, consumed = arguments
        copy = code.allocate(self.unit.state.size)

        def one(port: Value, instance: Value) -> None:
            code.copy(copy, state, self.unit.state.size)
            self._set(code, copy, "egress_rid", instance)
            code.b.call(self.after_ingress, [context, copy, packet, length, consumed, port, round_])

        self._for_replicas(code, directory, number, one)

    def _clone_ingress(self, code: Code, arguments: list[Value], session: Value, round_: Value) -> None:
        """Run egress on ingress-to-egress clones: the packet as it arrived, metadata reset except the field list."""
        context, state, packet, length, _ = arguments
        fresh = code.allocate(self.unit.state.size)
        code.clear(fresh, self.unit.state.size)
        self._set(code, fresh, "ingress_port", self._get(code, state, "ingress_port", 32))
        consumed = code.b.call(self.stages.parse, [context, fresh, packet, length, code.i32(0)])
        self._reset_metadata(code, fresh)
        code.store(length, code.at(fresh, self.unit.state.length))
        self._preserve(code, state, fresh, self._intent(code, state, "clone_list"))
        self._set(code, fresh, "instance_type", code.i32(INGRESS_CLONE))
        number = code.b.and_(session, code.i32(SESSION_MASK))
        self._replicate(code, "clones", number, [context, fresh, packet, length, consumed], round_)

    # The batch

    def _process(self) -> None:
        """Build `process(context)`, the only function that is called from outside."""
        unit = self.unit
        function = ll.Function(unit.module, ll.FunctionType(ll.VoidType(), [POINTER]), "process")
        function.args[0].add_attribute("noalias")
        code = Code(unit, function)
        b = code.b
        state = code.allocate(unit.state.size)
        data, offsets = code.slot_pointer("in.data"), code.slot_pointer("in.offsets")
        lengths, ports = code.slot_pointer("in.lengths"), code.slot_pointer("in.ports")
        with code.loop(code.slot_value("in.count")) as index:
            word = b.shl(index, code.i64(2))
            packet = code.at(data, code.load(code.at(offsets, word), 32))
            length = code.load(code.at(lengths, word), 32)
            port = code.load(code.at(ports, b.shl(index, code.i64(1))), 16)
            code.set_slot("source", index)
            self._arrive(code, index)
            code.clear(state, unit.state.size)
            self._set(code, state, "ingress_port", port)
            self._set(code, state, "ingress_global_timestamp", code.slot_value("now"))
            b.call(self.ingress_pass, [code.context, state, packet, length, code.i32(0)])
            if self.advance is not None:
                self._again_now(code)
                b.call(self.advance, [code.context, code.slot_value("tm.clock")])
            elif self.queue:
                self.queue.drain(code, self.ingress_pass, self.egress_pass)
        if self.advance is not None:
            until = b.add(code.slot_value("in.now"), code.slot_value("in.latency"))
            b.call(self.advance, [code.context, until])
        b.ret_void()

    def _again_now(self, code: Code) -> None:
        """Emit the processing of the packets for another ingress, whose time is that of the traffic manager."""
        if self.queue is not None:
            self.queue.drain(code, self.ingress_pass, None)

    def _arrive(self, code: Code, index: Value) -> None:
        """Emit the clock's step to the arrival of a packet. It arrives at the batch's time if it has none of its own.

        With queues, a packet enters ingress when the one before has had time to (`in.spacing`), and is queued later by
        `in.latency`, but not before `in.floor`. Everything that leaves until then leaves first.
        """
        if not self.timed:
            return
        b = code.b
        times = code.load_pointer(code.slot("in.times"))
        known = b.icmp_unsigned("!=", b.ptrtoint(times, I64), code.i64(0))
        arrival = code.choose(
            known, lambda: code.load(code.at(times, b.shl(index, code.i64(3))), 64), lambda: code.slot_value("in.now")
        )
        if self.advance is not None:
            first = code.slot_value("tm.next")
            arrival = b.select(b.icmp_unsigned(">", arrival, first), arrival, first)
            code.set_slot("tm.next", b.add(arrival, code.slot_value("in.spacing")))
            entry, floor = b.add(arrival, code.slot_value("in.latency")), code.slot_value("in.floor")
            b.call(self.advance, [code.context, b.select(b.icmp_unsigned(">", entry, floor), entry, floor)])
            number = b.add(code.slot_value("source.base"), index)
            code.set_slot("source", number)
            code.set_slot("source.now", number)
            code.set_slot("arrived", arrival)
        code.set_slot("now", b.udiv(arrival, code.i64(1000)))
