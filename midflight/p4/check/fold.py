"""Arithmetic on constants, as P4 defines it: wrapping at the type's width, unbounded for `int`."""

from __future__ import annotations

from typing import TypeGuard

from midflight.p4 import ir
from midflight.p4.types import BOOL, Bits, Integer, Type

__all__ = ["binary", "is_known", "is_literal", "number_in", "unary", "wrap"]

COMPARISONS = frozenset({"==", "!=", "<", ">", "<=", ">="})


def is_literal(value: ir.Expression) -> TypeGuard[ir.Literal]:
    """Whether a value is an integer, bool, enum or error constant."""
    return isinstance(value, ir.Literal) and isinstance(value.value, int)


def number_in(value: ir.Expression) -> int | None:
    """Return the number that a constant is, or None for anything else."""
    return value.value if isinstance(value, ir.Literal) and isinstance(value.value, int) else None


def is_known(value: ir.Expression) -> bool:
    """Whether a value is known at compile time."""
    return isinstance(value, ir.Literal) or (isinstance(value, ir.StructValue) and all(map(is_known, value.elements)))


def wrap(value: int, kind: Type) -> int:
    """Return a value as its type holds it: modulo 2**width, in two's complement when signed."""
    if not isinstance(kind, Bits):
        return value
    if kind.width == 0:
        return 0
    value &= (1 << kind.width) - 1
    return value - (1 << kind.width) if kind.signed and value >= 1 << kind.width - 1 else value


def unary(operator: str, value: int, kind: Type) -> int:
    """Return the value of `-`, `~`, `+` or `!` on a constant."""
    match operator:
        case "-":
            return wrap(-value, kind)
        case "~":
            return wrap(~value, kind)
        case "!":
            return 1 - value
    return value


def binary(operator: str, left: int, right: int, kind: Type) -> int | None:
    """Return the value of an operator on constants of one type (save a shift's right side); None when undefined."""
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
            return None if right < 0 or right > 1 << 16 else wrap(left << right, kind)
        case ">>":
            return None if right < 0 else left >> min(right, 1 << 16)
        case "|+|" | "|-|":
            return _saturated(left + right if operator == "|+|" else left - right, kind)
    return wrap(_plain(operator, left, right), kind) if kind != BOOL or operator in "&|^" else None


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
