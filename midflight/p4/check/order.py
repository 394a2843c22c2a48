"""What an expression needs done before its statement, and the order in which its parts are evaluated."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace

from midflight.p4 import ir
from midflight.p4.check.context import Context
from midflight.stackless import Walk

__all__ = ["captured", "in_order", "pinned", "stored"]


def captured(ctx: Context, walk: Walk[ir.Expression]) -> Walk[tuple[ir.Expression, list[ir.Statement]]]:
    """Check an expression, and keep the statements that it needs before it apart."""
    outer, ctx.before = ctx.before, []
    try:
        value: ir.Expression = yield walk
        return value, ctx.before
    finally:
        ctx.before = outer


def stored(ctx: Context, value: ir.Expression) -> ir.Expression:
    """Return a value as it is now, whatever the statements that follow may do."""
    if isinstance(value, ir.Literal):
        return value
    if isinstance(value, ir.StructValue):
        return replace(value, elements=tuple(stored(ctx, each) for each in value.elements))
    variable = ir.Variable("kept", value.type, value.place)
    ctx.before.append(ir.Declare(variable, value, place=value.place))
    return ir.VariableRef(variable, value.type, place=value.place)


def pinned(ctx: Context, target: ir.Expression) -> ir.Expression:
    """Return a place that can be written as it is now: the indices in it are computed once, and here."""
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
    walks: Iterable[Walk[ir.Expression]],
    written: Container[int] = (),
    checked: Iterable[ir.Expression] = (),
) -> Walk[list[ir.Expression]]:
    """Check expressions that are evaluated left to right; those at the positions `written` are written to.

    Where one needs statements before it, those to its left are kept as they were before these. What has been `checked`
    already stands to the left of all.
    """
    made = list(checked)
    kept = 0
    for walk in walks:
        value: ir.Expression
        before: list[ir.Statement]
        value, before = yield captured(ctx, walk)
        if before:
            for i in range(kept, len(made)):
                made[i] = pinned(ctx, made[i]) if i in written else stored(ctx, made[i])
            kept = len(made)
            ctx.before += before
        made.append(value)
    return made
