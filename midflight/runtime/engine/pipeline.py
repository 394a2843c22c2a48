"""Emits the v1model switch around a program: ingress, traffic manager, egress, and the loop over a batch.

The actions after ingress and egress, and their order, are those of simple_switch's documentation. A packet is processed
completely, with all of its copies, before the next one. Packets for another round wait in a queue of bounded length,
and their number of rounds is bounded as well, so a batch always ends.

Without queues, ingress calls egress. With queues, ingress adds packets to a queue of their port, from which the traffic
manager runs egress when their time has come: see `trafficmanager.py`. A program that reads what only queues determine
(`QUEUE_FIELDS`) always gets queues; other programs get them when someone configures a queue.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir as ll

from midflight.p4 import ir
from midflight.runtime.engine.apply import Tables
from midflight.runtime.engine.code import I64, POINTER, Code, Unit, Value
from midflight.runtime.engine.context import Slots
from midflight.runtime.engine.externs import lower_call
from midflight.runtime.engine.output import build_emit, build_send
from midflight.runtime.engine.passes import Passes, set_standard
from midflight.runtime.engine.stages import Stages, build_stages
from midflight.runtime.engine.trafficmanager import TrafficManager

__all__ = ["QUEUE_FIELDS", "Lowered", "lower_program"]

QUEUE_FIELDS = frozenset(
    ["enq_timestamp", "enq_qdepth", "deq_timedelta", "deq_qdepth", "egress_global_timestamp", "priority", "qid"]
)
"""The fields of the standard metadata that ask for queues."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """A program in LLVM: the module under construction, the table layouts, and the name of its entry function.

    `timed` is whether its code uses the arrival times of packets, and not only the time of the batch.
    `queued` is whether the program has queues between ingress and egress. It then also has the functions `settle` and
    `discard` of the traffic manager.
    """

    unit: Unit
    tables: Tables
    entry: str
    queued: bool
    timed: bool


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
    batch = _Batch(unit, stages, queued=queued)
    batch.build()
    return Lowered(unit, tables, "process", queued, batch.timed)


class _Batch:
    """Builds the loop over a batch of packets, and what the traffic manager needs."""

    def __init__(self, unit: Unit, stages: Stages, *, queued: bool) -> None:
        self.unit = unit
        emit, send = build_emit(unit, stages), build_send(unit, timed=queued)
        self.manager = TrafficManager(unit) if queued else None
        self.passes = Passes(unit, stages, emit, send, self.manager)
        self.timed = queued or "ingress_global_timestamp" in unit.touched

    def build(self) -> None:
        """Build all functions, callees first."""
        self.advance: ll.Function | None = None
        if self.manager is not None:
            self.advance = self.manager.build_advance(self.passes.egress, self._again_now)
            self.manager.build_settle()
            self.manager.build_discard()
        self._process()

    def _process(self) -> None:
        """Build `process(context)`, the only function that is called from outside."""
        unit = self.unit
        function = ll.Function(unit.module, ll.FunctionType(ll.VoidType(), [POINTER]), "process")
        function.args[0].add_attribute("noalias")
        code = Code(unit, function)
        b = code.b
        state = code.allocate(unit.state.size, 64)
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
            set_standard(code, state, "ingress_port", port)
            set_standard(code, state, "ingress_global_timestamp", code.slot_value("now"))
            b.call(self.passes.ingress, [code.context, state, packet, length, code.i32(0)])
            if self.advance is not None:
                self._again_now(code)
                b.call(self.advance, [code.context, code.slot_value("tm.clock")])
            elif self.passes.queue:
                self.passes.queue.drain(code, self.passes.ingress, self.passes.egress)
        if self.advance is not None:
            until = b.add(code.slot_value("in.now"), code.slot_value("in.latency"))
            b.call(self.advance, [code.context, until])
        b.ret_void()

    def _again_now(self, code: Code) -> None:
        """Emit the processing of the packets for another ingress, whose time is that of the traffic manager."""
        if self.passes.queue is not None:
            self.passes.queue.drain(code, self.passes.ingress, None)

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
