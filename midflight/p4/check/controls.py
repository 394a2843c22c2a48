"""Checks controls: local declarations, actions, tables and the apply block."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.errors import P4Error
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.annotated import evaluated
from midflight.p4.check.context import Context, refuse
from midflight.p4.check.parameters import bind_constructor, declare_parameters, qualified
from midflight.p4.check.scope import Entity, Scope
from midflight.p4.check.statements import block, with_before
from midflight.p4.check.tables import table
from midflight.p4.types import Bits, Bool, Direction, EnumType, ErrorType, Type
from midflight.stackless import Walk

__all__ = ["action", "control"]


def action(ctx: Context, node: d.Action) -> Walk[ir.Action]:
    """Check an action's declaration, register it by its control-plane name, and return it.

    With `@variant`, which BMv2's JSON needs, another action of that name may exist, for other tables.

    Raises P4Error if a parameter with a direction follows one without, if one without has a type that the control plane
    cannot set, if the control-plane name is taken, and for the first error inside.
    """
    inner = Context(ctx.state, Scope(ctx.scope), "action", ctx.name)
    parameters: tuple[ir.Parameter, ...] = yield declare_parameters(inner, node.parameters)
    data = False
    for each in parameters:
        if data and each.direction is not Direction.NONE:
            raise P4Error(
                f"{each.variable.name} has a direction, and a parameter before it has none",
                place=each.variable.place,
                hint="Parameters without a direction are set by the control plane and come last.",
            )
        data |= each.direction is Direction.NONE
        if each.direction is Direction.NONE and not _set_by_controller(each.variable.type):
            hint = "It has no direction, so the control plane sets it. Write in, out or inout otherwise."
            message = f"{each.variable.name} must be a number, a bool or an enum, not {each.variable.type}"
            raise P4Error(message, place=each.variable.place, hint=hint)
        if each.direction is Direction.NONE and each.variable.type == Bits(0):
            ctx.state.postpone(refuse("action data of bit<0>", node.place, plural=False))
    name = qualified(ctx.name, node.name, node.annotations)
    body: ir.Block = yield block(inner, node.body)
    annotations: dict[str, str] = yield evaluated(ctx, node.annotations)
    action = ir.Action(name, parameters, body, annotations, node.place)
    if "variant" in annotations and name in ctx.state.actions:
        ctx.state.actions[f"{name} {len(ctx.state.actions)}"] = action
    else:
        ctx.state.add(ctx.state.actions, name, action, node.place)
    return action


def _set_by_controller(kind: Type) -> bool:
    return isinstance(kind, Bits | Bool | EnumType | ErrorType)


def control(ctx: Context, node: d.Control, values: Sequence[Entity]) -> Walk[ir.Control]:
    """Check a control for one instance, with the values of its constructor parameters, and return the instance.

    `ctx` is a new context with the instance's control-plane name. Raises P4Error for a control type without a body, for
    recursion, and for the first error inside.
    """
    if node.body is None:
        raise P4Error(f"{node.name} is a control type: it has no body", place=node.place)
    ctx.state.used.add(node.name)
    ctx.state.make(node.name, node.place)
    bind_constructor(ctx, node.constructor, values)
    parameters: tuple[ir.Parameter, ...] = yield declare_parameters(ctx, node.parameters)
    local: list[ir.Statement] = []
    with ctx.scope.block():
        for each in node.locals:
            local += yield _local(ctx, each)
        body: ir.Block = yield block(ctx, node.body)
    del ctx.state.making[node.name]
    return ir.Control(ctx.name, parameters, tuple(local), body, node.place)


def _local(ctx: Context, node: d.Declaration) -> Walk[list[ir.Statement]]:
    match node:
        case s.Constant() | s.Variable() | s.Instantiation():
            made: list[ir.Statement] = yield with_before(ctx, [node])
            return made
        case d.Action():
            declared: ir.Action = yield action(ctx, node)
            ctx.scope.declare(node.name, declared, node.place)
        case d.Table():
            checked: ir.Table = yield table(ctx, node)
            ctx.state.add(ctx.state.tables, checked.name, checked, node.place)
            ctx.scope.declare(node.name, checked, node.place)
        case _:
            raise P4Error("this cannot be declared in a control", place=node.place)
    return []
