"""Arithmetic on `bit<W>` and `int<W>` of any width (P4_16 specification, sections 8.6 and 8.7).

Nothing traps: a division or remainder by zero gives 0, and the least `int<W>` divided by -1 wraps round to itself.
"""

from __future__ import annotations

from llvmlite import ir as ll

from midflight.runtime.engine.code import Code, Value, integer, unsupported

__all__ = ["binary", "shift"]

COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
SATURATING = {"|+|": "add.sat", "|-|": "sub.sat"}


def binary(code: Code, operator: str, left: Value, right: Value, signed: bool) -> Value:
    """Return `left operator right` for two integers of one width; comparisons give an i1."""
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
        case "*":
            return b.mul(left, right)
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
    """Return `left << amount` or `left >> amount`: arithmetic for signed values, every bit gone beyond the width."""
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
        moved, beyond = b.shl, code.constant(width, 0)
    elif signed:
        moved, beyond = b.ashr, b.ashr(left, code.constant(width, width - 1))
    else:
        moved, beyond = b.lshr, code.constant(width, 0)
    if inside is None:
        return moved(left, by)
    # Shifting by the width or more is poison in LLVM, so such an amount must not even be tried.
    return b.select(inside, moved(left, b.select(inside, by, code.constant(width, 0))), beyond)


def _divide(code: Code, operator: str, left: Value, right: Value, signed: bool) -> Value:
    b, width = code.b, left.type.width
    # Done one bit wider when signed, so that the one overflowing quotient exists and then wraps.
    kind = integer(width + 1 if signed else width)
    one, other = (code.resize(each, kind.width, signed=signed) for each in (left, right))
    none = b.icmp_unsigned("==", other, ll.Constant(kind, 0))
    safe = b.select(none, ll.Constant(kind, 1), other)
    if operator == "/":
        result = b.sdiv(one, safe) if signed else b.udiv(one, safe)
    else:
        result = b.srem(one, safe) if signed else b.urem(one, safe)
    return b.select(none, code.constant(width, 0), code.resize(result, width))
