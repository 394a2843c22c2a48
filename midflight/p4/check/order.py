"""Evaluation order: expressions that need statements to run before them, and the values that these may change."""

from __future__ import annotations

from collections.abc import Container, Generator, Iterable
from dataclasses import replace

from midflight.p4 import ir
from midflight.p4.check.context import Context
from midflight.stackless import Step, Walk

__all__ = ["captured", "in_order", "pinned", "stored"]


def captured(ctx: Context, step: Step[ir.Expression]) -> Step[tuple[ir.Expression, list[ir.Statement]]]:
    """Check an expression and return (value, statements that must run before it); `ctx.before` is left unchanged."""
    return _captured(ctx, step) if isinstance(step, Generator) else (step, [])


def _captured(ctx: Context, walk: Walk[ir.Expression]) -> Walk[tuple[ir.Expression, list[ir.Statement]]]:
    outer, ctx.before = ctx.before, []
    try:
        value: ir.Expression = yield walk
        return value, ctx.before
    finally:
        ctx.before = outer


def stored(ctx: Context, value: ir.Expression) -> ir.Expression:
    """Return a value that the statements that follow cannot change: copied to a new variable, unless it is constant."""
    if isinstance(value, ir.Literal):
        return value
    if isinstance(value, ir.StructValue):
        return replace(value, elements=tuple(stored(ctx, each) for each in value.elements))
    variable = ir.Variable("kept", value.type, value.place)
    ctx.before.append(ir.Declare(variable, value, place=value.place))
    return ir.VariableRef(variable, value.type, place=value.place)


def pinned(ctx: Context, target: ir.Expression) -> ir.Expression:
    """Return an lvalue whose indices are evaluated now, so that the statements that follow cannot change them."""
    around: list[ir.Member | ir.Slice | ir.Index] = []
    inner = target
    while isinstance(inner, ir.Member | ir.Slice | ir.Index):
        around.append(inner)
        inner = inner.base
    for each in reversed(around):
        if isinstance(each, ir.Index):
            inner = replace(each, base=inner, index=stored(ctx, each.index))
        else:
            inner = replace(each, base=inner)
    return inner


def in_order(
    ctx: Context,
    steps: Iterable[Step[ir.Expression]],
    written: Container[int] = (),
    checked: Iterable[ir.Expression] = (),
    copied: Container[int] = (),
) -> Walk[list[ir.Expression]]:
    """Check expressions that are evaluated left to right (P4_16, section 8.1), and return their values in order.

    The result begins with `checked`: values that stand to the left of all others. Where an expression needs statements
    before it, the values to its left are copied first, so that these statements cannot change them. `written` holds the
    positions of lvalues in the result. Of an lvalue, only the indices are copied. Those in `copied` are `inout`
    arguments: their values are copied as well.
    """
    made = list(checked)
    kept = 0
    outer, inner = ctx.before, list[ir.Statement]()
    ctx.before = inner
    try:
        for step in steps:
            value: ir.Expression = (yield step) if isinstance(step, Generator) else step
            if inner:
                ctx.before = outer
                for i in range(kept, len(made)):
                    made[i] = _copied(ctx, made[i]) if i in copied else _kept(ctx, made[i], i in written)
                kept = len(made)
                outer += inner
                ctx.before = inner = []
            made.append(value)
        return made
    finally:
        ctx.before = outer


def _kept(ctx: Context, value: ir.Expression, written: bool) -> ir.Expression:
    return pinned(ctx, value) if written else stored(ctx, value)


def _copied(ctx: Context, target: ir.Expression) -> ir.Expression:
    """Return an `inout` argument whose value is copied now."""
    target = pinned(ctx, target)
    return ir.CopyIn(target, stored(ctx, target), target.type, place=target.place)
