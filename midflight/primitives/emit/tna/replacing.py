"""Replaces parts of expressions, and simplifies what this decides."""

from __future__ import annotations

from midflight.primitives.kernel.typed import (
    Binary,
    Cast,
    Choose,
    Compare,
    Concat,
    Const,
    Expr,
    Logic,
    Not,
    Overflows,
    Slice,
    Truth,
    Unary,
)
from midflight.stackless import Walk, run

__all__ = ["replaced"]


def replaced(expr: Expr, part: Expr, by: Expr) -> Expr:
    """Return an expression with `by` in place of `part`; choices and conditions that become constant are simplified."""
    return run(_replacing(expr, part, by))


def _replacing(expr: Expr, part: Expr, by: Expr) -> Walk[Expr]:
    if expr == part:
        return by
    match expr:
        case Choose(condition=test, yes=yes, no=no, kind=kind):
            when: Expr = yield _replacing(test, part, by)
            if isinstance(when, Truth):
                done: Expr = yield _replacing(yes if when.value else no, part, by)
                return done
            one: Expr = yield _replacing(yes, part, by)
            other: Expr = yield _replacing(no, part, by)
            return one if one == other else Choose(when, one, other, kind)
        case Logic(operator=operator, left=left, right=right):
            one = yield _replacing(left, part, by)
            other = yield _replacing(right, part, by)
            ends = Truth(operator == "||")
            if ends in (one, other):
                return ends
            if isinstance(one, Truth):
                return other
            return one if isinstance(other, Truth) else Logic(operator, one, other)
        case Not(operand=operand):
            one = yield _replacing(operand, part, by)
            return Truth(not one.value) if isinstance(one, Truth) else Not(one)
        case Compare(operator=operator, left=left, right=right):
            one = yield _replacing(left, part, by)
            other = yield _replacing(right, part, by)
            known = isinstance(one, Const) and isinstance(other, Const) and operator in ("==", "!=")
            return Truth((one == other) == (operator == "==")) if known else Compare(operator, one, other)
        case Binary(operator=operator, left=left, right=right, kind=number):
            one = yield _replacing(left, part, by)
            other = yield _replacing(right, part, by)
            return Binary(operator, one, other, number)
        case Cast(operand=operand, kind=number):
            one = yield _replacing(operand, part, by)
            return Cast(one, number)
        case Overflows(left=left, right=right):
            one = yield _replacing(left, part, by)
            other = yield _replacing(right, part, by)
            return Overflows(one, other)
        case Unary(operator=operator, operand=operand, kind=number):
            one = yield _replacing(operand, part, by)
            return Unary(operator, one, number)
        case Concat(left=left, right=right, kind=number):
            one = yield _replacing(left, part, by)
            other = yield _replacing(right, part, by)
            return Concat(one, other, number)
        case Slice(operand=operand, high=high, low=low, kind=number):
            one = yield _replacing(operand, part, by)
            return Slice(one, high, low, number)
        case _:
            return expr
