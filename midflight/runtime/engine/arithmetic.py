"""Emits arithmetic on `bit<W>` and `int<W>` of any width (P4_16 specification, sections 8.6 and 8.7).

No operation traps: a division or remainder by zero gives 0, and the smallest `int<W>` divided by -1 wraps to itself.
"""

from __future__ import annotations

from llvmlite import ir as ll

from midflight.runtime.engine.code import Code, Value, integer, unsupported
from midflight.runtime.engine.layout import stored_width

__all__ = ["binary", "shift"]

WIDE = 256
"""The largest width in bits of numbers that are multiplied and shifted in place. Beyond it, that takes thousands of
instructions, and all such places call one function."""

COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
SATURATING = {"|+|": "add.sat", "|-|": "sub.sat"}


def binary(code: Code, operator: str, left: Value, right: Value, signed: bool) -> Value:
    """Emit `left operator right` for two integers of the same width, and return the result; of comparisons, an i1.

    `operator` is P4's, other than a shift; `signed` is whether the operands are `int<W>`. Raises P4Error for an
    operator that the engine does not support.
    """
    b = code.b
    if operator in COMPARISONS:
        return (b.icmp_signed if signed else b.icmp_unsigned)(operator, left, right)
    if operator in SATURATING:
        kind = left.type
        name = f"llvm.{'s' if signed else 'u'}{SATURATING[operator]}"
        return b.call(code.unit.intrinsic(name, [kind], ll.FunctionType(kind, [kind, kind])), [left, right])
    match operator:
        case "+":
            return b.add(left, right)
        case "-":
            return b.sub(left, right)
        case "*" if left.type.width > WIDE:
            return b.call(_apart(code, "mul", left.type), [left, right])
        case "*":
            return code.unit.target.multiply(code, left, right)
        case "&":
            return b.and_(left, right)
        case "|":
            return b.or_(left, right)
        case "^":
            return b.xor(left, right)
        case "/" | "%":
            return _divide(code, operator, left, right, signed)
        case _:
            raise unsupported(f"the operator {operator}")


def shift(code: Code, operator: str, left: Value, amount: Value | int, signed: bool) -> Value:
    """Emit `left << amount` or `left >> amount` and return the result, as wide as `left`.

    `amount` is an unsigned value of any width, or a constant of at least 0. If `left` is signed, right shifts are
    arithmetic. An amount of the width or more gives 0, or -1 for a right shift of a negative number.
    """
    b, width = code.b, left.type.width
    if isinstance(amount, int):
        if amount >= width:
            return (
                b.ashr(left, code.constant(width, width - 1))
                if signed and operator == ">>"
                else code.constant(width, 0)
            )
        by = code.constant(width, amount)
        inside = None
    else:
        common = max(width, amount.type.width)
        wide = code.resize(amount, common)
        inside = b.icmp_unsigned("<", wide, code.constant(common, width))
        by = code.resize(wide, width)
    if operator == "<<":
        moved, beyond = "shl", code.constant(width, 0)
    elif signed:
        moved, beyond = "ashr", b.ashr(left, code.constant(width, width - 1))
    else:
        moved, beyond = "lshr", code.constant(width, 0)
    if inside is None:
        return _moved(code, moved, left, by)
    # A shift by the width or more is poison in LLVM, so the amount is replaced before the shift.
    safe = b.select(inside, by, code.constant(width, 0))
    if width > WIDE:
        return b.select(inside, b.call(_apart(code, moved, left.type), [left, safe]), beyond)
    return b.select(inside, _moved(code, moved, left, safe), beyond)


def _moved(code: Code, operation: str, left: Value, by: Value) -> Value:
    return code.unit.target.shift(code, operation, left, by)


def _apart(code: Code, operation: str, kind: ll.IntType) -> ll.Function:
    """Return a function that computes an operation of the builder on two numbers of a type."""

    def build(inner: Code) -> None:
        left, right = inner.function.args
        if operation == "mul":
            inner.b.ret(inner.unit.target.multiply(inner, left, right))
        else:
            inner.b.ret(inner.unit.target.shift(inner, operation, left, right))

    return code.unit.helper(f"{operation}.{kind.width}", [kind, kind], kind, build)


def _divide(code: Code, operator: str, left: Value, right: Value, signed: bool) -> Value:
    """Divide magnitudes, then set the sign: both operands determine a quotient's sign, the left one a remainder's."""
    b, zero = code.b, code.constant(left.type.width, 0)
    if signed:
        negative, other_negative = (b.icmp_signed("<", each, zero) for each in (left, right))
        left, right = b.select(negative, b.neg(left), left), b.select(other_negative, b.neg(right), right)
    none = b.icmp_unsigned("==", right, zero)
    safe = b.select(none, code.constant(left.type.width, 1), right)
    if left.type.width > 64:
        result = b.call(_long_division(code, operator, left.type), [left, safe])
    else:
        result = (b.udiv if operator == "/" else b.urem)(left, safe)
    if signed:
        minus = b.xor(negative, other_negative) if operator == "/" else negative
        result = b.select(minus, b.neg(result), result)
    return b.select(none, zero, result)


def _long_division(code: Code, operator: str, kind: ll.IntType) -> ll.Function:
    """Return a function that divides bit by bit. Beyond 64 bits LLVM would call a library that may be missing."""

    def build(inner: Code) -> None:
        b = inner.b
        dividend, divisor = inner.function.args
        size = stored_width(kind.width)
        quotient, rest = (inner.allocate(size // 8) for _ in range(2))
        for each in (quotient, rest):
            inner.store(inner.constant(size, 0), each)
        with inner.loop(inner.constant(kind.width, kind.width)) as index:
            at = b.sub(inner.constant(kind.width, kind.width - 1), index)
            bit = b.and_(b.lshr(dividend, at), inner.constant(kind.width, 1))
            old = inner.load(rest, size)
            # One bit wider than the operands, as the shifted remainder may exceed them.
            wide = integer(kind.width + 1)
            grown = b.or_(b.shl(inner.resize(old, wide.width), ll.Constant(wide, 1)), inner.resize(bit, wide.width))
            by = inner.resize(divisor, wide.width)
            fits = b.icmp_unsigned(">=", grown, by)
            left = b.select(fits, b.sub(grown, by), grown)
            inner.store(inner.resize(inner.resize(left, kind.width), size), rest)
            shifted = b.shl(inner.load(quotient, size), inner.constant(size, 1))
            inner.store(b.or_(shifted, inner.resize(fits, size)), quotient)
        b.ret(inner.resize(inner.load(quotient if operator == "/" else rest, size), kind.width))

    name = f"{'divide' if operator == '/' else 'remainder'}.{kind.width}"
    return code.unit.helper(name, [kind, kind], kind, build)
