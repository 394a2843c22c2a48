"""Tables: keys, actions, entries and properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from midflight.errors import P4Error, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.coerce import has_integer
from midflight.p4.check.instances import qualified
from midflight.p4.check.operators import is_literal
from midflight.p4.check.parsers import KeysetChecker
from midflight.p4.check.scope import closest
from midflight.p4.check.typing import annotations_of, refuse
from midflight.p4.types import (
    BOOL,
    Bits,
    Bool,
    Direction,
    EnumType,
    ErrorType,
    HeaderType,
    StructType,
    Varbit,
    width_of,
)

__all__ = ["TableChecker"]

REFUSED_PROPERTIES = {
    "implementation": "action profiles and selectors",
    "action_profile": "action profiles and selectors",
    "support_timeout": "idle timeouts of entries",
}
DIRECT = {"counters": "direct_counter", "meters": "direct_meter"}


@dataclass(slots=True)
class _Draft:
    """A table as its properties are read."""

    keys: tuple[ir.Key, ...] = ()
    actions: list[ir.ActionRef] = field(default_factory=list)
    default: ir.ActionRef | None = None
    default_arguments: tuple[int, ...] = ()
    default_const: bool = False
    entries: d.TableEntries | None = None
    size: int = 1024
    direct: list[ir.Instance] = field(default_factory=list)
    largest_wins: bool = True
    priority_delta: int = 1


class TableChecker(KeysetChecker):
    """Checks tables."""

    def table(self, node: d.Table) -> ir.Table:
        """Check a table and return it."""
        name = qualified(self.prefix, node.name, node.annotations)
        draft = _Draft()
        seen: set[str] = set()
        for each in sorted(node.properties, key=_order):
            if (title := _title(each)) in seen:
                raise P4Error(f"table {node.name} has {title} twice", place=each.place)
            seen.add(title)
            self._property(each, draft, node)
        if "actions" not in seen:
            raise P4Error(f"table {node.name} has no actions", place=node.place)
        default = draft.default or self._no_action(draft, node.place)
        entries = self._entries(draft, node) if draft.entries else ()
        return ir.Table(
            name,
            draft.keys,
            tuple(draft.actions),
            default,
            draft.default_arguments,
            draft.default_const,
            entries,
            draft.entries is not None and draft.entries.const,
            draft.size,
            tuple(draft.direct),
            annotations_of(node.annotations),
            node.place,
        )

    def _property(self, node: d.Property, draft: _Draft, table: d.Table) -> None:
        match node:
            case d.TableKey(keys=keys):
                draft.keys = tuple(self._key(each) for each in keys)
            case d.TableActions(actions=actions):
                draft.actions = [self._listed(each) for each in actions]
            case d.TableEntries():
                draft.entries = node
            case d.TableProperty(name="default_action"):
                self._default(node, draft, table)
            case d.TableProperty(name="size"):
                draft.size = self.constant_int(node.value, "a table's size")
                if draft.size < 0:
                    raise P4Error("a table's size cannot be negative", place=node.value.place)
                draft.size = draft.size or 1024
            case d.TableProperty(name="largest_priority_wins"):
                value = self.constant(node.value, BOOL, "largest_priority_wins")
                draft.largest_wins = isinstance(value, ir.Literal) and bool(value.value)
            case d.TableProperty(name="priority_delta"):
                draft.priority_delta = self.constant_int(node.value, "priority_delta")
                if draft.priority_delta < 1:
                    raise P4Error("priority_delta must be positive", place=node.value.place)
            case d.TableProperty(name=name) if name in DIRECT:
                draft.direct.append(self._direct(node))
            case d.TableProperty(name=name) if name in REFUSED_PROPERTIES:
                raise refuse(REFUSED_PROPERTIES[name], node.place)
            case d.TableProperty(name=name):
                known = ["default_action", "size", "largest_priority_wins", "priority_delta", *DIRECT]
                hint = closest(name, known)
                self.state.warn(f"there is no table property {name}, so it does nothing", node.place, hint)

    # Keys and actions ------------------------------------------------------------------------------------------------

    def _key(self, node: d.Key) -> ir.Key:
        expression = self.expression(node.expression)
        kind = expression.type
        if isinstance(kind, ErrorType):
            raise refuse("keys of type error", node.place)
        if isinstance(kind, Varbit) or not isinstance(kind, Bits | Bool | EnumType):
            raise P4Error(f"a key must be a number, a bool or an enum, not {kind}", place=node.place)
        if node.kind not in self.state.match_kinds:
            hint = closest(node.kind, self.state.match_kinds)
            raise P4Error(f"there is no match kind {node.kind}", place=node.kind_place, hint=hint)
        if node.kind == "selector":
            raise refuse("action profiles and selectors", node.kind_place)
        if node.kind not in ("exact", "lpm", "ternary", "range", "optional"):
            raise refuse(f"the match kind {node.kind}", node.kind_place, plural=False)
        given = annotations_of(node.annotations).get("name")
        name = given.strip().strip('"') if given is not None else self._key_name(node.expression)
        if not name:
            raise P4Error("this key needs a name", place=node.place, hint='Add @name("...") behind the match kind.')
        return ir.Key(expression, node.kind, name, annotations_of(node.annotations))

    def _key_name(self, node: s.Expression) -> str:
        """Return the control-plane name of a key as its expression gives it, or nothing where it gives none."""
        match node:
            case s.Name(name=name, top=top):
                return "." + name if top else name
            case s.Member(base=base, member=member):
                return self._joined(base, f".{self._field_name(base, member)}")
            case s.Index(base=base, index=index):
                return self._joined(base, f"[{self.constant_int(index, 'a key')}]")
            case s.Slice(base=base, high=high, low=low):
                ends = [self.constant_int(each, "a slice's bit") for each in (high, low)]
                return self._joined(base, f"[{ends[0]}:{ends[1]}]")
            case s.Call(callee=s.Member(base=base, member="isValid"), arguments=()):
                return self._joined(base, ".$valid$")
            case s.Cast(operand=operand):
                return self._key_name(operand)
            case s.Binary(operator="&", left=left, right=s.Number(value=value)):
                return self._joined(left, f" & {value:#x}")
        return ""

    def _joined(self, base: s.Expression, rest: str) -> str:
        name = self._key_name(base)
        return name and name + rest

    def _field_name(self, base: s.Expression, member: str) -> str:
        """Return a field's name, or what its `@name` puts in its place."""
        kind = self.probe(base).type
        each = kind.field(member) if isinstance(kind, StructType | HeaderType) else None
        given = each.annotations.get("name") if each is not None else None
        return member if given is None else given.strip().strip('"')

    def action_of(self, node: d.ActionReference) -> ir.Action:
        """Return the action that a table names."""
        entity = self.find(node.name, node.top, node.place)
        if not isinstance(entity, ir.Action):
            actions = [name for name, each in self.scope.visible() if isinstance(each, ir.Action)]
            raise P4Error(f"{node.name} is not an action", place=node.place, hint=closest(node.name, actions))
        return entity

    def _listed(self, node: d.ActionReference) -> ir.ActionRef:
        action = self.action_of(node)
        directed = [each for each in action.parameters if each.direction is not Direction.NONE]
        given = node.arguments or ()
        if not self.fits(directed, given):
            raise P4Error(
                f"{node.name} takes {len(directed)} argument{'s' * (len(directed) != 1)} here, not {len(given)}",
                place=node.place,
                hint="The list gives the parameters that have a direction; the control plane gives the others.",
            )
        annotations = annotations_of(node.annotations)
        return ir.ActionRef(
            action, self.arguments(directed, given), "tableonly" in annotations, "defaultonly" in annotations
        )

    def _reference(
        self, node: d.ActionReference, draft: _Draft, table: d.Table
    ) -> tuple[ir.ActionRef, tuple[int, ...]]:
        """Check an action with its data, as a default action or an entry gives it."""
        action = self.action_of(node)
        listed = next((each for each in draft.actions if each.action is action), None)
        if listed is None:
            hint = closest(node.name, [each.action.name.rpartition(".")[2] for each in draft.actions])
            raise P4Error(
                f"{node.name} is not among the actions of {table.name}",
                place=node.place,
                hint=hint or "Add it to them.",
            )
        data = action.data
        given = list(node.arguments or ())
        if len(given) == len(action.parameters) and len(given) != len(data):
            given = given[len(given) - len(data) :] if data else []
        if not self.fits(data, given):
            raise P4Error(
                f"{node.name} takes {len(data)} argument{'s' * (len(data) != 1)}, not {len(given)}", place=node.place
            )
        values = []
        for parameter, value in zip(data, self.arguments(data, given), strict=True):
            if not is_literal(value) or has_integer(value.type):
                raise P4Error(f"{parameter.variable.name} must be known at compile time", place=value.place)
            values.append(int(value.value))
        return listed, tuple(values)

    def _default(self, node: d.TableProperty, draft: _Draft, table: d.Table) -> None:
        reference = _as_reference(node.value)
        draft.default, draft.default_arguments = self._reference(reference, draft, table)
        draft.default_const = node.const
        if draft.default.table_only:
            raise P4Error(f"{reference.name} is @tableonly, so it cannot be the default", place=reference.place)

    def _no_action(self, draft: _Draft, place: Place) -> ir.ActionRef:
        """Return the default of a table that names none: NoAction, added to its actions where it is not listed."""
        action = self.scope.top.find("NoAction")
        if not isinstance(action, ir.Action):
            raise P4Error("the table needs a default_action", place=place, hint="Or include core.p4 for NoAction.")
        for each in draft.actions:
            if each.action is action:
                return each
        reference = ir.ActionRef(action, default_only=True)
        draft.actions.append(reference)
        return reference

    def _direct(self, node: d.TableProperty) -> ir.Instance:
        kind = DIRECT[node.name]
        if isinstance(node.value, s.Name):
            entity = self.find(node.value.name, node.value.top, node.value.place)
            if isinstance(entity, ir.Instance) and entity.kind == kind:
                return entity
        if isinstance(node.value, s.Construct):
            raise refuse(f"a {kind} made inside a table", node.place, f"Declare {kind}(...) name; above.", plural=False)
        raise P4Error(f"{node.name} must name a {kind}", place=node.value.place)

    # Entries ---------------------------------------------------------------------------------------------------------

    def _entries(self, draft: _Draft, table: d.Table) -> tuple[ir.TableEntry, ...]:
        assert draft.entries is not None
        if not draft.keys:
            raise P4Error(f"table {table.name} has entries but no key", place=draft.entries.place)
        nodes = draft.entries.entries
        ranked = any(key.kind in ("ternary", "range", "optional") for key in draft.keys)
        priorities = self._priorities(nodes, draft) if ranked else [0] * len(nodes)
        made = []
        for node, priority in zip(nodes, priorities, strict=True):
            kinds = [key.expression.type for key in draft.keys]
            keys = self.keyset(node.keyset, kinds, f"the key of {table.name}")
            keys = tuple(_fitted(each, key, node.place) for each, key in zip(keys, draft.keys, strict=True))
            action, arguments = self._reference(node.action, draft, table)
            const = node.const or draft.entries.const
            made.append(ir.TableEntry(keys, action, arguments, priority, const))
        if not ranked:
            _all_differ(made, nodes)
        return tuple(made)

    def _priorities(self, nodes: Sequence[d.Entry], draft: _Draft) -> list[int]:
        """Number the entries as section 14.2.1.4 says, then turn the order where the smallest priority wins."""
        delta = draft.priority_delta
        if any("priority" in annotations_of(each.annotations) for each in nodes):
            return self._annotated(nodes)
        if nodes and nodes[0].priority is None and any(each.priority is not None for each in nodes):
            hint = "Later ones may leave it out: they count on from the one before."
            raise P4Error("the first entry needs a priority, since others have one", place=nodes[0].place, hint=hint)
        result: list[int] = []
        for node in nodes:
            if node.priority is not None:
                number = self.constant_int(node.priority, "a priority")
                if number < 1:
                    raise P4Error("a priority must be positive", place=node.priority.place)
            elif not result:
                number = (len(nodes) - 1) * delta + 1 if draft.largest_wins else 1
            else:
                number = result[-1] - delta if draft.largest_wins else result[-1] + delta
            if number < 1:
                raise P4Error(f"this entry's priority would be {number}", place=node.place, hint="Give it one.")
            result.append(number)
        if draft.largest_wins:
            return result
        return [max(result) + 1 - each for each in result]

    def _annotated(self, nodes: Sequence[d.Entry]) -> list[int]:
        """Number entries some of which have `@priority`, p4c's own, as p4c does for BMv2.

        There the smallest number wins, an entry without the annotation has its place in the list for one, counted
        from 1, and of two with one number the first wins.
        """
        ranks: list[tuple[int, int]] = []
        for i, node in enumerate(nodes):
            given = next((each for each in node.annotations if each.name == "priority"), None)
            if given is None:
                ranks.append((i + 1, i))
                continue
            if node.priority is not None:
                raise P4Error("this entry has two priorities", place=given.place, hint="Take @priority away.")
            if not given.body.isdecimal():
                raise P4Error("@priority takes a number", place=given.place, hint="Such as @priority(3).")
            self.state.warn("@priority is not part of P4_16: only BMv2 and this switch heed it", given.place)
            ranks.append((int(given.body), i))
        order = sorted(ranks, reverse=True)
        return [order.index(each) + 1 for each in ranks]


def _fitted(key: ir.EntryKey, field_: ir.Key, place: Place) -> ir.EntryKey:
    """Return one field of an entry as its match kind wants it."""
    width = width_of(field_.expression.type) if field_.kind in ("lpm", "ternary") else 0
    full = (1 << width) - 1
    match field_.kind:
        case "exact" if key.mask is not None or key.high is not None or key.value is None:
            raise P4Error(f"{field_.name} is matched exactly: it needs one value", place=place)
        case "optional" if key.mask is not None or key.high is not None:
            raise P4Error(f"{field_.name} is optional: it needs one value, or _", place=place)
        case "lpm" | "ternary":
            if key.high is not None:
                raise P4Error(f"{field_.name} is matched by {field_.kind}: it takes no range", place=place)
            if key.value is None:
                return key
            mask = full if key.mask is None else key.mask
            if field_.kind == "lpm" and (inverse := mask ^ full) & (inverse + 1):
                raise P4Error(f"{mask:#x} is not the mask of a prefix", place=place)
            return ir.EntryKey(key.value, mask=mask)
        case "range":
            if key.mask is not None:
                raise P4Error(f"{field_.name} is matched by range: it takes no mask", place=place)
            return key if key.value is None or key.high is not None else ir.EntryKey(key.value, high=key.value)
    return key


def _all_differ(entries: Sequence[ir.TableEntry], nodes: Sequence[d.Entry]) -> None:
    seen: dict[ir.Keyset, Place] = {}
    for entry, node in zip(entries, nodes, strict=True):
        if entry.keys in seen:
            raise P4Error("this entry has the key of another", place=node.place, hint=f"See {seen[entry.keys]}.")
        seen[entry.keys] = node.place


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


def _as_reference(node: s.Expression) -> d.ActionReference:
    match node:
        case s.Name():
            return d.ActionReference(node.place, node.name, node.top, None)
        case s.Call(callee=s.Name() as name, arguments=arguments):
            return d.ActionReference(name.place, name.name, name.top, arguments)
    raise P4Error("default_action must be an action", place=node.place, hint="Such as drop().")
