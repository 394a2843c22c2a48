"""Limits on how much a small text may grow while it is checked: copies of code, elements of types, and constants."""

from __future__ import annotations

import dataclasses

from midflight.errors import P4Error, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.calls import calculated
from midflight.p4.nodes import within
from midflight.p4.types import ExternType, HeaderType, ListType, StackType, StructType, TupleType, Type, UnionType
from midflight.stackless import Walk, run

__all__ = ["COPIED", "DEEPEST", "ELEMENTS", "MOST", "WIDEST", "Copies", "Extents"]

WIDEST = 2048
"""The largest width of a bit string in bits, which is also BMv2's limit."""

DEEPEST = 64
"""The largest depth to which types may nest, such as structs in structs."""

ELEMENTS = 1 << 16
"""The largest number of elements of a type: fields at any depth, elements of stacks, or members of an enum."""

MOST = (1 << 31) - 1
"""The largest size of a table, register, counter or meter. P4Info's sizes are signed numbers of 32 bits."""

COPIED = 1 << 17
"""The largest number of nodes that a program may gain by copies. See `Copies`."""

_Copied = d.Function | d.Control | d.Parser | ir.Action | ir.Control | ir.Parser | ir.Table


class Copies:
    """Counts the nodes that a program gains because a part of it is used more than once.

    A function is copied into each of its calls and a control into each of its instances. An engine copies an action
    into each table that lists it, and into each call. The first use is free: its size is bounded by that of the source.
    """

    def __init__(self) -> None:
        self._left = COPIED
        self._used: dict[int, _Copied] = {}
        self._weights: dict[int, int] = {}

    def take(self, part: _Copied, name: str, place: Place | None) -> None:
        """Count one use of a part of the program, named `name` in messages.

        Raises P4Error if all repeated uses together exceed COPIED nodes.
        """
        if id(part) not in self._used:
            self._used[id(part)] = part
            return
        if id(part) not in self._weights:
            self._weights[id(part)] = _syntax(part) if isinstance(part, s.Node) else run(self._typed(part))
        self._left -= self._weights[id(part)]
        if self._left < 0:
            raise P4Error(
                f"copies of functions, actions, tables and controls make the program more than {COPIED} nodes larger",
                place=place,
                hint=f"The copy of {name} is beyond that limit: use it in fewer places, or make it smaller.",
            )

    def _typed(self, part: ir.Action | ir.Control | ir.Parser | ir.Table) -> Walk[int]:
        """Return the number of nodes of a checked part, with those of the parts that it uses."""
        used: list[ir.Action | ir.Control | ir.Parser | ir.Table] = []
        count = 1
        if isinstance(part, ir.Table):
            used += [each.action for each in part.actions]
        for node in within(*_body(part)):
            count += 1
            match node:
                case ir.ActionCall(action=below) | ir.Apply(callee=below) | ir.TableApply(table=below):
                    used.append(below)
                case ir.TableHit(table=below) | ir.Switch(subject=ir.Table() as below):
                    used.append(below)
        for each in used:
            if id(each) not in self._weights:
                self._weights[id(each)] = yield self._typed(each)
            count += self._weights[id(each)]
        return count


def _body(part: ir.Action | ir.Control | ir.Parser | ir.Table) -> list[ir.Node]:
    match part:
        case ir.Table(listed=keys):
            return [*calculated(part), *(each.expression for each in keys)]
        case ir.Action(body=body):
            return [body]
        case ir.Control(locals=before, body=body):
            return [*before, body]
        case ir.Parser(locals=before, states=states):
            return [*before, *states.values()]


def _syntax(node: s.Node) -> int:
    """Return the number of nodes of a declaration's syntax tree."""
    count, waiting = 0, [node]
    fields: dict[type[s.Node], list[str]] = {}
    while waiting:
        each = waiting.pop()
        count += 1
        kind = type(each)
        if kind not in fields:
            fields[kind] = [field.name for field in dataclasses.fields(kind) if field.name != "place"]
        for name in fields[kind]:
            below = getattr(each, name)
            if isinstance(below, s.Node):
                waiting.append(below)
            elif isinstance(below, tuple):
                waiting += [inner for inner in below if isinstance(inner, s.Node)]
    return count


@dataclasses.dataclass(frozen=True, slots=True)
class _Extent:
    """The depth to which a type nests, and its elements. `type` keeps it alive while its identity is a key."""

    type: Type
    depth: int = 0
    elements: int = 1


class Extents:
    """The nesting depths and sizes of types, each computed once per type object.

    A type that contains another one twice therefore takes no longer to measure.
    """

    def __init__(self) -> None:
        self._known: dict[int, _Extent] = {}

    def bounded(self, kind: Type, place: Place) -> Type:
        """Return the type unchanged.

        Raises P4Error if it nests deeper than DEEPEST, or has more than ELEMENTS elements.
        """
        extent = self._of(kind)
        if extent.depth > DEEPEST:
            raise P4Error(f"types nest {extent.depth} deep here, above the limit of {DEEPEST}", place=place)
        if extent.elements > ELEMENTS:
            raise P4Error(f"this type has {extent.elements} elements, above the limit of {ELEMENTS}", place=place)
        return kind

    def _of(self, kind: Type) -> _Extent:
        known = self._known.get(id(kind))
        if known is None:
            known = self._known[id(kind)] = self._computed(kind)
        return known

    def _computed(self, kind: Type) -> _Extent:
        match kind:
            case StructType(fields=fields) | HeaderType(fields=fields) | UnionType(fields=fields):
                parts = [self._of(each.type) for each in fields]
            case TupleType(elements=kinds) | ExternType(arguments=kinds):
                parts = [self._of(each) for each in kinds]
            case ListType(element=element):
                return _Extent(kind, self._of(element).depth + 1)
            case StackType(element=element, size=size):
                inner = self._of(element)
                return _Extent(kind, inner.depth + 1, max(1, inner.elements) * size)
            case _:
                return _Extent(kind)
        return _Extent(kind, 1 + max((each.depth for each in parts), default=0), sum(each.elements for each in parts))
