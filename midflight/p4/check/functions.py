"""Checks functions that the program defines; each call is inlined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from midflight.errors import P4Error
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.arguments import argument, bind, ordered
from midflight.p4.check.coerce import has_string
from midflight.p4.check.context import Context
from midflight.p4.check.fold import is_literal
from midflight.p4.check.order import pinned
from midflight.p4.check.returns import Returns, lower, when
from midflight.p4.check.scope import Constant, Local, Named, Scope
from midflight.p4.check.statements import row
from midflight.p4.check.typing import type_of
from midflight.p4.types import BOOL, VOID, Direction, Integer, Type
from midflight.stackless import Walk, in_turn

__all__ = ["check_alone", "inline"]


def inline(ctx: Context, function: d.Function, node: s.Call) -> Walk[ir.Expression]:
    """Inline a function call before the current statement and return its result, a variable or a void literal.

    Arguments are copied in, and `out` and `inout` arguments copied out, as P4_16, section 6.8, defines. Raises P4Error
    for recursion, for arguments that do not fit, for too many copies of functions, and for the first error inside, such
    as a path without a return.
    """
    prototype = function.prototype
    if prototype.name in ctx.state.calling:
        raise P4Error(f"{prototype.name} calls itself, which P4 does not allow", place=node.place)
    ctx.state.copies.take(function, prototype.name, node.place)
    given = ordered(prototype.parameters, node.arguments, node.place)
    scope = Scope(ctx.scope.top)
    bound: dict[str, Type] = yield bind(ctx, prototype, node, given)
    for name, kind in bound.items():
        scope.declare(name, Named(kind), node.place)
    inner = Context(ctx.state, scope, "function", prototype.name, ctx.in_parser)
    after: list[ir.Statement] = []
    variables: list[ir.Variable | Constant] = []
    for parameter, each in zip(prototype.parameters, given, strict=True):
        kind = yield type_of(inner, parameter.type)
        direction = Direction(parameter.direction)
        value: ir.Expression = yield argument(ctx, each, kind, direction, f"{prototype.name}'s {parameter.name}")
        if isinstance(kind, Integer):
            variables.append(_constant(parameter, value))
            continue
        if direction in (Direction.OUT, Direction.INOUT):
            value = pinned(ctx, value)
        variable = ir.Variable(parameter.name, kind, parameter.place)
        variables.append(variable)
        ctx.before.append(ir.Declare(variable, None if direction is Direction.OUT else value, place=node.place))
        if direction in (Direction.OUT, Direction.INOUT):
            after.append(ir.Assign(value, ir.VariableRef(variable, kind), place=node.place))
    written: list[ir.Statement] = yield _written_out(inner, function, variables)
    ctx.before += written
    ctx.before += after
    if inner.result is None:
        return ir.Literal(0, VOID, place=node.place)
    return ir.VariableRef(inner.result, inner.result.type, place=node.place)


def _constant(parameter: d.Parameter, value: ir.Expression) -> Constant:
    """Return the value of a parameter of type `int`, which p4c takes without a direction only."""
    if parameter.direction:
        raise P4Error(f"{parameter.name} has the type int, so it cannot have a direction", place=parameter.place)
    if not is_literal(value):
        raise P4Error(f"{parameter.name} needs a value known at compile time", place=value.place)
    return Constant(value)


def check_alone(ctx: Context, function: d.Function, given: Mapping[str, Type] = MappingProxyType({})) -> Walk[None]:
    """Check a function that is never called, and discard the result.

    `given` are its type arguments by the names of the parameters. Raises P4Error for the first error in it.
    """
    prototype = function.prototype
    inner = Context(ctx.state, Scope(ctx.scope.top), "function", prototype.name)
    for name, kind in given.items():
        inner.scope.declare(name, Named(kind), prototype.place)
    kinds: list[Type] = yield in_turn(type_of(inner, each.type) for each in prototype.parameters)
    variables = [
        ir.Variable(each.name, kind, each.place) for each, kind in zip(prototype.parameters, kinds, strict=True)
    ]
    yield _written_out(inner, function, variables)


def _written_out(
    ctx: Context, function: d.Function, variables: Sequence[ir.Variable | Constant]
) -> Walk[list[ir.Statement]]:
    """Check a function's body with variables for its parameters and return the statements, without returns.

    Sets `ctx.result` to the variable for the return value. Raises P4Error where a function with a result can end
    without a return.
    """
    prototype, body = function.prototype, function.body
    assert body is not None
    with ctx.scope.block():
        for parameter, variable in zip(prototype.parameters, variables, strict=True):
            if isinstance(variable, Constant):
                ctx.scope.declare(parameter.name, variable, parameter.place)
                continue
            fixed = parameter.direction in ("", "in")
            reason = f"{parameter.name} is an 'in' parameter and cannot be written" if fixed else ""
            ctx.scope.declare(parameter.name, Local(variable, reason, True), parameter.place)
        kind: Type = (yield type_of(ctx, prototype.result)) if prototype.result is not None else VOID
        made: list[ir.Statement] = []
        if has_string(kind):
            raise P4Error(f"a function cannot return a {kind}", place=prototype.place)
        if kind != VOID:
            ctx.result = ir.Variable(prototype.name, kind, prototype.place)
            made.append(ir.Declare(ctx.result, None, place=prototype.place))
        ctx.state.inlined[id(function)] = function
        ctx.state.calling[prototype.name] = None
        checked: tuple[ir.Statement, ...] = yield row(ctx, body.body)
        del ctx.state.calling[prototype.name]
    flag = ir.Variable(f"{prototype.name}_returned", BOOL, function.place)
    returns = Returns(flag, ctx.state.returning)
    if kind != VOID and (yield when(returns, checked)) != "always":
        raise P4Error(f"{prototype.name} can end without a return", place=prototype.place)
    lowered: ir.Block = yield lower(returns, checked, body.place)
    if returns.used:
        made.append(ir.Declare(flag, ir.Literal(0, BOOL), place=function.place))
    return [*made, lowered]
