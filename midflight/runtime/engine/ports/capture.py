"""Emits captures in native code: packets are written to a buffer as pcap records, and the buffer to its file."""

from __future__ import annotations

from llvmlite import ir as ll

from midflight.runtime.engine.builder import I32, POINTER
from midflight.runtime.engine.ports.native import NativeModule
from midflight.runtime.engine.ports.records import CAPTURE_BYTES, Capture

__all__ = ["build_capture"]

HEADER = 16


def build_capture(unit: NativeModule) -> tuple[ll.Function, ll.Function]:
    """Build `capture(context, capture, packet, length, seconds, nanoseconds)` and `save(context, capture)`.

    The first function appends a packet with its time to a `records.Capture`, and saves if the buffer is full; it does
    nothing if nothing is recorded. The second writes the buffer to the file. Data that cannot be written is lost and
    counted.
    """
    save = _save(unit)
    code = unit.routine("capture", [POINTER, POINTER, I32, I32, I32])
    b = code.b
    _, record, packet, length, seconds, nanoseconds = code.function.args
    with code.when(b.icmp_unsigned("==", code.field(record, Capture.FILE), code.i64(0))):
        b.ret_void()
    need = b.add(code.resize(length, 64), code.i64(HEADER))
    end = b.add(code.field(record, Capture.USED), need)
    with code.when(b.icmp_unsigned(">", end, code.i64(CAPTURE_BYTES))):
        code.call(save, [record])
    used = code.field(record, Capture.USED)
    at = code.at(code.load_pointer(code.at(record, Capture.BUFFER)), used)
    for offset, word in ((0, seconds), (4, nanoseconds), (8, length), (12, length)):
        code.store(word, code.at(at, offset), alignment=1)
    code.copy(code.at(at, HEADER), packet, length)
    code.set_field(record, Capture.USED, b.add(used, need))
    b.ret_void()
    return code.function, save


def _save(unit: NativeModule) -> ll.Function:
    """Build `save`. If the file cannot be written, as on a full disk, the data is lost and counted in LOST (bytes)."""
    code = unit.routine("save", [POINTER])
    b = code.b
    record = code.function.args[1]
    written_at = code.allocate(8)
    code.store(code.i64(0), written_at)
    again, attempt, done = code.block("again"), code.block("attempt"), code.block("done")
    b.branch(again)
    b.position_at_end(again)
    written, used = code.load(written_at, 64), code.field(record, Capture.USED)
    b.cbranch(b.icmp_unsigned("<", written, used), attempt, done)
    b.position_at_end(attempt)
    file = b.sub(code.resize(code.field(record, Capture.FILE), 32), code.i32(1))
    buffer = code.load_pointer(code.at(record, Capture.BUFFER))
    took = code.libc("write", [file, code.at(buffer, written), b.sub(used, written)])
    with code.when(b.icmp_signed("<=", took, code.i64(0))):
        code.add_field(record, Capture.LOST, b.sub(used, written))
        b.branch(done)
    code.store(b.add(written, took), written_at)
    b.branch(again)
    b.position_at_end(done)
    code.set_field(record, Capture.USED, code.i64(0))
    b.ret_void()
    return code.function
