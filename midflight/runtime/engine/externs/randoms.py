"""The extern `random`, from a seeded generator in the context (xorshift64*). The same seed gives the same numbers."""

from __future__ import annotations

from midflight.p4 import ir
from midflight.runtime.engine.code import I64, POINTER, Code, Value
from midflight.runtime.engine.expressions import store, value
from midflight.runtime.engine.layout import scalar_width

__all__ = ["next_random", "random"]


def random(code: Code, call: ir.Call) -> None:
    """Emit `random(result, low, high)`: a number from low to high, both inclusive, or low if high is smaller.

    As in BMv2, only the low 64 bits of the limits count. P4Error for a limit or a result that the engine does not
    support.
    """
    target, low, high = call.arguments
    width = scalar_width(target.type)
    b = code.b
    first, last = (code.resize(value(code, each), 64) for each in (low, high))
    span = b.add(b.sub(last, first), code.i64(1))
    number = next_random(code)
    # A span of 0 means all 64 bits.
    whole = b.icmp_unsigned("==", span, code.i64(0))
    rest = b.select(whole, number, b.urem(number, b.select(whole, code.i64(1), span)))
    chosen = b.select(b.icmp_unsigned("<", last, first), first, b.add(first, rest))
    store(code, target, code.resize(chosen, width))


def next_random(code: Code) -> Value:
    """Emit a step of the engine's random number generator, and return 64 random bits (i64)."""
    return code.b.call(code.unit.helper("random", [POINTER], I64, _generator), [code.context])


def _generator(code: Code) -> None:
    b = code.b
    state = code.slot_value("random")
    for shift, amount in ((b.lshr, 12), (b.shl, 25), (b.lshr, 27)):
        state = b.xor(state, shift(state, code.i64(amount)))
    code.set_slot("random", state)
    b.ret(b.mul(state, code.i64(0x2545_F491_4F6C_DD1D)))
