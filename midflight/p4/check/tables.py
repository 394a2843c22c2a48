"""Checks tables and their properties."""

from __future__ import annotations

from functools import partial

from midflight.errors import P4Error, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.annotated import evaluated
from midflight.p4.check.context import Context, annotations_of
from midflight.p4.check.drafts import Draft
from midflight.p4.check.entries import entries
from midflight.p4.check.expressions import constant, expression
from midflight.p4.check.keys import key
from midflight.p4.check.limits import MOST
from midflight.p4.check.order import in_order
from midflight.p4.check.parameters import qualified
from midflight.p4.check.references import as_reference, listed, with_data
from midflight.p4.check.scope import closest
from midflight.p4.check.typing import constant_int
from midflight.p4.types import BOOL
from midflight.stackless import Walk, in_turn

__all__ = ["table"]

DIRECT = {"counters": "direct_counter", "meters": "direct_meter"}


def table(ctx: Context, node: d.Table) -> Walk[ir.Table]:
    """Check a table's declaration and return the table.

    Keys and actions are checked before the other properties, and entries last, independent of source order. Raises
    P4Error for a duplicate property, a table without actions or without a default action where NoAction is not
    declared, an invalid value of a property, selector keys that differ from those of another table with the same
    selector, and for the first error inside. An unknown property, and entries next to an implementation, only cause a
    warning.
    """
    name = qualified(ctx.name, node.name, node.annotations)
    draft = Draft()
    seen: set[str] = set()
    for each in sorted(node.properties, key=_order):
        if (title := _title(each)) in seen:
            raise P4Error(f"table {node.name} declares {title} twice", place=each.place)
        seen.add(title)
        yield _property(ctx, each, draft, node, name)
    if "actions" not in seen:
        raise P4Error(f"table {node.name} has no actions", place=node.place)
    annotations: dict[str, str] = yield evaluated(ctx, node.annotations)
    default = draft.default or _no_action(ctx, draft, node.place)
    if draft.entries and draft.implementation:
        ctx.state.warn("entries of a table with an implementation have no effect", draft.entries.place)
        draft.entries = None
    made: tuple[ir.TableEntry, ...] = (yield entries(ctx, draft, node)) if draft.entries else ()
    if draft.implementation is not None and draft.implementation.kind == "action_selector":
        _same_inputs(ctx, draft, node)
    return ir.Table(
        name,
        draft.keys,
        tuple(draft.actions),
        default,
        draft.default_arguments,
        draft.default_const,
        made,
        draft.entries is not None and draft.entries.const,
        draft.size,
        tuple(draft.direct),
        annotations,
        node.place,
        draft.implementation,
        draft.listed,
        draft.before,
        draft.idle_timeout,
    )


def _property(ctx: Context, node: d.Property, draft: Draft, table: d.Table, name: str) -> Walk[None]:
    match node:
        case d.TableKey(keys=keys):
            outer, ctx.before = ctx.before, []
            matched: list[ir.Expression] = yield in_order(ctx, (expression(ctx, each.expression) for each in keys))
            draft.before, ctx.before = tuple(ctx.before), outer
            checked: list[ir.Key] = yield in_turn(map(partial(key, ctx), keys, matched))
            draft.listed = tuple(checked)
            draft.keys = tuple(each for each in checked if each.kind != "selector")
        case d.TableActions(actions=actions):
            draft.actions = yield in_turn(listed(ctx, each) for each in actions)
        case d.TableEntries():
            draft.entries = node
        case d.TableProperty(name="default_action"):
            yield _default(ctx, node, draft, table)
        case d.TableProperty(name="size"):
            draft.size = yield constant_int(ctx, node.value, "a table's size")
            if draft.size < 0:
                raise P4Error("a table's size cannot be negative", place=node.value.place)
            if draft.size > MOST:
                raise P4Error(f"a table has at most {MOST} entries", place=node.value.place)
            draft.size = draft.size or 1024
        case d.TableProperty(name="largest_priority_wins"):
            value: ir.Expression = yield constant(ctx, node.value, BOOL, "largest_priority_wins")
            draft.largest_wins = isinstance(value, ir.Literal) and bool(value.value)
        case d.TableProperty(name="priority_delta"):
            draft.priority_delta = yield constant_int(ctx, node.value, "priority_delta")
            if draft.priority_delta < 1:
                raise P4Error("priority_delta must be positive", place=node.value.place)
        case d.TableProperty(name=title) if title in DIRECT:
            instance: ir.Instance = yield _direct(ctx, node, name)
            draft.direct.append(instance)
        case d.TableProperty(name="implementation"):
            draft.implementation = yield _implementation(ctx, node, name)
        case d.TableProperty(name="support_timeout"):
            wanted: ir.Expression = yield constant(ctx, node.value, BOOL, "support_timeout")
            draft.idle_timeout = isinstance(wanted, ir.Literal) and bool(wanted.value)
        case d.TableProperty(name=title):
            known = [
                "default_action",
                "size",
                "implementation",
                "largest_priority_wins",
                "priority_delta",
                "support_timeout",
                *DIRECT,
            ]
            hint = closest(title, known)
            ctx.state.warn(f"{title} is not a table property and has no effect", node.place, hint)


def _default(ctx: Context, node: d.TableProperty, draft: Draft, table: d.Table) -> Walk[None]:
    reference = as_reference(node.value)
    draft.default, draft.default_arguments = yield with_data(ctx, reference, draft, table)
    draft.default_const = node.const
    assert draft.default is not None
    if draft.default.table_only:
        raise P4Error(f"{reference.name} is @tableonly, so it cannot be the default", place=reference.place)


def _no_action(ctx: Context, draft: Draft, place: Place) -> ir.ActionRef:
    """Return the default action of a table that declares none: NoAction, which is added to its actions if needed."""
    action = ctx.scope.top.find("NoAction")
    if not isinstance(action, ir.Action):
        raise P4Error("the table needs a default_action", place=place, hint="Or include core.p4 for NoAction.")
    for each in draft.actions:
        if each.action is action:
            return each
    reference = ir.ActionRef(action, default_only=True, annotations={"defaultonly": ""})
    draft.actions.append(reference)
    return reference


def _direct(ctx: Context, node: d.TableProperty, table: str) -> Walk[ir.Instance]:
    """Return the direct counter or meter that a property names, or the counter that it creates.

    The name of a counter without `@name` is `counter`, in its table, as p4c has it in BMv2's JSON.
    """
    kind = DIRECT[node.name]
    if isinstance(node.value, s.Name):
        entity = ctx.scope.lookup(node.value.name, node.value.top, node.value.place)
        if isinstance(entity, ir.Instance) and entity.kind == kind:
            return entity
    if isinstance(node.value, s.Construct) and kind == "direct_counter":
        name = annotations_of(node.annotations).get("name")
        full = f"{table}.counter" if name is None else name.strip('"')
        made: ir.Instance | ir.Control | ir.Parser = yield ctx.state.checks.create(
            ctx, node.value, full, node.annotations
        )
        if isinstance(made, ir.Instance) and made.kind == kind:
            return made
    hint = f"Declare {kind}(...) above, so that actions can read it." if kind == "direct_meter" else ""
    raise P4Error(f"{node.name} must name a {kind}", place=node.value.place, hint=hint)


def _implementation(ctx: Context, node: d.TableProperty, table: str) -> Walk[ir.Instance]:
    """Return the action profile or selector that a table names or creates. A created one has exactly its `@name`."""
    made: ir.Instance | ir.Control | ir.Parser | None = None
    if isinstance(node.value, s.Name):
        entity = ctx.scope.lookup(node.value.name, node.value.top, node.value.place)
        made = entity if isinstance(entity, ir.Instance) else None
    elif isinstance(node.value, s.Construct):
        name = annotations_of(node.annotations).get("name")
        full = f"{table}.implementation" if name is None else name.strip('"')
        made = yield ctx.state.checks.create(ctx, node.value, full, node.annotations)
    if isinstance(made, ir.Instance) and made.kind in ("action_profile", "action_selector"):
        return made
    raise P4Error("implementation must name an action_profile or action_selector", place=node.value.place)


def _same_inputs(ctx: Context, draft: Draft, node: d.Table) -> None:
    """Raise P4Error if another table has the same action selector with other `selector` keys."""
    assert draft.implementation is not None
    inputs = [each.expression for each in draft.listed if each.kind == "selector"]
    for other in ctx.state.tables.values():
        if other.implementation is draft.implementation and inputs != [each.expression for each in other.selector]:
            raise P4Error(f"{other.name} has the same action selector, but other selector keys", place=node.place)


def _order(node: d.Property) -> int:
    return {"key": 0, "actions": 1, "entries": 9}.get(_title(node), 5)


def _title(node: d.Property) -> str:
    match node:
        case d.TableKey():
            return "key"
        case d.TableActions():
            return "actions"
        case d.TableEntries():
            return "entries"
    return node.name
