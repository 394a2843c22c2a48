"""Emits the native code that writes a packet to the output: headers, payload, and its position in the batch."""

from __future__ import annotations

from llvmlite import ir as ll

from midflight.runtime.engine.code import I32, I64, POINTER, Code, Unit, Value
from midflight.runtime.engine.deparser import most_bytes
from midflight.runtime.engine.stages import STAGE_ARGUMENTS, Stages

__all__ = ["MAX_OUTPUT", "build_emit", "build_send"]

MAX_OUTPUT = 1 << 32
"""The maximum output of one batch in bytes, as offsets have 32 bits."""


def build_emit(unit: Unit, stages: Stages) -> ll.Function:
    """Build the function `length emit(context, state, packet, length, consumed)` and return it.

    It deparses at the end of the output, without making the bytes a packet yet, and returns their number, or 2**32 - 1
    if there is no memory. It reserves space first, so that it never writes beyond the buffer.
    """
    function = unit.function("emit", STAGE_ARGUMENTS, I32)
    code = Code(unit, function)
    b = code.b
    context, state, packet, length, consumed = function.args
    payload = b.sub(length, consumed)
    need = b.add(code.resize(payload, 64), code.i64(most_bytes(unit.program.deparser)))
    _reserve(code, need, code.i32(-1))
    out = code.at(code.load_pointer(code.slot("out.data")), code.slot_value("out.used"))
    headers = b.call(stages.deparse, [context, state, out, length, consumed])
    code.copy(code.at(out, headers), code.at(packet, consumed), payload)
    total = b.add(headers, payload)
    if unit.intents & {"truncate", "clone"}:
        limit = code.load(code.at(state, unit.state.intent("truncate")), 32)
        cut = b.sub(limit, code.i32(1))
        asked = b.and_(b.icmp_unsigned("!=", limit, code.i32(0)), b.icmp_unsigned("<", cut, total))
        total = b.select(asked, cut, total)
    b.ret(total)
    return function


def build_send(unit: Unit, *, timed: bool) -> ll.Function:
    """Build the function `send(context, length, port)`, which makes the bytes from `emit` the next output packet.

    timed: also store its time, if there is an array for it, and the number of the packet that it comes from as the
    number in the current batch, or 2**32 - 1 if that packet came in an earlier one
    """
    function = unit.function("send", [POINTER, I32, I32], ll.VoidType())
    code = Code(unit, function)
    _, length, port = function.args
    b = code.b
    used, count = code.slot_value("out.used"), code.slot_value("out.count")
    source = code.slot_value("source")
    if timed:
        base = code.slot_value("source.base")
        source = b.select(b.icmp_unsigned("<", source, base), code.i64(-1), b.sub(source, base))
        times = code.load_pointer(code.slot("out.times"))
        with code.when(b.icmp_unsigned("!=", b.ptrtoint(times, I64), code.i64(0))):
            code.store(code.slot_value("tm.clock"), code.at(times, b.mul(count, code.i64(8))))
    for name, number, width in (
        ("out.offsets", used, 32),
        ("out.lengths", length, 32),
        ("out.ports", port, 16),
        ("out.sources", source, 32),
    ):
        array = code.load_pointer(code.slot(name))
        code.store(code.resize(number, width), code.at(array, b.mul(count, code.i64(width // 8))))
    code.set_slot("out.count", b.add(count, code.i64(1)))
    code.set_slot("out.used", b.add(used, code.resize(length, 64)))
    code.count("sent")
    b.ret_void()
    return function


def _reserve(code: Code, need: Value, failure: Value) -> None:
    """Ensure space for `need` more bytes and one more packet, calling the host for larger arrays if necessary.

    If there is no space, the function under construction returns `failure`.
    """
    b = code.b
    end = b.add(code.slot_value("out.used"), need)
    full = b.icmp_unsigned(">", end, code.slot_value("out.capacity"))
    many = b.icmp_unsigned(">=", code.slot_value("out.count"), code.slot_value("out.packets"))
    with code.when(b.or_(full, many)):
        grown = code.call_through(code.load_pointer(code.slot("out.grow")), ll.FunctionType(I32, [I64]), [end])
        with code.when(b.icmp_unsigned("==", grown, code.i32(0))):
            code.count("dropped.memory")
            b.ret(failure)
