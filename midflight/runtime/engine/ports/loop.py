"""The native loop: receive, process, send, from the first packet until it is told to stop.

It sleeps in poll() when nothing has arrived. A batch is one port's, and takes its turn at the gate, so that whatever
the control plane changes is there for a batch as a whole or not at all.
"""

from __future__ import annotations

from llvmlite import ir as ll

from midflight.runtime.engine.builder import I32, I64, POINTER
from midflight.runtime.engine.ports import linux
from midflight.runtime.engine.ports.capture import build_capture
from midflight.runtime.engine.ports.native import NativeBuilder, NativeModule
from midflight.runtime.engine.ports.records import Port
from midflight.runtime.engine.ports.ring import build_receive, build_release
from midflight.runtime.engine.ports.send import build_dispatch, build_hand_over
from midflight.runtime.engine.ports.turns import build_turns

__all__ = ["BORROWED", "FILLED", "build_loop"]

FILLED = ("out.data", "out.offsets", "out.lengths", "out.ports", "out.sources", "out.capacity", "out.packets")
BORROWED = ("in.data", "in.offsets", "in.lengths", "in.ports", "in.count", "now", "received", "digests.used")
"""The engine's slots that a batch sets or reads. `at.<name>` in our context is where the engine has each of them."""


def build_loop() -> NativeModule:
    """Build the module: `run(context)`, `turn_enter(context)`, `turn_leave(context)`, `no_more(bytes)` for the engine.

    The slots it asks for are what the context must hold.
    """
    unit = NativeModule("ports")
    enter, leave = build_turns(unit)
    capture, save = build_capture(unit)
    step = _step(unit, enter, leave, capture)
    keep = _keep(unit, save)
    rest = _rest(unit, keep)
    no_more = ll.Function(unit.module, ll.FunctionType(I32, [I64]), "no_more")
    ll.IRBuilder(no_more.append_basic_block()).ret(ll.Constant(I32, 0))
    _run(unit, step, rest, keep)
    return unit


def _step(unit: NativeModule, enter: ll.Function, leave: ll.Function, capture: ll.Function) -> ll.Function:
    """Build `frames step(context, port)`: one batch of a port from its arrival to its departure."""
    receive, release = build_receive(unit, capture), build_release(unit)
    hand_over, dispatch = build_hand_over(unit), build_dispatch(unit, capture)
    code = unit.routine("step", [POINTER], I64)
    b = code.b
    port = code.function.args[1]
    frames = code.call(receive, [port])
    with code.when(b.icmp_unsigned("==", frames, code.i64(0))):
        b.ret(frames)
    count = code.slot_value("in.count")
    with code.when(b.icmp_unsigned("!=", count, code.i64(0))):
        code.call(enter, [])
        process = code.slot_value("process")
        ready = b.icmp_unsigned("!=", process, code.i64(0))
        code.set_slot("out.count", code.i64(0))
        with code.when(b.not_(ready)):
            code.set_slot("unprogrammed", b.add(code.slot_value("unprogrammed"), count))
        told = code.allocate(8)
        code.store(code.i64(0), told)
        with code.when(ready):
            engine = code.load_pointer(code.slot("engine"))
            _lend(code, engine, port, count)
            pointer = code.load_pointer(code.slot("process"))
            code.call_through(pointer, ll.FunctionType(ll.VoidType(), [POINTER]), [engine])
            code.set_slot("out.count", code.field(_at(code, engine, "out.count"), 0))
            code.call(hand_over, [])
            digests = code.field(_at(code, engine, "digests.used"), 0)
            code.store(b.or_(digests, code.slot_value("cpu.used")), told)
        code.call(leave, [])
        time = code.allocate(16)
        code.libc("clock_gettime", [code.i32(linux.CLOCK_REALTIME), time])
        times = [code.load(code.at(time, each), 32) for each in (0, 8)]
        code.call(dispatch, times)
        with code.when(b.icmp_unsigned("!=", code.load(told, 64), code.i64(0))):
            code.notify()
    code.call(release, [port, frames])
    b.ret(frames)
    return code.function


def _at(code: NativeBuilder, engine: ll.Value, name: str) -> ll.Value:
    return code.at(engine, code.slot_value(f"at.{name}"))


def _lend(code: NativeBuilder, engine: ll.Value, port: ll.Value, count: ll.Value) -> None:
    """Put a batch and the room for its output into the engine's context."""
    b = code.b
    for name in ("in.offsets", "in.lengths", "in.ports", "in.count", *FILLED, "out.grow"):
        code.set_field(_at(code, engine, name), 0, code.slot_value(name))
    code.set_field(_at(code, engine, "in.data"), 0, code.field(port, Port.RING))
    for name in ("out.used", "out.count"):
        code.set_field(_at(code, engine, name), 0, code.i64(0))
    time = code.allocate(16)
    code.libc("clock_gettime", [code.i32(linux.CLOCK_MONOTONIC), time])
    microseconds = b.add(b.mul(code.field(time, 0), code.i64(1_000_000)), b.udiv(code.field(time, 8), code.i64(1000)))
    code.set_field(_at(code, engine, "now"), 0, b.sub(microseconds, code.slot_value("epoch")))
    received = _at(code, engine, "received")
    code.set_field(received, 0, b.add(code.field(received, 0), count))


def _keep(unit: NativeModule, save: ll.Function) -> ll.Function:
    """Build `keep(context)`: brings every capture to its file."""
    code = unit.routine("keep", [])
    records = code.load_pointer(code.slot("ports"))
    with code.loop(code.slot_value("port.count")) as number:
        for each in (Port.INWARD, Port.OUTWARD):
            code.call(save, [code.at(code.index(records, number, Port.SIZE), each)])
    code.b.ret_void()
    return code.function


def _rest(unit: NativeModule, keep: ll.Function) -> ll.Function:
    """Build `rest(context)`: brings captures to their files and sleeps until something arrives."""
    code = unit.routine("rest", [])
    b = code.b
    records, polls = code.load_pointer(code.slot("ports")), code.load_pointer(code.slot("polls"))
    count = code.slot_value("port.count")
    code.call(keep, [])
    code.libc("poll", [polls, b.add(count, code.i64(1)), code.i32(-1)])
    scratch = code.allocate(8)
    with code.loop(count) as number:
        found = code.load(code.at(code.index(polls, number, linux.POLLFD), linux.POLLFD_RETURNED), 16)
        with code.when(b.icmp_unsigned("!=", b.and_(found, code.constant(16, linux.POLLERR)), code.constant(16, 0))):
            port = code.index(records, number, Port.SIZE)
            # Asking for the error clears it: the socket hears of its interface again when that comes back.
            code.store(code.i32(4), code.at(scratch, 4))
            socket = code.resize(code.field(port, Port.SOCKET), 32)
            arguments = [code.i32(linux.SOL_SOCKET), code.i32(linux.SO_ERROR), scratch, code.at(scratch, 4)]
            code.libc("getsockopt", [socket, *arguments])
            code.add_field(port, Port.FAULTS)
            code.notify()
    awake = code.load(code.at(code.index(polls, count, linux.POLLFD), linux.POLLFD_RETURNED), 16)
    with code.when(b.icmp_unsigned("!=", awake, code.constant(16, 0))):
        code.libc("read", [code.resize(code.slot_value("wake"), 32), scratch, code.i64(8)])
    b.ret_void()
    return code.function


def _run(unit: NativeModule, step: ll.Function, rest: ll.Function, keep: ll.Function) -> None:
    """Build `run(context)`: returns when `stop` is set and nothing that has arrived is left."""
    code = unit.routine("run", [], exported=True)
    b = code.b
    records = code.load_pointer(code.slot("ports"))
    frames_at = code.allocate(8)
    lap, idle, sleep, done = (code.block(each) for each in ("lap", "idle", "sleep", "done"))
    b.branch(lap)
    b.position_at_end(lap)
    stop = code.load_atomic(code.slot("stop"), 64)
    code.store(code.i64(0), frames_at)
    with code.loop(code.slot_value("port.count")) as number:
        frames = code.call(step, [code.index(records, number, Port.SIZE)])
        code.store(b.add(code.load(frames_at, 64), frames), frames_at)
    b.cbranch(b.icmp_unsigned("==", code.load(frames_at, 64), code.i64(0)), idle, lap)
    b.position_at_end(idle)
    b.cbranch(b.icmp_unsigned("==", stop, code.i64(0)), sleep, done)
    b.position_at_end(sleep)
    code.call(rest, [])
    b.branch(lap)
    b.position_at_end(done)
    code.call(keep, [])
    b.ret_void()
