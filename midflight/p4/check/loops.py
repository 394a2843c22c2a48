"""Checks loops (P4_16, section 12.8): `for` with a condition, and over ranges, stacks and lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.coerce import coerce
from midflight.p4.check.context import Context
from midflight.p4.check.expressions import expression, value
from midflight.p4.check.order import captured, in_order
from midflight.p4.check.scope import Local
from midflight.p4.check.typing import type_of
from midflight.p4.types import BOOL, Bits, ListType, StackType, TupleType, Type
from midflight.stackless import Walk

__all__ = ["Row", "counted", "over"]

Row = Callable[[Context, Iterable[s.Statement]], Walk[list[ir.Statement]]]
"""Checks statements in the current scope, and returns each after the statements that its expressions need."""


def counted(ctx: Context, node: s.For, row: Row) -> Walk[ir.Statement | None]:
    """Check a loop with a condition, and return it with the statements before it.

    P4Error if the condition is not a bool, and for the first error inside.
    """
    with ctx.scope.block():
        first: list[ir.Statement] = yield row(ctx, node.first)
        condition: ir.Expression
        before: list[ir.Statement]
        condition, before = yield captured(ctx, _condition(ctx, node.condition))
        step: list[ir.Statement] = yield row(ctx, node.step)
        body: ir.Block = yield _body(ctx, node.body, row)
    loop = ir.Loop(tuple(before), condition, body, tuple(step), place=node.place)
    return ir.Block((*first, loop), place=node.place)


def _condition(ctx: Context, node: s.Expression) -> Walk[ir.Expression]:
    made: ir.Expression = yield value(ctx, node, BOOL, "a for's condition")
    return made


def over(ctx: Context, node: s.ForIn, row: Row) -> Walk[ir.Statement | None]:
    """Check a loop over a range, a header stack or a list, and return it with the statements before it.

    The values are computed once, before the first round. P4Error if they are of another kind, or if the variable has a
    type that they do not convert to, and for the first error inside.
    """
    kind: Type = yield type_of(ctx, node.type)
    variable = ir.Variable(node.name, kind, node.place)
    first: list[ir.Statement]
    if node.last is not None:
        if not isinstance(kind, Bits):
            raise P4Error(f"a range needs a variable of type bit<W> or int<W>, not {kind}", place=node.type.place)
        what = f"the value of {node.name}"
        low, high = yield in_order(ctx, (value(ctx, each, kind, what) for each in (node.values, node.last)))
        first, loop = _through_range(variable, kind, low, high)
    else:
        values: ir.Expression = yield expression(ctx, node.values)
        first, loop = _through_elements(variable, values, f"the value of {node.name}")
    with ctx.scope.block():
        ctx.scope.declare(node.name, Local(variable), node.place)
        body: ir.Block = yield _body(ctx, node.body, row)
    inner = ir.Block((*loop.before, body), place=node.place)
    whole = ir.Loop((), loop.condition, inner, loop.step, place=node.place)
    return ir.Block((*first, whole), place=node.place)


def _body(ctx: Context, node: s.Statement, row: Row) -> Walk[ir.Block]:
    ctx.depth += 1
    ctx.loops += 1
    try:
        with ctx.scope.block():
            made: list[ir.Statement] = yield row(ctx, [node])
    finally:
        ctx.loops -= 1
        ctx.depth -= 1
    return ir.Block(tuple(made), place=node.place)


def _through_range(
    variable: ir.Variable, kind: Bits, low: ir.Expression, high: ir.Expression
) -> tuple[list[ir.Statement], ir.Loop]:
    """Return the statements before a loop from `low` to `high`, and the loop, whose `before` sets the variable.

    A flag ends the loop, because no number is larger than the largest of its type.
    """
    here = variable.place
    at, last, more = (ir.Variable(name, of, here) for name, of in (("at", kind), ("last", kind), ("more", BOOL)))
    position, end, going = (ir.VariableRef(each, each.type, place=here) for each in (at, last, more))
    first: list[ir.Statement] = [
        ir.Declare(at, low, place=here),
        ir.Declare(last, high, place=here),
        ir.Declare(more, ir.Binary("<=", position, end, BOOL, place=here), place=here),
    ]
    one = ir.Literal(1, kind, place=here)
    step = (
        ir.Assign(going, ir.Binary("!=", position, end, BOOL, place=here), place=here),
        ir.Assign(position, ir.Binary("+", position, one, kind, place=here), place=here),
    )
    return first, ir.Loop((ir.Declare(variable, position, place=here),), going, ir.Block(()), step)


def _through_elements(variable: ir.Variable, values: ir.Expression, what: str) -> tuple[list[ir.Statement], ir.Loop]:
    """Return the statements before a loop over a stack or list, and the loop, whose `before` sets the variable."""
    here, kind = variable.place, values.type
    number = Bits(32)
    at, copied = ir.Variable("at", number, here), ir.Variable("values", kind, here)
    position = ir.VariableRef(at, number, place=here)
    first: list[ir.Statement] = [ir.Declare(at, ir.Literal(0, number), place=here)]
    setting: list[ir.Statement] = [ir.Declare(variable, None, place=here)]
    target = ir.VariableRef(variable, variable.type, place=here)
    match kind:
        case StackType(element=element, size=size) if element == variable.type:
            first.append(ir.Declare(copied, values, place=here))
            whole = ir.VariableRef(copied, kind, place=here)
            setting.append(ir.Assign(target, ir.Index(whole, position, element, place=here), place=here))
        case TupleType() | ListType() if isinstance(values, ir.StructValue):
            size, cases = len(values.elements), []
            for index, each in enumerate(values.elements):
                kept = ir.Variable("element", variable.type, here)
                first.append(ir.Declare(kept, coerce(each, variable.type, what), place=here))
                chosen = ir.Assign(target, ir.VariableRef(kept, variable.type, place=here), place=here)
                cases.append(ir.Case((ir.Literal(index, number),), chosen))
            setting.append(ir.Switch(position, tuple(cases), place=here))
        case StackType(element=element):
            raise P4Error(f"{what} must be {variable.type}, not {element}", place=values.place)
        case _:
            raise P4Error(f"for takes a range, a header stack or a list, not {kind}", place=values.place)
    step = (ir.Assign(position, ir.Binary("+", position, ir.Literal(1, number), number, place=here), place=here),)
    more = ir.Binary("<", position, ir.Literal(size, number), BOOL, place=here)
    return first, ir.Loop(tuple(setting), more, ir.Block(()), step)
