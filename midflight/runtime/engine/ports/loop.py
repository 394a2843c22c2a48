"""Emits the native loop, which receives, processes and sends packets until it is stopped.

It sleeps in ppoll() when nothing has arrived, until a packet leaves its queue between ingress and egress. A batch
contains packets of one port and takes its turn at the gate, so a change by the control plane applies to a batch
completely or not at all. One thread runs the program, packet after packet, because each packet may change the registers
for the next. Other threads may do the sending.
"""

from __future__ import annotations

from llvmlite import ir as ll

from midflight.runtime.engine.builder import I32, I64, POINTER
from midflight.runtime.engine.ports import linux
from midflight.runtime.engine.ports.capture import build_capture
from midflight.runtime.engine.ports.datagrams import build_fill
from midflight.runtime.engine.ports.handover import build_end, build_give, build_sender, build_take
from midflight.runtime.engine.ports.native import NativeBuilder, NativeModule
from midflight.runtime.engine.ports.records import Output, Port
from midflight.runtime.engine.ports.ring import build_receive, build_release
from midflight.runtime.engine.ports.send import build_dispatch, build_hand_over
from midflight.runtime.engine.ports.turns import build_turns
from midflight.runtime.engine.trafficmanager import NEVER

__all__ = ["BORROWED", "build_loop"]

INPUT = ("in.offsets", "in.lengths", "in.ports", "in.times", "in.count")
ROOM = ("out.capacity", "out.packets", "out.grow")
OUTPUT = {
    "out.data": Output.DATA,
    "out.offsets": Output.OFFSETS,
    "out.lengths": Output.LENGTHS,
    "out.ports": Output.PORTS,
    "out.sources": Output.SOURCES,
}
BORROWED = (
    *INPUT, *ROOM, *OUTPUT, "in.data", "in.now", "in.floor", "out.used", "out.count", "out.times", "now", "received",
    "source.base", "tm.due", "digests.used", "trace.used",
)  # fmt: skip
"""The engine's slots that a batch sets or reads.

`at.<name>` in this module's context is their offset in the engine's.
"""


def build_loop() -> NativeModule:
    """Return a module with the functions `run`, `send` (for other threads), `turn_enter` and `turn_leave`.

    They take the context. The module also has `no_more(bytes)`, which the engine calls for more room and which refuses
    it. The slots that the module uses must be in the context.
    """
    unit = NativeModule("ports")
    enter, leave = build_turns(unit)
    capture, save = build_capture(unit)
    dispatch = build_dispatch(unit, capture)
    take, give = build_take(unit), build_give(unit, dispatch)
    work = _work(unit, enter, leave)
    step = _step(unit, work, build_receive(unit, capture), (take, give))
    tick = _tick(unit, work, (take, give))
    keep = _keep(unit, save)
    build_sender(unit, dispatch, save)
    no_more = ll.Function(unit.module, ll.FunctionType(I32, [I64]), "no_more")
    ll.IRBuilder(no_more.append_basic_block()).ret(ll.Constant(I32, 0))
    _run(unit, (step, tick), _rest(unit, keep), (keep, build_end(unit, take)))
    return unit


def _step(
    unit: NativeModule, work: ll.Function, receive: ll.Function, outputs: tuple[ll.Function, ll.Function]
) -> ll.Function:
    """Build `frames step(context, port)`: processes one batch of a port, from receiving to sending."""
    take, give = outputs
    release, fill = build_release(unit), build_fill(unit)
    code = unit.routine("step", [POINTER], I64)
    b = code.b
    port = code.function.args[1]
    code.call(fill, [port])
    frames = code.call(receive, [port])
    with code.when(b.icmp_unsigned("==", frames, code.i64(0))):
        b.ret(frames)
    some = b.icmp_unsigned("!=", code.slot_value("in.count"), code.i64(0))
    with code.when(some):
        output = code.call(take, [])
        notable = code.call(work, [port, output])
        _set_time(code, output)
        code.call(release, [port, frames])
        code.call(give, [output])
        with code.when(b.icmp_unsigned("!=", notable, code.i64(0))):
            code.notify()
    with code.when(b.not_(some)):
        code.call(release, [port, frames])
    b.ret(frames)
    return code.function


def _set_time(code: NativeBuilder, output: ll.Value) -> None:
    time = code.allocate(16)
    code.libc("clock_gettime", [code.i32(linux.CLOCK_REALTIME), time])
    for at, field in ((0, Output.SECONDS), (8, Output.NANOSECONDS)):
        code.set_field(output, field, code.field(time, at))


def _tick(unit: NativeModule, work: ll.Function, outputs: tuple[ll.Function, ll.Function]) -> ll.Function:
    """Build `ticked tick(context)`: if a packet may leave its queue now, processes an empty batch and returns 1."""
    take, give = outputs
    code = unit.routine("tick", [], I64)
    b = code.b
    with code.when(b.icmp_unsigned("==", _remaining(code), code.i64(0))):
        code.set_slot("in.count", code.i64(0))
        output = code.call(take, [])
        notable = code.call(work, [code.load_pointer(code.slot("ports")), output])
        _set_time(code, output)
        code.call(give, [output])
        with code.when(b.icmp_unsigned("!=", notable, code.i64(0))):
            code.notify()
        b.ret(code.i64(1))
    b.ret(code.i64(0))
    return code.function


def _remaining(code: NativeBuilder) -> ll.Value:
    """Return the nanoseconds until a packet leaves its queue, or NEVER. The slot `due` has its time."""
    b = code.b
    due = code.load_atomic(code.slot("due"), 64)

    def wait() -> ll.Value:
        now = _now(code)
        return b.select(b.icmp_unsigned(">", due, now), b.sub(due, now), code.i64(0))

    return code.choose(b.icmp_unsigned("==", due, code.i64(NEVER)), lambda: code.i64(NEVER), wait)


def _now(code: NativeBuilder) -> ll.Value:
    """Return the program's time in nanoseconds."""
    return code.b.sub(code.clock(linux.CLOCK_MONOTONIC), code.slot_value("epoch"))


def _work(unit: NativeModule, enter: ll.Function, leave: ll.Function) -> ll.Function:
    """Build `notable work(context, port, output)`: runs the program.

    Returns 0 if the control plane need not be notified.
    """
    hand_over = build_hand_over(unit)
    code = unit.routine("work", [POINTER, POINTER], I64)
    b = code.b
    _, port, output = code.function.args
    count = code.slot_value("in.count")
    notable = code.allocate(8)
    code.store(code.i64(0), notable)
    code.set_field(output, Output.COUNT, code.i64(0))
    code.call(enter, [])
    ready = b.icmp_unsigned("!=", code.slot_value("process"), code.i64(0))
    with code.when(b.not_(ready)):
        code.set_slot("unprogrammed", b.add(code.slot_value("unprogrammed"), count))
        code.exchange(code.slot("due"), code.i64(NEVER))
    with code.when(ready):
        engine = code.load_pointer(code.slot("engine"))
        _set_batch(code, engine, port, output)
        process = code.load_pointer(code.slot("process"))
        code.call_through(process, ll.FunctionType(ll.VoidType(), [POINTER]), [engine])
        code.set_field(output, Output.COUNT, code.field(_at(code, engine, "out.count"), 0))
        code.exchange(code.slot("due"), code.field(_at(code, engine, "tm.due"), 0))
        code.call(hand_over, [output])
        digests = code.field(_at(code, engine, "digests.used"), 0)
        notes = code.field(_at(code, engine, "trace.used"), 0)
        code.store(b.or_(b.or_(digests, notes), code.slot_value("cpu.used")), notable)
    code.call(leave, [])
    b.ret(code.load(notable, 64))
    return code.function


def _at(code: NativeBuilder, engine: ll.Value, name: str) -> ll.Value:
    return code.at(engine, code.slot_value(f"at.{name}"))


def _set_batch(code: NativeBuilder, engine: ll.Value, port: ll.Value, output: ll.Value) -> None:
    """Put a batch and the buffers for its output into the engine's context."""
    b = code.b
    for name in (*INPUT, *ROOM):
        code.set_field(_at(code, engine, name), 0, code.slot_value(name))
    for name, field in OUTPUT.items():
        code.set_field(_at(code, engine, name), 0, code.field(output, field))
    code.set_field(_at(code, engine, "in.data"), 0, code.field(port, Port.RING))
    for name in ("out.used", "out.count", "out.times"):
        code.set_field(_at(code, engine, name), 0, code.i64(0))
    now = _set_times(code)
    for name in ("in.now", "in.floor"):
        code.set_field(_at(code, engine, name), 0, now)
    code.set_field(_at(code, engine, "now"), 0, b.udiv(now, code.i64(1000)))
    received = _at(code, engine, "received")
    code.set_field(_at(code, engine, "source.base"), 0, code.field(received, 0))
    code.set_field(received, 0, b.add(code.field(received, 0), code.slot_value("in.count")))


def _set_times(code: NativeBuilder) -> ll.Value:
    """Convert the kernel's times of the packets of a batch to the program's, if it uses them. Returns its time now.

    They are those of the real-time clock, which may be set at any moment. No packet arrives before 0 or after now.
    """
    b = code.b
    now = _now(code)
    with code.when(b.icmp_unsigned("!=", code.slot_value("timed"), code.i64(0))):
        clock = code.clock(linux.CLOCK_REALTIME)
        times = code.load_pointer(code.slot("in.times"))
        with code.loop(code.slot_value("in.count")) as number:
            place = code.index(times, number, 8)
            age = b.sub(clock, code.load(place, 64))
            young = b.icmp_signed("<", age, code.i64(0))
            old = b.icmp_signed(">", age, b.select(b.icmp_signed("<", now, code.i64(0)), age, now))
            time = b.select(young, now, b.select(old, code.i64(0), b.sub(now, age)))
            code.store(time, place)
    return now


def _keep(unit: NativeModule, save: ll.Function) -> ll.Function:
    """Build `keep(context)`: writes the captures that belong to this thread to their files."""
    code = unit.routine("keep", [])
    records = code.load_pointer(code.slot("ports"))
    alone = code.b.icmp_unsigned("==", code.slot_value("senders"), code.i64(0))
    with code.loop(code.slot_value("port.count")) as number:
        port = code.index(records, number, Port.SIZE)
        code.call(save, [code.at(port, Port.INWARD)])
        with code.when(alone):
            code.call(save, [code.at(port, Port.OUTWARD)])
    code.b.ret_void()
    return code.function


def _rest(unit: NativeModule, keep: ll.Function) -> ll.Function:
    """Build `rest(context)`: writes captures to their files and sleeps until something arrives or leaves a queue."""
    code = unit.routine("rest", [])
    b = code.b
    records, polls = code.load_pointer(code.slot("ports")), code.load_pointer(code.slot("polls"))
    count = code.slot_value("port.count")
    code.call(keep, [])
    remaining = _remaining(code)
    limit, none = code.allocate(16), ll.Constant(POINTER, None)
    code.store(b.udiv(remaining, code.i64(1_000_000_000)), limit)
    code.store(b.urem(remaining, code.i64(1_000_000_000)), code.at(limit, 8))
    endless = b.icmp_unsigned("==", remaining, code.i64(NEVER))
    code.libc("ppoll", [polls, b.add(count, code.i64(1)), b.select(endless, none, limit), none])
    scratch = code.allocate(8)
    with code.loop(count) as number:
        found = code.load(code.at(code.index(polls, number, linux.POLLFD), linux.POLLFD_RETURNED), 16)
        with code.when(b.icmp_unsigned("!=", b.and_(found, code.constant(16, linux.POLLERR)), code.constant(16, 0))):
            port = code.index(records, number, Port.SIZE)
            # Reading the error clears it, so that the socket receives again when its interface is back.
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


def _run(
    unit: NativeModule,
    parts: tuple[ll.Function, ll.Function],
    rest: ll.Function,
    last: tuple[ll.Function, ll.Function],
) -> None:
    """Build `run(context)`: returns when `stop` is set and all received packets are processed."""
    step, tick = parts
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
    frames = b.add(code.load(frames_at, 64), code.call(tick, []))
    b.cbranch(b.icmp_unsigned("==", frames, code.i64(0)), idle, lap)
    b.position_at_end(idle)
    b.cbranch(b.icmp_unsigned("==", stop, code.i64(0)), sleep, done)
    b.position_at_end(sleep)
    code.call(rest, [])
    b.branch(lap)
    b.position_at_end(done)
    for each in last:
        code.call(each, [])
    b.ret_void()
