"""Emits the XDP program around a P4 program: from the kernel's packet to the parser, and from the deparser back.

A packet is copied to the processor's block, where the same code as on the embedded switch works on it. The first packet
that leaves by a port takes the place of the arrived one and is redirected by the kernel. All others, such as the
further copies of a multicast, and packets to the controller, go to user space through a ring buffer, in whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from llvmlite import ir as ll

from midflight.p4 import ir
from midflight.runtime.engine.apply import Tables
from midflight.runtime.engine.bpf.codegen import VOLATILE
from midflight.runtime.engine.bpf.linking import AGAIN_WITH
from midflight.runtime.engine.bpf.target import MOST_PROCESSORS, RECORD, ROOT, Bpf, helper
from midflight.runtime.engine.builder import I8, I32, I64, POINTER, Builder, Value
from midflight.runtime.engine.code import Code, Unit
from midflight.runtime.engine.deparser import most_bytes
from midflight.runtime.engine.externs import lower_call
from midflight.runtime.engine.passes import Passes, set_standard
from midflight.runtime.engine.stages import STAGE_ARGUMENTS, Stages, build_stages

__all__ = ["LARGEST", "MAIN", "PORTS", "SHORTEST", "TEST_INTERFACE", "Lowered", "lower_program"]

MAIN = "main"
"""The name of the XDP program."""

LARGEST = 3840
"""The largest packet in bytes, on arrival and on departure. The kernel keeps a packet in one page with other data."""

SHORTEST = 14
"""The shortest packet in bytes that the kernel has."""

PORTS = "ports"
"""The symbol of the map from ports to interfaces."""

WAITING = 16
"""The maximum number of packets that wait for another round on one processor."""

ROOM = 1 << 16
"""The bytes for the packets that leave, and those that go round again, while one packet is processed."""

INTERFACES = 1 << 16
"""The number of interfaces, by their index, whose port is known."""

TEST_INTERFACE = 1
"""The interface, by its index, that packets of test runs seem to come from: the loopback interface."""

_DROP, _PASS = 1, 2
_TIME, _PROCESSOR, _REDIRECT_MAP, _ADJUST_HEAD = 5, 8, 51, 44
_SMALL = 248


@dataclass(frozen=True, slots=True)
class Lowered:
    """A program in LLVM: the module under construction, its layouts of tables, and the target with its slots."""

    unit: Unit
    tables: Tables
    target: Bpf


def lower_program(program: ir.Program, *, exclusive: bool) -> Lowered:
    """Return a checked program as an LLVM module with the XDP program `MAIN`.

    `exclusive` lets one processor at a time run the program. Raises P4Error for a construct that the engine does not
    support.
    """
    target, tables = Bpf(), Tables()
    unit = Unit(program, lower_call, tables.apply, tables.contains, target=target)
    stages = build_stages(unit)
    emit, send = _build_emit(unit, target, stages), _build_send(unit, target)
    passes = Passes(unit, stages, emit, send, rounds=WAITING, options=False)
    passes.egress.attributes.add("alwaysinline")
    run = _build_run(unit, target, passes)
    _build_main(unit, target, run, exclusive=exclusive)
    for function in unit.module.functions:
        if not function.is_declaration:
            function.section = "xdp"
    return Lowered(unit, tables, target)


def _build_emit(unit: Unit, target: Bpf, stages: Stages) -> ll.Function:
    """Build `length emit(context, state, packet, length, consumed)`, as `output.build_emit` without growing memory."""
    function = unit.function("emit", STAGE_ARGUMENTS, I32)
    function.args[0].name = "context"
    code = Code(unit, function)
    b = code.b
    context, state, packet, length, consumed = function.args
    payload = target.forget(code, b.sub(length, consumed))
    used = code.slot_value("out.used")
    end = b.add(b.add(used, code.resize(payload, 64)), code.i64(most_bytes(unit.program.deparser)))
    with code.when(b.icmp_unsigned(">", end, code.i64(ROOM))):
        code.count("dropped.memory")
        b.ret(code.i32(-1))
    out = code.at(target.local(code, "out", ROOM + 64), used)
    headers = b.call(stages.deparse, [context, state, out, length, consumed])
    code.copy(code.at(out, headers), code.at(packet, consumed), payload)
    total = target.forget(code, b.add(headers, payload))
    if "truncate" in unit.intents:
        limit = code.load(code.at(state, unit.state.intent("truncate")), 32)
        cut = b.sub(limit, code.i32(1))
        asked = b.and_(b.icmp_unsigned("!=", limit, code.i32(0)), b.icmp_unsigned("<", cut, total))
        total = b.select(asked, cut, total)
    with code.when(b.icmp_unsigned(">", total, code.i32(LARGEST))):
        code.count("dropped.memory")
        b.ret(code.i32(-1))
    b.ret(total)
    return function


def _build_send(unit: Unit, target: Bpf) -> ll.Function:
    """Build `send(context, length, port)`, which makes the bytes from `emit` the packet in place, or a message."""
    function = unit.function("send", [POINTER, I32, I32], ll.VoidType())
    context, length, port = function.args
    context.name = "context"
    code = Code(unit, function)
    b = code.b
    used = code.slot_value("out.used")
    taken = target.local(code, "place.port")
    cpu = code.load(code.at(target.root(code), ROOT["cpu"]), 64)
    wide = code.resize(port, 64)
    free = b.icmp_unsigned("==", code.load(taken, 64), code.i64(0))
    in_place = b.and_(free, b.icmp_unsigned("!=", wide, cpu))
    with code.when(in_place):
        code.store(b.add(wide, code.i64(1)), taken)
        code.store(used, target.local(code, "place.start"))
        code.store(code.resize(length, 64), target.local(code, "place.length"))
        code.store(code.load(target.local(code, "messages"), 64), target.local(code, "place.before"))
        code.set_slot("out.used", b.add(used, code.resize(length, 64)))
        code.count("sent")
        b.ret_void()
    start = code.at(target.local(code, "out", ROOM + 64), used)
    small = b.icmp_unsigned("<=", length, code.i32(_SMALL))
    for condition, size in ((small, 256), (b.not_(small), 4096)):
        with code.when(condition), target.message(code, RECORD + size, "dropped.memory") as memory:
            code.store(b.add(port, code.i32(1)), memory)
            code.store(length, code.at(memory, 4))
            body = code.at(memory, RECORD)

            def put(at: Value, width: int, body: Value = body, size: int = size) -> None:
                inside = b.and_(at, code.i64(size - 8 if width == 64 else size - 1))
                code.store(code.load(code.at(start, at), width, alignment=1), code.at(body, inside), alignment=1)

            _each(code, target.local(code, "position"), code.resize(length, 64), put)
            messages = target.local(code, "messages")
            code.store(b.add(code.load(messages, 64), code.i64(1)), messages)
            code.count("sent")
    b.ret_void()
    return function


def _build_run(unit: Unit, target: Bpf, passes: Passes) -> ll.Function:
    """Build `run(context, length, port)`, which processes the packet in the processor's block, with all its copies."""
    function = unit.function("run", [POINTER, I32, I32], ll.VoidType())
    context, length, port = function.args
    context.name = "context"
    code = Code(unit, function)
    length, port = target.forget(code, length), target.forget(code, port)
    state = target.local(code, "state", unit.state.size)
    packet = target.local(code, "packet", 4096 + 64)
    code.clear(state, unit.state.size)
    set_standard(code, state, "ingress_port", port)
    if "ingress_global_timestamp" in unit.touched:  # reading the clock takes long
        set_standard(code, state, "ingress_global_timestamp", code.slot_value("now"))
    code.b.call(passes.ingress, [context, state, packet, length, code.i32(0)])
    if passes.queue is not None:
        passes.queue.drain(code, passes.ingress, passes.egress)
    code.b.ret_void()
    return function


def _build_main(unit: Unit, target: Bpf, run: ll.Function, *, exclusive: bool) -> None:
    """Build the XDP program, which the kernel calls with `struct xdp_md`."""
    function = ll.Function(unit.module, ll.FunctionType(I32, [POINTER]), MAIN)
    code = Builder(unit, function)
    b = code.b
    root = target.root(code)
    processor = b.and_(helper(code, _PROCESSOR, I32, []), code.i32(MOST_PROCESSORS - 1))
    offset = b.shl(code.resize(processor, 64), code.i64(3))
    block = target.pointer(code, code.at(code.at(root, ROOT["processors"]), offset), invariant=False)

    def local(name: str, size: int = 8) -> Value:
        return code.at(block, target.locals.offset(name, size))

    frame = _Frame(code, function.args[0], local("position"))
    raw = code.load(code.at(root, ROOT["settings"]), 64)
    code.store(raw, local("settings"))
    settings = target.cast(code, raw)
    interface = b.and_(code.load(code.at(function.args[0], 12), 32), code.i32(INTERFACES - 1))
    ports = target.pointer(code, code.at(settings, unit.slots.offset("interfaces")), invariant=False)
    port = code.load(code.at(ports, b.shl(code.resize(interface, 64), code.i64(1))), 16)
    length = frame.open()
    tested = b.icmp_unsigned("==", interface, code.i32(TEST_INTERFACE))
    given = code.load(code.at(root, ROOT["length"]), 64)
    shortened = b.and_(tested, b.icmp_unsigned("!=", given, code.i64(0)))
    # The verifier follows each choice to the end of the program, unless nothing of it is left in a register.
    for name, value in (("length", b.select(shortened, given, length)), ("tested", tested), ("shortened", shortened)):
        code.store(code.resize(value, 64), local(name))
    length = _reload(code, local("length"))
    with code.when(b.icmp_unsigned(">", length, code.i64(LARGEST))):
        _count(code, local("dropped.memory"))
        b.ret(code.i32(_DROP))
    packet = local("packet", 4096 + 64)
    frame.walk(
        length,
        lambda at, byte, width: code.store(code.load(byte, width, alignment=1), code.at(packet, at), alignment=1),
    )
    for name in ("out.used", "place.port", "messages"):
        code.store(code.i64(0), local(name))
    _count(code, local("received"))
    if "now" in target.used:
        given = code.load(code.at(root, ROOT["now"]), 64)
        now = code.choose(
            b.and_(tested, b.icmp_unsigned("!=", given, code.i64(0))),
            lambda: given,
            lambda: b.udiv(helper(code, _TIME, I64, []), code.i64(1000)),
        )
        code.store(now, local("now"))
    arguments = [block, code.resize(length, 32), code.resize(port, 32)]
    if exclusive:
        with _locked(code, code.at(root, ROOT["lock"]), local("dropped.busy")):
            b.call(run, arguments)
    else:
        b.call(run, arguments)
    tested = b.icmp_unsigned("!=", _reload(code, local("tested")), code.i64(0))
    shortened = b.icmp_unsigned("!=", _reload(code, local("shortened")), code.i64(0))
    leaving = code.load(local("place.port"), 64)
    start = code.at(local("out", ROOM + 64), code.load(local("place.start"), 64))
    size = code.load(local("place.length"), 64)
    with code.when(tested):
        before = code.load(local("place.before"), 64)
        for name, value in (("port", leaving), ("before", before), ("start", b.ptrtoint(start, I64)), ("size", size)):
            code.store(value, code.at(root, ROOT[name]))
    with code.when(b.icmp_unsigned("==", leaving, code.i64(0))):
        b.ret(code.i32(_DROP))
    short = b.and_(tested, b.icmp_unsigned("<", size, code.i64(SHORTEST)))
    with code.when(b.or_(shortened, short)):
        b.ret(code.i32(_PASS))
    change = b.sub(length, size)
    with code.when(b.icmp_unsigned("!=", change, code.i64(0))):
        failed = helper(code, _ADJUST_HEAD, I64, [function.args[0], change])
        with code.when(b.icmp_unsigned("!=", code.resize(failed, 32), code.i32(0))):
            _count(code, local("dropped.memory"))
            b.ret(code.i32(_DROP))
    frame.open()
    frame.walk(
        size, lambda at, byte, width: code.store(code.load(code.at(start, at), width, alignment=1), byte, alignment=1)
    )
    with code.when(tested):
        b.ret(code.i32(_PASS))
    devices = ll.GlobalVariable(unit.module, I8, PORTS)
    devices.type = POINTER
    result = helper(code, _REDIRECT_MAP, I64, [devices, b.sub(leaving, code.i64(1)), code.i64(_DROP)])
    b.ret(code.resize(result, 32))


def _reload(code: Builder, place: Value) -> Value:
    """Load an i64 that was stored in this function, of which the verifier then knows nothing."""
    return code.b.load(place, name=VOLATILE, typ=I64, align=8)


class _Frame:
    """The packet in the kernel's memory, which the verifier lets code access only after a comparison with its end."""

    def __init__(self, code: Builder, context: Value, position: Value) -> None:
        self._code = code
        self._context = context
        self._position = position

    def open(self) -> Value:
        """Load the packet's begin and end, and return its length (i64). Everything before is invalid afterwards."""
        code, b = self._code, self._code.b
        self._begin, self._end = (
            b.inttoptr(code.resize(code.load(code.at(self._context, offset), 32), 64), POINTER) for offset in (0, 4)
        )
        return b.sub(b.ptrtoint(self._end, I64), b.ptrtoint(self._begin, I64))

    def walk(self, length: Value, body: Callable[[Value, Value, int], None]) -> None:
        """Emit `body(position, address, width)` for the words of the packet's first `length` bytes, then for bytes."""
        code, b = self._code, self._code.b
        end = b.ptrtoint(self._end, I64)

        def one(at: Value, width: int) -> None:
            inside = b.and_(at, code.i64(0xFFF))
            byte = code.at(self._begin, inside)
            after = b.ptrtoint(code.at(byte, width // 8), I64)
            with code.when(b.icmp_unsigned("<=", after, end)):
                body(inside, byte, width)

        _each(code, self._position, length, one)


def _each(code: Builder, position: Value, length: Value, body: Callable[[Value, int], None]) -> None:
    """Emit `body(position, width)` for the 64-bit words within `length` bytes, and then for the bytes that remain.

    LLVM must not replace the position by an address that moves, whose bounds the verifier would not know; and the
    verifier must not know the position, or it would check each round by itself. So it is at the address `position` in
    the arena, which the permission for another round might change, as far as LLVM knows.
    """
    b = code.b
    code.store(code.i64(0), position)
    again = code.unit.module.globals.get(AGAIN_WITH)
    if again is None:
        again = ll.Function(code.unit.module, ll.FunctionType(I64, [POINTER]), AGAIN_WITH)
        again.attributes.add("nounwind")
    for width in (64, 8):
        head, inside, done = code.block("each"), code.block("one"), code.block("all")
        code.go(head)
        b.position_at_end(head)
        allowed = b.icmp_unsigned("!=", b.call(again, [position]), code.i64(0))
        at = code.load(position, 64)
        after = b.add(at, code.i64(width // 8))
        b.cbranch(b.and_(allowed, b.icmp_unsigned("<=", after, length)), inside, done)
        b.position_at_end(inside)
        body(at, width)
        code.store(after, position)
        code.go(head)
        b.position_at_end(done)


def _count(code: Builder, address: Value) -> None:
    code.store(code.b.add(code.load(address, 64), code.i64(1)), address)


@contextmanager
def _locked(code: Builder, lock: Value, busy: Value) -> Iterator[None]:
    """Emit what the body of the `with` emits while no other processor is in such a body; drop the packet if it takes
    too long, and count that.
    """
    b = code.b
    attempt, held, onward, late = (code.block(each) for each in ("lock", "held", "wait", "late"))
    code.go(attempt)
    b.position_at_end(attempt)
    outcome = b.cmpxchg(lock, code.i32(0), code.i32(1), "acq_rel", "monotonic")
    b.cbranch(b.extract_value(outcome, 1), held, onward)
    b.position_at_end(onward)
    code.repeat(attempt, late)
    b.position_at_end(late)
    _count(code, busy)
    b.ret(code.i32(_DROP))
    b.position_at_end(held)
    yield
    b.atomic_rmw("xchg", lock, code.i32(0), "acq_rel")
