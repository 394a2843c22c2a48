"""Folds constants with P4's arithmetic: modulo the width for fixed-width types, unbounded for `int`."""

from __future__ import annotations

from typing import TypeGuard

from midflight.p4 import ir
from midflight.p4.syntax import LARGEST
from midflight.p4.types import BOOL, Bits, Integer, Type

__all__ = ["binary", "is_known", "is_literal", "number_in", "unary", "wrap"]

COMPARISONS = frozenset({"==", "!=", "<", ">", "<=", ">="})


def is_literal(value: ir.Expression) -> TypeGuard[ir.Literal]:
    """Return whether an expression is an integer, bool, enum or error constant."""
    return isinstance(value, ir.Literal) and isinstance(value.value, int)


def number_in(value: ir.Expression) -> int | None:
    """Return the number of an integer, bool, enum or error constant, or None for any other expression."""
    return value.value if isinstance(value, ir.Literal) and isinstance(value.value, int) else None


def is_known(value: ir.Expression) -> bool:
    """Return whether an expression is a compile-time constant, which may be a struct of constants."""
    return isinstance(value, ir.Literal) or (isinstance(value, ir.StructValue) and all(map(is_known, value.elements)))


def wrap(value: int, kind: Type) -> int:
    """Return a value reduced to the range of its type: modulo 2**width, in two's complement if signed.

    Values of types other than `Bits` are returned unchanged.
    """
    if not isinstance(kind, Bits):
        return value
    if kind.width == 0:
        return 0
    value &= (1 << kind.width) - 1
    return value - (1 << kind.width) if kind.signed and value >= 1 << kind.width - 1 else value


def unary(operator: str, value: int, kind: Type) -> int:
    """Return the value of a prefix operator, `-`, `~`, `+` or `!`, on a constant `value` of type `kind`, wrapped to the
    type.
    """
    match operator:
        case "-":
            return wrap(-value, kind)
        case "~":
            return wrap(~value, kind)
        case "!":
            return 1 - value
    return value


def binary(operator: str, left: int, right: int, kind: Type) -> int | None:
    """Return the result of a binary operator on two constants, or None if it is undefined.

    `kind` is the type of both operands, except that the right operand of a shift may have another. Undefined are a
    division with a divisor below 1 or a negative dividend, a saturating operator on `int`, `+`, `-` and `*` on `bool`,
    and a shift by a negative distance. A comparison gives 0 or 1. Raises OverflowError for a result of type `int` with
    more than LARGEST + 1 bits; one of LARGEST + 1 may raise it.
    """
    if isinstance(kind, Integer) and _bits(operator, left, right) > LARGEST:
        raise OverflowError
    match operator:
        case "==":
            return int(left == right)
        case "!=":
            return int(left != right)
        case "<":
            return int(left < right)
        case ">":
            return int(left > right)
        case "<=":
            return int(left <= right)
        case ">=":
            return int(left >= right)
        case "&&":
            return left & right
        case "||":
            return left | right
        case "/" | "%":
            if right <= 0 or left < 0:
                return None
            return left // right if operator == "/" else left % right
        case "<<":
            if isinstance(kind, Bits) and right >= kind.width:
                return 0
            return None if right < 0 else wrap(left << right, kind)
        case ">>":
            return None if right < 0 else left >> min(right, LARGEST)
        case "|+|" | "|-|":
            return _saturated(left + right if operator == "|+|" else left - right, kind)
    return wrap(_plain(operator, left, right), kind) if kind != BOOL or operator in "&|^" else None


def _bits(operator: str, left: int, right: int) -> int:
    """Return how many bits an operator's result has if it is not 0, or one fewer. It is 0 for operators without growth.

    The difference of similar numbers may have fewer bits.
    """
    match operator:
        case "*":
            return left.bit_length() + right.bit_length() - 1
        case "<<":
            return left.bit_length() + right
        case "+" | "-":
            return max(left.bit_length(), right.bit_length())
    return 0


def _plain(operator: str, left: int, right: int) -> int:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "&":
            return left & right
        case "|":
            return left | right
        case "^":
            return left ^ right
    raise ValueError(operator)


def _saturated(value: int, kind: Type) -> int | None:
    if not isinstance(kind, Bits):
        return None if isinstance(kind, Integer) else value
    low, high = (-(1 << kind.width - 1), (1 << kind.width - 1) - 1) if kind.signed else (0, (1 << kind.width) - 1)
    return min(max(value, low), high)
