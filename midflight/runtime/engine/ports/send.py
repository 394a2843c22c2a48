"""Emits the sending of packets in native code: the output of a batch goes to its ports and to the control plane.

The packets of a port are passed to the kernel together. If a port's queue is full or its interface is down, packets are
dropped: a switch does not wait for a port.
"""

from __future__ import annotations

from llvmlite import ir as ll

from midflight.runtime.engine.builder import I64, POINTER, Value
from midflight.runtime.engine.ports import linux
from midflight.runtime.engine.ports.native import NativeBuilder, NativeModule
from midflight.runtime.engine.ports.records import BATCH, CPU, NOWHERE, Output, Port

__all__ = ["CPU_HEAD", "build_dispatch", "build_hand_over"]

CPU_HEAD = 8
"""Bytes before each packet for the control plane: its length in 32 bits, and padding."""


def build_hand_over(unit: NativeModule) -> ll.Function:
    """Build the function `hand_over(context, output)`, which copies packets for the CPU port to a buffer.

    The control plane empties the buffer. The function runs while the loop has its turn at the gate. Packets that do not
    fit the buffer are counted as lost.
    """
    code = unit.routine("hand_over", [POINTER])
    b = code.b
    output = code.function.args[1]
    ports, where = code.load_pointer(code.at(output, Output.PORTS)), code.load_pointer(code.slot("map"))
    with code.loop(code.field(output, Output.COUNT)) as number:
        port = code.load(code.index(ports, number, 2), 16)
        place = code.load(code.index(where, port, 2), 16)
        with code.when(b.icmp_unsigned("==", place, code.constant(16, CPU))):
            packet, length = _packet(code, output, number)
            used = code.slot_value("cpu.used")
            size = b.and_(b.add(code.resize(length, 64), code.i64(CPU_HEAD + 7)), code.i64(-8))
            end = b.add(used, size)
            fits = b.icmp_unsigned("<=", end, code.slot_value("cpu.capacity"))
            with code.when(fits):
                at = code.at(code.load_pointer(code.slot("cpu.data")), used)
                code.store(length, at)
                code.copy(code.at(at, CPU_HEAD), packet, length)
                code.set_slot("cpu.used", end)
            with code.when(b.not_(fits)):
                code.count("cpu.lost")
    b.ret_void()
    return code.function


def build_dispatch(unit: NativeModule, capture: ll.Function) -> ll.Function:
    """Build the function `dispatch(context, output, share, shares)`, which sends the output of a batch.

    Each of several threads handles a share of the ports: every `shares`-th one, starting with `share`. `capture` is the
    function that records packets.
    """
    flush = _build_flush(unit)
    code = unit.routine("dispatch", [POINTER, I64, I64])
    b = code.b
    _, output, share, shares = code.function.args
    ports = code.load_pointer(code.at(output, Output.PORTS))
    seconds, nanoseconds = (code.resize(code.field(output, each), 32) for each in (Output.SECONDS, Output.NANOSECONDS))
    records, where = code.load_pointer(code.slot("ports")), code.load_pointer(code.slot("map"))

    def ours(place: Value) -> Value:
        return b.icmp_unsigned("==", b.urem(code.resize(place, 64), shares), share)

    with code.loop(code.field(output, Output.COUNT)) as number:
        place = code.load(code.index(where, code.load(code.index(ports, number, 2), 16), 2), 16)
        nowhere = b.icmp_unsigned("==", place, code.constant(16, NOWHERE))
        with code.when(b.and_(nowhere, b.icmp_unsigned("==", share, code.i64(0)))):
            code.count("nowhere")
        known = b.icmp_unsigned("<", place, code.constant(16, CPU))
        with code.when(b.and_(known, ours(place))):
            port = code.index(records, place, Port.SIZE)
            packet, length = _packet(code, output, number)
            code.call(capture, [code.at(port, Port.OUTWARD), packet, length, seconds, nanoseconds])
            pending = code.field(port, Port.PENDING)
            vector = code.index(code.load_pointer(code.at(port, Port.VECTORS)), pending, linux.IOVEC)
            b.store(packet, vector, align=8)
            code.set_field(vector, 8, code.resize(length, 64))
            grown = b.add(pending, code.i64(1))
            code.set_field(port, Port.PENDING, grown)
            with code.when(b.icmp_unsigned("==", grown, code.i64(BATCH))):
                code.call(flush, [port])
    with code.loop(code.slot_value("port.count")) as number, code.when(ours(number)):
        port = code.index(records, number, Port.SIZE)
        with code.when(b.icmp_unsigned("!=", code.field(port, Port.PENDING), code.i64(0))):
            code.call(flush, [port])
    b.ret_void()
    return code.function


def _packet(code: NativeBuilder, output: Value, number: Value) -> tuple[Value, Value]:
    """Return the address of packet `number` of an output, and its length (i32)."""
    offset, length = (
        code.load(code.index(code.load_pointer(code.at(output, each)), number, 4), 32)
        for each in (Output.OFFSETS, Output.LENGTHS)
    )
    return code.at(code.load_pointer(code.at(output, Output.DATA)), offset), length


def _build_flush(unit: NativeModule) -> ll.Function:
    """Build `flush(context, port)`: passes pending packets to the kernel."""
    code = unit.routine("flush", [POINTER])
    b = code.b
    port = code.function.args[1]
    messages, pending = code.load_pointer(code.at(port, Port.MESSAGES)), code.field(port, Port.PENDING)
    socket = code.resize(code.field(port, Port.SENDER), 32)
    done_at = code.allocate(8)
    code.store(code.i64(0), done_at)
    look, attempt, done = code.block("look"), code.block("attempt"), code.block("done")
    b.branch(look)
    b.position_at_end(look)
    sent = code.load(done_at, 64)
    left = b.sub(pending, sent)
    b.cbranch(b.icmp_unsigned("<", sent, pending), attempt, done)
    b.position_at_end(attempt)
    message = code.index(messages, sent, linux.MMSGHDR)
    took = code.libc("sendmmsg", [socket, message, code.resize(left, 32), code.i32(linux.MSG_DONTWAIT)])
    with code.when(b.icmp_signed(">", took, code.i32(0))):
        code.add_field(port, Port.SENT, took)
        code.store(b.add(sent, code.resize(took, 64)), done_at)
        b.branch(look)
    # The first packet was rejected. If the interface is gone, the others would be rejected, too.
    error = code.errno()
    with code.when(b.icmp_unsigned("==", error, code.i32(linux.EINTR))):
        b.branch(look)
    gone = code.constant(1, 0)
    for each in (linux.ENXIO, linux.ENODEV, linux.ENETDOWN):
        gone = b.or_(gone, b.icmp_unsigned("==", error, code.i32(each)))
    lost = b.select(gone, left, code.i64(1))
    code.add_field(port, Port.UNSENT, lost)
    code.store(b.add(sent, lost), done_at)
    b.branch(look)
    b.position_at_end(done)
    code.set_field(port, Port.PENDING, code.i64(0))
    b.ret_void()
    return code.function
