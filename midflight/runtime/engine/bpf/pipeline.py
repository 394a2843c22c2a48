"""Emits the XDP program around a P4 program: from the kernel's packet to the parser, and from the deparser back.

The bytes that the parser may read, the window, are copied to the processor's block, where the same code as on the
embedded switch works on them. The payload stays where it is. The first packet that leaves by a port takes the place of
the arrived one and is redirected by the kernel. All others, such as the further copies of a multicast, and packets to
the controller, go to user space through a ring buffer, in whole.

Programs that need more of the packet than its headers, and those whose parser has no bound, copy all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

from llvmlite import ir as ll

from midflight.p4 import ir
from midflight.runtime.engine.apply import Tables
from midflight.runtime.engine.bpf.frame import Frame, each, reload
from midflight.runtime.engine.bpf.syscall import MOST_PROCESSORS
from midflight.runtime.engine.bpf.target import RECORD, ROOT, UNROLLED, Bpf, helper, words_of
from midflight.runtime.engine.bpf.window import most_read
from midflight.runtime.engine.builder import I8, I32, I64, POINTER, Builder, Value
from midflight.runtime.engine.code import Code, Unit
from midflight.runtime.engine.context import Slots
from midflight.runtime.engine.deparser import most_bytes
from midflight.runtime.engine.externs import lower_call
from midflight.runtime.engine.passes import Passes, set_standard
from midflight.runtime.engine.stages import STAGE_ARGUMENTS, Stages, build_stages

__all__ = ["COPIED", "EXCHANGE", "LARGEST", "MAIN", "PORTS", "SHORTEST", "TEST_INTERFACE", "Lowered", "lower_program"]

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

_ROOM, _ROOM_WHOLE = 1 << 16, 1 << 20
"""The bytes for the headers of the packets that leave while one packet is processed, and for whole packets."""

_SLACK, _PACKET = 4096 + 64, 4096 + 64
_MOST_COPIES = 1024
_DESCRIBED = ("start", "size", "headers", "consumed")
"""What is known of a packet that leaves, besides its port: where its headers begin in `out`, its bytes, the bytes of
headers, and the bytes of the arrived packet that they replace."""

INTERFACES = 1 << 16
"""The number of interfaces, by their index, whose port is known."""

TEST_INTERFACE = 1
"""The interface, by its index, that packets of test runs seem to come from: the loopback interface."""

EXCHANGE, COPIED = "exchange", 2
"""The name of the program that copies memory between packets, and what it returns."""

_DROP, _PASS = 1, 2
_TIME, _PROCESSOR, _REDIRECT_MAP, _ADJUST_HEAD = 5, 8, 51, 44
_SMALL = 256


_Put: TypeAlias = Callable[[Value, Value, int], None]


class _Local(Protocol):
    """Returns the address of a slot in the processor's block, which a new name gets."""

    def __call__(self, name: str, size: int = 8) -> Value: ...


@dataclass(frozen=True, slots=True)
class Lowered:
    """A program in LLVM: the module under construction, its layouts of tables, and the target with its slots."""

    unit: Unit
    tables: Tables
    target: Bpf


def lower_program(program: ir.Program, target: Bpf, slots: Slots | None = None) -> Lowered:
    """Return a checked program as an LLVM module with the XDP program `MAIN`.

    `slots` are those of the same program lowered before, to share its settings. Raises P4Error for a construct that the
    engine does not support.
    """
    tables = Tables()
    unit = Unit(program, lower_call, tables.apply, tables.contains, slots, target=target)
    stages = build_stages(unit)
    window = _window(unit)
    target.locals.offset("packet", _PACKET)
    emit, send = _build_emit(unit, target, stages, window), _build_send(unit, target, window)
    passes = Passes(unit, stages, emit, send, rounds=WAITING, options=False)
    passes.egress.attributes.add("alwaysinline")
    run = _build_run(unit, target, passes)
    _build_main(unit, target, run, _build_deliver(unit, target, window), window)
    if target.exclusive:
        _build_exchange(unit, target)
    for function in unit.module.functions:
        if not function.is_declaration:
            function.section = "xdp"
    return Lowered(unit, tables, target)


def _window(unit: Unit) -> int | None:
    """Return how many bytes of a packet are copied, or None for all of them."""
    if unit.reads_payload or unit.intents & {"recirculate", "truncate"}:
        return None
    most = most_read(unit.program.parser)
    return most if most is not None and most <= UNROLLED else None


def _build_emit(unit: Unit, target: Bpf, stages: Stages, window: int | None) -> ll.Function:
    """Build `length emit(context, state, packet, length, consumed)`, as `output.build_emit` without growing memory.

    With a window, only headers are written, over a copy of the window.
    """
    function = unit.function("emit", STAGE_ARGUMENTS, I32)
    function.args[0].name = "context"
    code = Code(unit, function)
    b = code.b
    context, state, packet, length, consumed = function.args
    payload = target.forget(code, b.sub(length, consumed))
    used = code.slot_value("out.used")
    copied = code.resize(payload, 64) if window is None else code.i64(window)
    end = b.add(b.add(used, copied), code.i64(most_bytes(unit.program.deparser)))
    with code.when(b.icmp_unsigned(">", end, code.i64(_room(window)))):
        code.count("dropped.memory")
        b.ret(code.i32(-1))
    out = code.at(target.local(code, "out", _room(window) + _SLACK), used)
    headers = b.call(stages.deparse, [context, state, out, length, consumed])
    if window is None:
        code.copy(code.at(out, headers), code.at(packet, consumed), payload)
    else:
        with code.when(b.icmp_unsigned("!=", headers, code.i32(window))):
            code.copy(code.at(out, headers), code.at(packet, headers), window)
    total = target.forget(code, b.add(headers, payload))
    if "truncate" in unit.intents:
        limit = code.load(code.at(state, unit.state.intent("truncate")), 32)
        cut = b.sub(limit, code.i32(1))
        asked = b.and_(b.icmp_unsigned("!=", limit, code.i32(0)), b.icmp_unsigned("<", cut, total))
        total = b.select(asked, cut, total)
    with code.when(b.icmp_unsigned(">", total, code.i32(LARGEST))):
        code.count("dropped.memory")
        b.ret(code.i32(-1))
    if window is not None:
        code.store(code.resize(headers, 64), target.local(code, "emitted.headers"))
        code.store(code.resize(consumed, 64), target.local(code, "emitted.consumed"))
    b.ret(total)
    return function


def _room(window: int | None) -> int:
    return _ROOM_WHOLE if window is None else _ROOM


def _build_send(unit: Unit, target: Bpf, window: int | None) -> ll.Function:
    """Build `send(context, length, port)`, which makes the bytes from `emit` the packet in place, or notes a copy."""
    function = unit.function("send", [POINTER, I32, I32], ll.VoidType())
    context, length, port = function.args
    context.name = "context"
    code = Code(unit, function)
    b = code.b
    used = code.slot_value("out.used")
    wide, total = code.resize(port, 64), code.resize(length, 64)
    if window is None:
        headers, consumed = total, code.load(target.local(code, "length"), 64)
    else:
        headers, consumed = (code.load(target.local(code, f"emitted.{each}"), 64) for each in ("headers", "consumed"))
    # A window's copy may be longer than the headers that replace it.
    code.set_slot("out.used", b.add(used, b.add(headers, code.i64(window or 0))))
    number = code.load(target.local(code, "copies"), 64)
    described = (b.add(wide, code.i64(1)), used, total, headers, consumed)
    free = b.icmp_unsigned("==", code.load(target.local(code, "place.port"), 64), code.i64(0))
    cpu = code.load(code.at(target.root(code), ROOT["cpu"]), 64)
    with code.when(b.and_(free, b.icmp_unsigned("!=", wide, cpu))):
        for name, value in zip(("port", *_DESCRIBED), described, strict=True):
            code.store(value, target.local(code, f"place.{name}"))
        code.store(number, target.local(code, "place.before"))
        code.count("sent")
        b.ret_void()
    with code.when(b.icmp_unsigned(">=", number, code.i64(_MOST_COPIES))):
        code.count("dropped.memory")
        b.ret_void()
    copy = _copy(code, target, number)
    for at, value in enumerate(described):
        code.store(value, code.at(copy, 8 * at))
    code.store(b.add(number, code.i64(1)), target.local(code, "copies"))
    b.ret_void()
    return function


def _copy(code: Builder, target: Bpf, number: Value) -> Value:
    size = 8 * (len(_DESCRIBED) + 1)
    return code.at(target.local(code, "copies.list", size * _MOST_COPIES), code.b.mul(number, code.i64(size)))


def _build_deliver(unit: Unit, target: Bpf, window: int | None) -> ll.Function:
    """Build `deliver(context, frame)`, which sends the noted copies of a packet to user space."""
    function = unit.function("deliver", [POINTER, POINTER], ll.VoidType(), inline=False)
    context, given = function.args
    context.name = "context"
    code = Builder(unit, function)
    b = code.b
    position = target.local(code, "position")
    frame = Frame(code, given, position)
    frame.open()
    out = target.local(code, "out", _room(window) + _SLACK)
    with code.loop(code.load(target.local(code, "copies"), 64)) as number:
        copy = _copy(code, target, number)
        port, start, total, headers, consumed = (
            code.load(code.at(copy, 8 * each), 64) for each in range(len(_DESCRIBED) + 1)
        )
        small = b.icmp_unsigned("<=", total, code.i64(_SMALL))
        for condition, size in ((small, _SMALL), (b.not_(small), 4096)):
            with code.when(condition), target.message(code, RECORD + size + 8, "dropped.memory") as memory:
                code.store(code.resize(port, 32), memory)
                code.store(code.resize(total, 32), code.at(memory, 4))
                put = partial(_put, code, code.at(memory, RECORD), size)
                source = code.at(out, start)
                each(code, position, headers, partial(_put_from, code, put, source))
                frame.walk(b.sub(total, headers), partial(_put_after, code, put, headers), start=consumed)
                code.count("sent")
    b.ret_void()
    return function


def _put(code: Builder, body: Value, size: int, source: Value, at: Value, width: int) -> None:
    """Copy an integer to position `at` in a message of at most `size` bytes, a power of two, and 8 more."""
    byte = code.at(body, code.b.and_(at, code.i64(size - 1)))
    code.store(code.load(source, width, alignment=1), byte, alignment=1)


def _put_from(code: Builder, put: _Put, source: Value, at: Value, width: int) -> None:
    put(code.at(source, at), at, width)


def _put_after(code: Builder, put: _Put, headers: Value, at: Value, byte: Value, width: int) -> None:
    put(byte, code.b.add(headers, at), width)


def _build_run(unit: Unit, target: Bpf, passes: Passes) -> ll.Function:
    """Build `run(context, length, port)`, which processes the packet in the processor's block, with all its copies."""
    function = unit.function("run", [POINTER, I32, I32], ll.VoidType())
    context, length, port = function.args
    context.name = "context"
    code = Code(unit, function)
    length, port = target.forget(code, length), target.forget(code, port)
    size = unit.state.size
    state = code.allocate(size) if target.direct else target.local(code, "state", size)
    packet = target.local(code, "packet", _PACKET)
    code.clear(state, size)
    set_standard(code, state, "ingress_port", port)
    if "ingress_global_timestamp" in unit.touched:  # reading the clock takes long
        set_standard(code, state, "ingress_global_timestamp", code.slot_value("now"))
    code.b.call(passes.ingress, [context, state, packet, length, code.i32(0)])
    if passes.queue is not None:
        passes.queue.drain(code, passes.ingress, passes.egress)
    code.b.ret_void()
    return function


def _build_main(unit: Unit, target: Bpf, run: ll.Function, deliver: ll.Function, window: int | None) -> None:
    """Build the XDP program, which the kernel calls with `struct xdp_md`."""
    function = ll.Function(unit.module, ll.FunctionType(I32, [POINTER]), MAIN)
    code = Builder(unit, function)
    b = code.b
    given = function.args[0]
    root = target.root(code)
    processor = b.and_(helper(code, _PROCESSOR, I32, []), code.i32(MOST_PROCESSORS - 1))
    offset = b.shl(code.resize(processor, 64), code.i64(3))
    block = target.pointer(code, code.at(code.at(root, ROOT["processors"]), offset), invariant=False)

    def local(name: str, size: int = 8) -> Value:
        return code.at(block, target.locals.offset(name, size))

    frame = Frame(code, given, local("position"))
    raw = code.load(code.at(root, ROOT["settings"]), 64)
    code.store(raw, local("settings"))
    settings = target.cast(code, raw)
    interface = b.and_(code.load(code.at(given, 12), 32), code.i32(INTERFACES - 1))
    ports = target.pointer(code, code.at(settings, unit.slots.offset("interfaces")), invariant=False)
    port = code.load(code.at(ports, b.shl(code.resize(interface, 64), code.i64(1))), 16)
    code.store(frame.open(), local("length"))
    # The verifier follows each choice to the end of the program, unless no register holds any part of it.
    tested = b.icmp_unsigned("==", interface, code.i32(TEST_INTERFACE))
    code.store(code.resize(tested, 64), local("tested"))
    with code.when(tested, rarely=True):
        _shorten(code, root, local)
    length = reload(code, local("length"))
    with code.when(b.icmp_unsigned(">", length, code.i64(LARGEST)), rarely=True):
        _count(code, local("dropped.memory"))
        b.ret(code.i32(_DROP))
    _copy_in(code, frame, length, local("packet", _PACKET), window)
    for name in ("out.used", "place.port", "copies"):
        code.store(code.i64(0), local(name))
    _count(code, local("received"))
    if "now" in target.used:
        set_now = code.load(code.at(root, ROOT["now"]), 64)
        now = code.choose(
            b.and_(tested, b.icmp_unsigned("!=", set_now, code.i64(0))),
            lambda: set_now,
            lambda: b.udiv(helper(code, _TIME, I64, []), code.i64(1000)),
        )
        code.store(now, local("now"))
    arguments = [block, code.resize(length, 32), code.resize(port, 32)]
    if target.exclusive:
        with _locked(code, code.at(root, ROOT["lock"]), local("dropped.busy")):
            b.call(run, arguments)
    else:
        b.call(run, arguments)
    with code.when(b.icmp_unsigned("!=", code.load(local("copies"), 64), code.i64(0)), rarely=True):
        b.call(deliver, [block, given])
    leaving = code.load(local("place.port"), 64)
    with code.when(b.icmp_unsigned("==", leaving, code.i64(0))):
        b.ret(code.i32(_DROP))
    with code.when(b.icmp_unsigned("!=", reload(code, local("tested")), code.i64(0)), rarely=True):
        _report(code, frame, root, local, window)
    _copy_out(code, frame, given, local, window)
    with code.when(b.icmp_unsigned("!=", reload(code, local("tested")), code.i64(0)), rarely=True):
        b.ret(code.i32(_PASS))
    devices = ll.GlobalVariable(unit.module, I8, PORTS)
    devices.type = POINTER
    result = helper(code, _REDIRECT_MAP, I64, [devices, b.sub(leaving, code.i64(1)), code.i64(_DROP)])
    b.ret(code.resize(result, 32))


def _build_exchange(unit: Unit, target: Bpf) -> None:
    """Build the program `EXCHANGE`, which copies what the control plane asks for while no packet is processed."""
    function = ll.Function(unit.module, ll.FunctionType(I32, [POINTER]), EXCHANGE)
    code = Builder(unit, function)
    root = target.root(code)
    size = code.load(code.at(root, ROOT["copy.size"]), 64)
    to, source = (target.cast(code, code.load(code.at(root, ROOT[f"copy.{each}"]), 64)) for each in ("to", "from"))
    with _locked(code, code.at(root, ROOT["lock"]), code.at(root, ROOT["copy.late"])):
        code.copy(to, source, size)
    code.b.ret(code.i32(COPIED))


def _shorten(code: Builder, root: Value, local: _Local) -> None:
    """In a test run, give the packet the length that was asked for."""
    b = code.b
    asked = code.load(code.at(root, ROOT["length"]), 64)
    with code.when(b.icmp_unsigned("!=", asked, code.i64(0))):
        code.store(asked, local("length"))


def _copy_in(code: Builder, frame: Frame, length: Value, packet: Value, window: int | None) -> None:
    """Copy the window, or the whole packet, to `packet`."""
    b = code.b

    def one(at: Value, byte: Value, width: int) -> None:
        code.store(code.load(byte, width, alignment=1), code.at(packet, at), alignment=1)

    if window is None:
        frame.walk(length, one)
        return
    there, partly, done = code.block("there"), code.block("partly"), code.block("copied")
    b.cbranch(frame.has(window), there, partly).set_weights([1000, 1])
    b.position_at_end(there)
    for offset, width in words_of(window):
        code.store(code.load(frame.at(offset), width, alignment=1), code.at(packet, offset), alignment=1)
    code.go(done)
    b.position_at_end(partly)
    frame.walk(length, one)  # shorter than the window, except in a test run
    code.go(done)
    b.position_at_end(done)


def _report(code: Builder, frame: Frame, root: Value, local: _Local, window: int | None) -> None:
    """In a test run, say what leaves; end the run if the packet is too short for the kernel."""
    b = code.b
    leaving, start, size, headers, consumed, before = (
        code.load(local(f"place.{name}"), 64) for name in ("port", *_DESCRIBED, "before")
    )
    address = code.at(local("out", _room(window) + _SLACK), start)
    for name, value in (("port", leaving), ("before", before), ("start", b.ptrtoint(address, I64)), ("size", size)):
        code.store(value, code.at(root, ROOT[name]))
    asked = code.load(code.at(root, ROOT["length"]), 64)
    short = b.or_(b.icmp_unsigned("!=", asked, code.i64(0)), b.icmp_unsigned("<", size, code.i64(SHORTEST)))
    with code.when(short):
        after = code.at(address, headers)
        frame.open()
        frame.walk(
            b.sub(size, headers),
            lambda at, byte, width: code.store(code.load(byte, width, alignment=1), code.at(after, at), alignment=1),
            start=consumed,
        )
        b.ret(code.i32(_PASS))


def _copy_out(code: Builder, frame: Frame, given: Value, local: _Local, window: int | None) -> None:
    """Write the headers of the packet that leaves before its payload."""
    b = code.b
    out = code.at(local("out", _room(window) + _SLACK), code.load(local("place.start"), 64))
    headers, consumed = code.load(local("place.headers"), 64), code.load(local("place.consumed"), 64)
    change = b.sub(consumed, headers)
    written = code.block("written")
    if window is not None:
        frame.open()
        equal, within, other = code.block("equal"), code.block("within"), code.block("other")
        b.cbranch(b.icmp_unsigned("==", change, code.i64(0)), equal, other)
        b.position_at_end(equal)
        b.cbranch(frame.has(window), within, other)
        b.position_at_end(within)
        for offset, width in words_of(window):
            code.store(code.load(code.at(out, offset), width, alignment=1), frame.at(offset), alignment=1)
        code.go(written)
        b.position_at_end(other)
    with code.when(b.icmp_unsigned("!=", change, code.i64(0))):
        failed = helper(code, _ADJUST_HEAD, I64, [given, change])
        with code.when(b.icmp_unsigned("!=", code.resize(failed, 32), code.i32(0))):
            _count(code, local("dropped.memory"))
            b.ret(code.i32(_DROP))
    frame.open()
    frame.walk(
        headers, lambda at, byte, width: code.store(code.load(code.at(out, at), width, alignment=1), byte, alignment=1)
    )
    code.go(written)
    b.position_at_end(written)


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
