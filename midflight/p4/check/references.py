"""Checks references to actions in tables: in the list of actions, as the default action and in entries."""

from __future__ import annotations

from midflight.errors import P4Error
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.annotated import evaluated
from midflight.p4.check.arguments import accepts, passed
from midflight.p4.check.coerce import has_integer
from midflight.p4.check.context import Context
from midflight.p4.check.drafts import Draft
from midflight.p4.check.fold import is_literal
from midflight.p4.check.scope import closest
from midflight.p4.types import Direction
from midflight.stackless import Walk

__all__ = ["as_reference", "listed", "with_data"]


def _action_of(ctx: Context, node: d.ActionReference) -> ir.Action:
    """Return the action of a reference. Raises P4Error where the name is not an action."""
    entity = ctx.scope.lookup(node.name, node.top, node.place)
    if not isinstance(entity, ir.Action):
        actions = [name for name, each in ctx.scope.visible() if isinstance(each, ir.Action)]
        raise P4Error(f"{node.name} is not an action", place=node.place, hint=closest(node.name, actions))
    return entity


def listed(ctx: Context, node: d.ActionReference) -> Walk[ir.ActionRef]:
    """Check a reference in a table's list of actions, which sets the parameters that have a direction, and return it.

    P4Error if there is no such action, or if the arguments do not fit these parameters.
    """
    action = _action_of(ctx, node)
    directed = [each for each in action.parameters if each.direction is not Direction.NONE]
    given = node.arguments or ()
    if not accepts(ctx, directed, given):
        raise P4Error(
            f"{node.name} takes {len(directed)} argument{'s' * (len(directed) != 1)} here, not {len(given)}",
            place=node.place,
            hint="Set the parameters that have a direction here; the control plane sets the others.",
        )
    ctx.state.copies.take(action, node.name, node.place)
    annotations: dict[str, str] = yield evaluated(ctx, node.annotations)
    outer, ctx.before, ctx.binding = ctx.before, [], True
    bound: tuple[ir.Expression, ...] = yield passed(ctx, directed, given)
    before, ctx.before, ctx.binding = tuple(ctx.before), outer, False
    return ir.ActionRef(action, bound, "tableonly" in annotations, "defaultonly" in annotations, annotations, before)


def with_data(
    ctx: Context, node: d.ActionReference, draft: Draft, table: d.Table
) -> Walk[tuple[ir.ActionRef, tuple[int, ...]]]:
    """Check a reference in a default action or an entry; return (reference in the table's list, action data).

    The data are the values of the parameters without a direction, in order. Raises P4Error for an action that the table
    does not list, for arguments that do not fit or differ from those in the table's list, and for data that is not
    known at compile time.
    """
    action = _action_of(ctx, node)
    reference = next((each for each in draft.actions if each.action is action), None)
    if reference is None:
        hint = closest(node.name, [each.action.name.rpartition(".")[2] for each in draft.actions])
        raise P4Error(
            f"{node.name} is not among the actions of {table.name}",
            place=node.place,
            hint=hint or "Add it to the table's actions.",
        )
    data = action.data
    given = list(node.arguments or ())
    if len(given) == len(action.parameters) and len(given) != len(data):
        bound, given = given[: len(given) - len(data)], given[len(given) - len(data) :]
        yield _same(ctx, reference, bound)
    if not accepts(ctx, data, given):
        raise P4Error(
            f"{node.name} takes {len(data)} argument{'s' * (len(data) != 1)}, not {len(given)}", place=node.place
        )
    values: list[int] = []
    checked: tuple[ir.Expression, ...] = yield passed(ctx, data, given)
    for parameter, value in zip(data, checked, strict=True):
        if not is_literal(value) or has_integer(value.type):
            raise P4Error(f"{parameter.variable.name} must be known at compile time", place=value.place)
        values.append(int(value.value))
    return reference, tuple(values)


def _same(ctx: Context, reference: ir.ActionRef, given: list[s.Argument]) -> Walk[None]:
    """Raise P4Error if the arguments for parameters with a direction are not those in the table's list of actions."""
    directed = [each for each in reference.action.parameters if each.direction is not Direction.NONE]
    outer, ctx.before = ctx.before, []
    repeated: tuple[ir.Expression, ...] = yield passed(ctx, directed, given)
    ctx.before = outer
    for argument, one, other in zip(given, repeated, reference.bound, strict=True):
        if one != other and not reference.before:
            raise P4Error("this argument differs from that in the list of actions", place=argument.place)


def as_reference(node: s.Expression) -> d.ActionReference:
    """Return the expression of the property `default_action` as a reference. Raises P4Error if it is not an action."""
    match node:
        case s.Name():
            return d.ActionReference(node.place, node.name, node.top, None)
        case s.Call(callee=s.Name() as name, arguments=arguments):
            return d.ActionReference(name.place, name.name, name.top, arguments)
    raise P4Error("default_action must be an action", place=node.place, hint="Write drop(), for example.")
