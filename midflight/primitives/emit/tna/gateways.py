"""Conditions as gateways test them: how many bits they compare, their opposites, and tests of some bits of a number."""

from __future__ import annotations

from midflight.primitives.kernel.typed import Binary, Cast, Compare, Const, Expr, Logic, Not, Slice, Truth
from midflight.primitives.kernel.types import Kind
from midflight.stackless import Walk, run

__all__ = ["by_bits", "masked", "negated", "row_bits"]

BIT = Kind(1)


def row_bits(test: Expr) -> int:
    """Return how many bits of a packet a gateway, which tests conditions in a stage, compares for a condition.

    Alternatives (`||`) are rows of their own in the gateway, so the widest one counts.
    """
    return run(_row(test))


def _row(test: Expr) -> Walk[int]:
    match test:
        case Compare(left=left, right=right):
            width = left.kind.width if left.kind else 1
            return width if isinstance(right, Const) else 2 * width
        case Logic(operator=operator, left=left, right=right):
            one: int = yield _row(left)
            other: int = yield _row(right)
            return max(one, other) if operator == "||" else one + other
        case Not(operand=operand):
            inner: int = yield _row(operand)
            return inner
        case Truth():
            return 0
        case _:
            return 1


def negated(expr: Expr) -> Expr:
    """Return the typed expression of the opposite of a condition.

    The negation goes into `&&`, `||`, `==`, `!=` and constants, and removes a `Not`; other conditions get one.
    """
    return run(_negation(expr))


def _negation(expr: Expr) -> Walk[Expr]:
    match expr:
        case Not(operand=operand):
            return operand
        case Truth(value=value):
            return Truth(not value)
        case Compare(operator="==" | "!=" as operator, left=left, right=right):
            return Compare("!=" if operator == "==" else "==", left, right)
        case Logic(operator=operator, left=left, right=right):
            one: Expr = yield _negation(left)
            other: Expr = yield _negation(right)
            return Logic("||" if operator == "&&" else "&&", one, other)
        case _:
            return Not(expr)


def by_bits(operator: str, number: Expr, bound: int, kind: Kind) -> Expr | None:
    """Return the comparison `number operator bound` as a condition on some of the number's bits, or None if they do not
    decide it.

    The operator is an order, such as "<", and `kind` is the type of both sides.
    """
    if kind.signed:
        plain = number.operand if isinstance(number, Cast) else number
        sign = Slice(plain, kind.width - 1, kind.width - 1, BIT)
        if bound == 0 and operator in ("<", ">="):
            return Compare("==", sign, Const(int(operator == "<"), BIT))
        positive = Logic("&&", Compare("==", sign, Const(0, BIT)), Compare("!=", plain, Const(0, plain.kind or kind)))
        if bound == 0:
            return positive if operator == ">" else negated(positive)
        return None
    if operator in (">", "<="):
        operator, bound = (">=" if operator == ">" else "<"), bound + 1
    if bound <= 0 or bound > kind.high:
        return Truth((operator == ">=") == (bound <= 0))
    if bound == 1:
        return Compare("!=" if operator == ">=" else "==", number, Const(0, kind))
    if bound & (bound - 1) == 0:
        low = bound.bit_length() - 1
        above = Kind(kind.width - low)
        return Compare("==" if operator == "<" else "!=", Slice(number, kind.width - 1, low, above), Const(0, above))
    return None


def masked(number: Expr, value: int) -> tuple[Expr, Const] | None:
    """Return `x & mask`, which is compared with `value`, as a slice of x, and the constant to compare the slice with.

    None for another expression, a mask whose ones are not consecutive, or a value that has other bits.
    """
    if not isinstance(number, Binary) or number.operator != "&" or number.kind.signed:
        return None
    mask, operand = (number.left, number.right) if isinstance(number.left, Const) else (number.right, number.left)
    if not isinstance(mask, Const) or mask.value <= 0:
        return None
    low = (mask.value & -mask.value).bit_length() - 1
    bits = mask.value >> low
    if bits & (bits + 1) or value & ~mask.value:
        return None
    kind = Kind(bits.bit_length())
    return Slice(operand, low + kind.width - 1, low, kind), Const(value >> low, kind)
