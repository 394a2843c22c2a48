"""The externs `meter` and `direct_meter`: the colour-blind two-rate three-colour marker of RFC 2698.

The time is that of the batch. The state of a meter is in 64-bit words: committed rate and burst, peak rate and burst
(in units per second, and units), the tokens of both buckets in millionths of a unit, the time of the last packet in
microseconds, and whether the meter is configured; then, from COUNTS, the packets and bytes of each colour.
"""

from __future__ import annotations

from midflight.p4 import ir
from midflight.runtime.engine.code import I32, I64, POINTER, Code, Value
from midflight.runtime.engine.expressions import store, value
from midflight.runtime.engine.externs.registers import size_of
from midflight.runtime.engine.layout import scalar_width

__all__ = ["BYTES", "COLOURS", "COUNTS", "WORDS", "execute", "execute_direct", "forget_direct", "read_direct"]

WORDS = 16
"""The number of 64-bit words in the state of one meter."""

BYTES = 1
"""The value of MeterType.bytes."""

CIR, CBURST, PIR, PBURST, CTOKENS, PTOKENS, LAST, SET, COUNTS = range(9)
COLOURS = 3
MILLION = 1_000_000

NO_COLOUR = COLOURS
"""The value of a direct meter's slot after a miss."""


def execute(code: Code, call: ir.Call, instance: ir.Instance) -> None:
    """Emit `meter.execute_meter(index, result)`, which stores the packet's colour: 0 green, 1 yellow, 2 red.

    An index out of range gives green. P4Error for an index or a result that the engine does not support.
    """
    index, target = value(code, call.arguments[0]), call.arguments[1]
    wide = code.resize(index, max(64, index.type.width))
    inside = code.b.icmp_unsigned("<", wide, code.constant(wide.type.width, size_of(instance)))
    colour = code.choose(inside, lambda: _colour(code, instance, code.resize(wide, 64)), lambda: code.i32(0))
    store(code, target, code.resize(colour, scalar_width(target.type)))


def forget_direct(code: Code, instance: ir.Instance) -> None:
    """Emit that a direct meter has no colour for the packet, until an entry of its table is hit."""
    code.set_slot(f"{instance.name}.colour", code.i64(NO_COLOUR))


def execute_direct(code: Code, instance: ir.Instance, entry: Value) -> None:
    """Emit the metering of the packet by a direct meter, for the table entry with the number `entry` (an LLVM value).

    The colour goes to a slot of the context, where `read_direct` finds it.
    """
    code.set_slot(f"{instance.name}.colour", code.resize(_colour(code, instance, code.resize(entry, 64)), 64))


def read_direct(code: Code, call: ir.Call, instance: ir.Instance) -> None:
    """Emit `direct_meter.read(result)`, which stores the packet's colour: 0 green, 1 yellow, 2 red.

    In an action that runs on a miss, `result` keeps its value, as in BMv2.
    """
    target = call.arguments[0]
    colour = code.slot_value(f"{instance.name}.colour")
    with code.when(code.b.icmp_unsigned("!=", colour, code.i64(NO_COLOUR))):
        store(code, target, code.resize(colour, scalar_width(target.type)))


def _colour(code: Code, instance: ir.Instance, index: Value) -> Value:
    pointer = code.at(code.slot_pointer(instance.name), code.b.mul(index, code.i64(8 * WORDS)))
    kind = instance.arguments[-1]
    length = code.resize(code.function.args[3], 64)
    run = code.unit.helper("meter", [POINTER, I64, I64], I32, _meter)
    colour = code.b.call(run, [pointer, length if kind == BYTES else code.i64(1), code.slot_value("now")])
    counts = code.at(pointer, code.b.add(code.i64(8 * COUNTS), code.b.shl(code.resize(colour, 64), code.i64(4))))
    for offset, amount in ((0, code.i64(1)), (8, length)):
        place = code.at(counts, offset)
        code.store(code.b.add(code.load(place, 64), amount), place)
    return colour


def _meter(code: Code) -> None:
    """Emit a function (state, units of this packet, now) that returns 0 for green, 1 for yellow or 2 for red."""
    b = code.b
    state, units, now = code.function.args

    def word(number: int) -> Value:
        return code.at(state, 8 * number)

    with code.when(b.icmp_unsigned("==", code.load(word(SET), 64), code.i64(0))):
        b.ret(code.i32(0))
    last = code.load(word(LAST), 64)
    later = b.icmp_unsigned(">", now, last)
    elapsed = b.select(later, b.sub(now, last), code.i64(0))
    code.store(b.select(later, now, last), word(LAST))
    levels = []
    multiply = code.unit.target.multiply
    for tokens, rate, burst in ((CTOKENS, CIR, CBURST), (PTOKENS, PIR, PBURST)):
        # With 128 bits, as elapsed time times rate may exceed 64 bits after a long pause.
        wide = [code.resize(each, 128) for each in (elapsed, code.load(word(rate), 64), code.load(word(burst), 64))]
        most = multiply(code, wide[2], code.constant(128, MILLION))
        filled = b.add(code.resize(code.load(word(tokens), 64), 128), multiply(code, wide[0], wide[1]))
        levels.append(code.resize(b.select(b.icmp_unsigned(">", filled, most), most, filled), 64))
    committed, peak = levels
    cost = b.mul(units, code.i64(MILLION))
    red, yellow = b.icmp_unsigned("<", peak, cost), b.icmp_unsigned("<", committed, cost)
    code.store(b.select(red, peak, b.sub(peak, cost)), word(PTOKENS))
    code.store(b.select(b.or_(red, yellow), committed, b.sub(committed, cost)), word(CTOKENS))
    b.ret(b.select(red, code.i32(2), b.select(yellow, code.i32(1), code.i32(0))))
