"""Emits the receiving of packets in native code, from a ring of frames that is shared with the kernel.

Packets are processed in place. Two things that the kernel keeps beside the packet are restored first, so that the
program sees what would be on a wire: a VLAN tag is inserted again, and a checksum that the sending host left to its
interface is computed.
"""

from __future__ import annotations

from llvmlite import ir as ll

from midflight.runtime.engine.builder import I32, I64, POINTER, Value
from midflight.runtime.engine.ports import linux
from midflight.runtime.engine.ports.native import NativeBuilder, NativeModule
from midflight.runtime.engine.ports.records import BATCH, Port

__all__ = ["build_receive", "build_release"]


def build_receive(unit: NativeModule, capture: ll.Function) -> ll.Function:
    """Build the function `frames receive(context, port)`: it makes the arrived packets the batch, at most BATCH.

    It returns the number of frames consumed, which stay allocated until `release`. Packets that have to be dropped are
    counted and not in the batch. `capture` is the function that records packets.
    """
    finish = _finish_checksum(unit)
    tag = _put_tag_back(unit)
    code = unit.routine("receive", [POINTER], I64)
    b = code.b
    port = code.function.args[1]
    base, size = code.load_pointer(code.at(port, Port.RING)), code.field(port, Port.FRAME)
    head_at, seen_at, count_at = code.allocate(8), code.allocate(8), code.allocate(8)
    code.store(code.field(port, Port.HEAD), head_at)
    code.store(code.i64(0), seen_at)
    code.store(code.i64(0), count_at)
    look, room, take, after, done = (code.block(each) for each in ("look", "room", "take", "after", "done"))
    b.branch(look)
    b.position_at_end(look)
    seen = code.load(seen_at, 64)
    b.cbranch(b.icmp_unsigned("<", seen, code.i64(BATCH)), room, done)
    b.position_at_end(room)
    begin = b.mul(code.load(head_at, 64), size)
    frame = code.at(base, begin)
    status = code.load_atomic(code.at(frame, linux.STATUS), 32)
    b.cbranch(_has(code, status, linux.STATUS_USER), take, done)

    b.position_at_end(take)
    code.store(b.add(seen, code.i64(1)), seen_at)
    following = b.add(code.load(head_at, 64), code.i64(1))
    wrapped = b.icmp_unsigned(">=", following, code.field(port, Port.FRAMES))
    code.store(b.select(wrapped, code.i64(0), following), head_at)
    code.add_field(port, Port.RECEIVED)
    length, captured = (code.load(code.at(frame, each), 32) for each in (linux.LENGTH, linux.CAPTURED))
    mac = code.load(code.at(frame, linux.MAC), 16)
    packet = code.at(frame, mac)
    extra = b.gep(packet, [code.i64(-linux.VNET_SIZE)], source_etype=ll.IntType(8))
    with code.when(b.icmp_unsigned("!=", code.load(code.at(extra, linux.VNET_GSO_TYPE), 8), code.constant(8, 0))):
        with code.when(b.icmp_unsigned("==", code.field(port, Port.OFFLOAD), code.i64(0))):
            code.notify()
        code.add_field(port, Port.OFFLOAD)
        b.branch(after)
    with code.when(b.icmp_unsigned(">", length, captured)):
        code.add_field(port, Port.OVERSIZE)
        b.branch(after)
    flags = code.resize(code.load(code.at(extra, linux.VNET_FLAGS), 8), 32)
    with code.when(_has(code, flags, linux.VNET_NEEDS_CSUM)):
        start, offset = (
            code.resize(code.load(code.at(extra, each), 16, alignment=1), 32)
            for each in (linux.VNET_CSUM_START, linux.VNET_CSUM_OFFSET)
        )
        code.call(finish, [packet, length, start, offset])
    tagged = _has(code, status, linux.STATUS_VLAN_VALID)
    with code.when(tagged):
        code.call(tag, [frame, packet])
    back = b.select(tagged, code.i64(4), code.i64(0))
    where = b.sub(b.add(begin, code.resize(mac, 64)), back)
    whole = b.add(length, code.resize(back, 32))
    times = [code.load(code.at(frame, each), 32) for each in (linux.SECONDS, linux.NANOSECONDS)]
    code.call(capture, [code.at(port, Port.INWARD), code.at(base, where), whole, *times])
    count = code.load(count_at, 64)
    for name, number, width in (
        ("in.offsets", where, 32),
        ("in.lengths", whole, 32),
        ("in.ports", code.field(port, Port.NUMBER), 16),
    ):
        place = code.index(code.load_pointer(code.slot(name)), count, width // 8)
        code.store(code.resize(number, width), place)
    arrived = b.add(b.mul(code.resize(times[0], 64), code.i64(1_000_000_000)), code.resize(times[1], 64))
    code.store(arrived, code.index(code.load_pointer(code.slot("in.times")), count, 8))
    code.store(b.add(count, code.i64(1)), count_at)
    b.branch(after)
    b.position_at_end(after)
    b.branch(look)
    b.position_at_end(done)
    code.set_slot("in.count", code.load(count_at, 64))
    b.ret(code.load(seen_at, 64))
    return code.function


def build_release(unit: NativeModule) -> ll.Function:
    """Build the function `release(context, port, frames)`, which returns this number of frames to the kernel."""
    code = unit.routine("release", [POINTER, I64])
    b = code.b
    _, port, frames = code.function.args
    base, size = code.load_pointer(code.at(port, Port.RING)), code.field(port, Port.FRAME)
    with code.loop(frames):
        head = code.field(port, Port.HEAD)
        code.exchange(code.at(code.index(base, head, size), linux.STATUS), code.i32(0))
        following = b.add(head, code.i64(1))
        wrapped = b.icmp_unsigned(">=", following, code.field(port, Port.FRAMES))
        code.set_field(port, Port.HEAD, b.select(wrapped, code.i64(0), following))
    b.ret_void()
    return code.function


def _has(code: NativeBuilder, status: Value, bit: int) -> Value:
    return code.b.icmp_unsigned("!=", code.b.and_(status, code.i32(bit)), code.i32(0))


def _put_tag_back(unit: NativeModule) -> ll.Function:
    """Build `tag(context, frame, packet)`: moves the MAC addresses forward by four bytes and inserts the VLAN tag."""
    code = unit.routine("tag", [POINTER, POINTER])
    b = code.b
    _, frame, packet = code.function.args
    status = code.load(code.at(frame, linux.STATUS), 32)
    control = code.load(code.at(frame, linux.VLAN_TCI), 16)
    tpid = code.load(code.at(frame, linux.VLAN_TPID), 16)
    kind = b.select(_has(code, status, linux.STATUS_VLAN_TPID_VALID), tpid, code.constant(16, 0x8100))
    front = b.gep(packet, [code.i64(-4)], source_etype=ll.IntType(8))
    first, second = code.load(packet, 64, alignment=1), code.load(code.at(packet, 8), 32, alignment=1)
    code.store(first, front, alignment=1)
    code.store(second, code.at(front, 8), alignment=1)
    code.store(code.swap_bytes(kind), code.at(front, 12), alignment=1)
    code.store(code.swap_bytes(control), code.at(front, 14), alignment=1)
    b.ret_void()
    return code.function


def _finish_checksum(unit: NativeModule) -> ll.Function:
    """Build `finish(context, packet, length, start, offset)`.

    It computes the Internet checksum from `start` to the end, and stores it at `start + offset`, where the sum of the
    pseudo header is.
    """
    code = unit.routine("finish", [POINTER, I32, I32, I32])
    b = code.b
    _, packet, length, start, offset = code.function.args
    place = b.add(start, offset)
    with code.when(b.icmp_unsigned(">", b.add(place, code.i32(2)), length)):
        b.ret_void()
    total_at = code.allocate(8)
    code.store(code.i64(0), total_at)
    count = b.sub(length, start)
    with code.loop(b.lshr(count, code.i32(1))) as index:
        where = b.add(start, b.shl(index, code.i32(1)))
        word = code.load(code.at(packet, where), 16, alignment=1)
        code.store(b.add(code.load(total_at, 64), code.resize(word, 64)), total_at)
    with code.when(_has(code, count, 1)):
        last = code.load(code.at(packet, b.sub(length, code.i32(1))), 8)
        code.store(b.add(code.load(total_at, 64), code.resize(last, 64)), total_at)
    total = code.load(total_at, 64)
    for _ in range(3):
        total = b.add(b.and_(total, code.i64(0xFFFF)), b.lshr(total, code.i64(16)))
    result = b.xor(code.resize(total, 16), code.constant(16, 0xFFFF))
    zero = b.icmp_unsigned("==", result, code.constant(16, 0))
    code.store(b.select(zero, code.constant(16, 0xFFFF), result), code.at(packet, place), alignment=1)
    b.ret_void()
    return code.function
