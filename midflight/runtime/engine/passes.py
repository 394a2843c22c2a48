"""Emits what happens to one packet around a program's controls: ingress, replication, egress, and further rounds.

The actions after ingress and egress, and their order, are those of simple_switch's documentation.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir as ll

from midflight.runtime.engine.code import I32, POINTER, Code, Place, Unit, Value
from midflight.runtime.engine.externs.traffic import DROP_PORT, SESSION_MASK
from midflight.runtime.engine.layout import scalar_width
from midflight.runtime.engine.noting import Event, note
from midflight.runtime.engine.packetstate import preserved_fields
from midflight.runtime.engine.queue import QUEUE_LENGTH, ROUNDS, Queue
from midflight.runtime.engine.stages import Stages, standard
from midflight.runtime.engine.trafficmanager import ARGUMENTS, TrafficManager

__all__ = ["DROPS", "NORMAL", "Passes", "set_standard"]

NORMAL, INGRESS_CLONE, EGRESS_CLONE, _, RECIRCULATED, REPLICATED, RESUBMITTED = range(7)
"""The values of instance_type, as in simple_switch."""

DROPS = ("ingress", "egress", "replicas", "memory", "queue", "rounds", "tail", "priority", "buffer", "waiting")
"""The reasons for which the engine drops packets; `engine.Stats` explains them."""


class Passes:
    """Builds the functions around the stages, callees first: `egress` and `ingress`.

    `emit` deparses a packet and `send` makes it an output. `queue` takes the packets for another round, if the program
    has any, of which `rounds` may wait, and `manager` has the queues between ingress and egress, if there are any.
    Without `options`, clone sessions give their copies neither a priority nor a length.
    """

    def __init__(
        self,
        unit: Unit,
        stages: Stages,
        emit: ll.Function,
        send: ll.Function,
        manager: TrafficManager | None = None,
        *,
        rounds: int = QUEUE_LENGTH,
        options: bool = True,
    ) -> None:
        self.unit = unit
        self.stages = stages
        self.emit = emit
        self.send = send
        self.manager = manager
        self.options = options
        again = unit.intents & {"resubmit", "recirculate", "clone"}
        self.queue = Queue(unit, rounds) if again else None
        self.egress = self._egress_pass()
        self.ingress = self._ingress_pass()

    @property
    def after_ingress(self) -> ll.Function:
        """What happens to a packet with an egress port after ingress: it enters egress, or a queue."""
        return self.egress if self.manager is None else self.manager.enqueue

    # Steps that several functions share

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

    def _set_options(self, code: Code, copy: Value, session: Value) -> None:
        """Set what a clone session gives its copies: their priority, and the length that leaves the switch."""
        if not self.options:
            return
        b = code.b
        starts, lists = code.slot_pointer("clones.starts"), code.slot_pointer("clones.lists")
        number = b.and_(session, code.i32(SESSION_MASK))
        start = code.load(code.at(starts, b.shl(code.resize(number, 64), code.i64(2))), 32)
        options = code.load(code.at(code.at(lists, b.shl(code.resize(start, 64), code.i64(2))), 4), 32)
        set_standard(code, copy, "priority", b.and_(options, code.i32(7)))
        code.store(b.lshr(options, code.i32(3)), code.at(copy, self.unit.state.intent("truncate")))

    # Egress

    def _egress_pass(self) -> ll.Function:
        """Build `egress_pass(context, state, packet, length, consumed, port, round)`."""
        unit, stages = self.unit, self.stages
        function = unit.function("egress_pass", ARGUMENTS, ll.VoidType())
        code = Code(unit, function)
        b = code.b
        context, state, packet, length, consumed, port, round_ = function.args
        context.name = "context"
        if unit.names is not None:
            note(code, Event.EGRESS, port, self._get(code, state, "egress_rid", 64))
        set_standard(code, state, "egress_port", port)
        set_standard(code, state, "egress_spec", code.i32(0))
        set_standard(code, state, "packet_length", code.load(code.at(state, unit.state.length), 32))
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
            set_standard(code, copy, "instance_type", code.i32(EGRESS_CLONE))
            self._set_options(code, copy, session)
            set_standard(code, copy, "egress_rid", instance)

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
            set_standard(code, copy, "instance_type", code.i32(instance))
            self.queue.describe(code, copy, packet, length, code.i32(0), code.i32(self.queue.INGRESS))

    # Ingress and traffic manager

    def _ingress_pass(self) -> ll.Function:
        """Build `ingress_pass(context, state, packet, length, round)`."""
        unit, stages = self.unit, self.stages
        function = unit.function("ingress_pass", [POINTER, POINTER, POINTER, I32, I32], ll.VoidType())
        code = Code(unit, function)
        b = code.b
        context, state, packet, length, round_ = function.args
        context.name = "context"
        if unit.names is not None:
            instance = b.shl(self._get(code, state, "instance_type", 64), code.i64(32))
            arrival = b.or_(instance, code.resize(length, 64))
            note(code, Event.PACKET, self._get(code, state, "ingress_port", 32), arrival)
            note(code, Event.TIME, 0, code.slot_value("now"))
        set_standard(code, state, "packet_length", length)
        consumed = b.call(stages.parse, [context, state, packet, length, code.i32(0)])
        code.store(length, code.at(state, unit.state.length))
        arguments = [context, state, packet, length, consumed]
        if stages.verify:
            code.set_slot("checksum_error", code.i64(0))
            b.call(stages.verify, arguments)
            set_standard(code, state, "checksum_error", code.slot_value("checksum_error"))
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
            set_standard(code, state, "instance_type", code.i32(REPLICATED))
            self._replicate(code, "groups", group, arguments, round_)
            b.ret_void()
        spec = self._get(code, state, "egress_spec", 32)
        with code.when(b.icmp_unsigned("==", spec, code.i32(DROP_PORT))):
            code.count("dropped.ingress")
            note(code, Event.DROP, 0)
            b.ret_void()
        set_standard(code, state, "instance_type", code.i32(NORMAL))
        b.call(self.after_ingress, [*arguments, spec, round_])
        b.ret_void()
        return function

    def _replicate(self, code: Code, directory: str, number: Value, arguments: list[Value], round_: Value) -> None:
        """Pass a copy of the state to egress, or a queue, for each replica."""
        context, state, packet, length, consumed = arguments
        copy = code.allocate(self.unit.state.size, 64)

        def one(port: Value, instance: Value) -> None:
            code.copy(copy, state, self.unit.state.size)
            set_standard(code, copy, "egress_rid", instance)
            code.b.call(self.after_ingress, [context, copy, packet, length, consumed, port, round_])

        self._for_replicas(code, directory, number, one)

    def _clone_ingress(self, code: Code, arguments: list[Value], session: Value, round_: Value) -> None:
        """Run egress on ingress-to-egress clones: the packet as it arrived, metadata reset except the field list."""
        context, state, packet, length, _ = arguments
        fresh = code.allocate(self.unit.state.size)
        code.clear(fresh, self.unit.state.size)
        set_standard(code, fresh, "ingress_port", self._get(code, state, "ingress_port", 32))
        consumed = code.b.call(self.stages.parse, [context, fresh, packet, length, code.i32(0)])
        self._reset_metadata(code, fresh)
        code.store(length, code.at(fresh, self.unit.state.length))
        self._preserve(code, state, fresh, self._intent(code, state, "clone_list"))
        set_standard(code, fresh, "instance_type", code.i32(INGRESS_CLONE))
        self._set_options(code, fresh, session)
        number = code.b.and_(session, code.i32(SESSION_MASK))
        self._replicate(code, "clones", number, [context, fresh, packet, length, consumed], round_)


def set_standard(code: Code, state: Value, name: str, number: Value) -> None:
    """Emit a store to a field of the standard metadata in the packet state at `state`, if the v1model has it."""
    if (target := standard(code, state, name)) is not None:
        code.write(code.resize(number, scalar_width(target.type)), target)
