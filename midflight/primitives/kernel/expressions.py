"""Compiles expressions: infers widths, folds constants, and refuses constructs that the language does not support."""

from __future__ import annotations

import ast
import builtins
import difflib
from collections.abc import Mapping
from typing import Any

from midflight.errors import KernelError
from midflight.primitives.kernel.calls import call
from midflight.primitives.kernel.captured import captured, demand_short, lookup_hint
from midflight.primitives.kernel.coercion import constant
from midflight.primitives.kernel.context import Context, FollowOnError
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.lookup import Lookup
from midflight.primitives.kernel.map import Map
from midflight.primitives.kernel.operators import binary, choose, compare, logic, unary
from midflight.primitives.kernel.outputs import forwarded
from midflight.primitives.kernel.packet import NOW
from midflight.primitives.kernel.predicate import FUNCTIONS
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.searches import hit
from midflight.primitives.kernel.struct import Field, Group, Items, Member
from midflight.primitives.kernel.typed import (
    Compare,
    Const,
    EpochRef,
    Expr,
    FieldRef,
    NowRef,
    RoundRef,
    SequenceRef,
)
from midflight.primitives.kernel.types import Kind, bit, int_
from midflight.primitives.kernel.values import PACKET, POISON, WIRE, LaneField, Value, chosen
from midflight.stackless import Step, Walk

__all__ = ["value"]

SEQUENCE, EPOCH, ROUND = Kind(32), Kind(16), Kind(8)
_ALTERNATIVES: dict[type[ast.expr], tuple[str, str]] = {
    ast.List: ("lists", "declare an array in the header: `values = int_[32].array(4)`"),
    ast.Dict: ("dicts", "keep state in a Register, and tables that packets only read in a Map, both created in setup"),
    ast.Set: ("sets", "use one bit per member: `bit[8](1) << member`"),
    ast.ListComp: ("comprehensions", "write `for lane in range(self.lanes):`"),
    ast.DictComp: ("comprehensions", "write `for lane in range(self.lanes):`"),
    ast.SetComp: ("comprehensions", "write `for lane in range(self.lanes):`"),
    ast.GeneratorExp: ("comprehensions", "write `for lane in range(self.lanes):`"),
    ast.Tuple: ("tuples", "use one variable for each value"),
    ast.JoinedStr: ("strings", "send numbers: `packet.alert(wire.sensor, wire.value)`"),
    ast.Lambda: (
        "lambdas here",
        "use a lambda in a register's update: `self.count.update(0, lambda old: old + 1)`",
    ),
    ast.Await: ("`await`", "a kernel runs once for each packet, from top to bottom"),
    ast.YieldFrom: ("`yield`", "a kernel runs once for each packet, from top to bottom"),
    ast.Yield: ("`yield`", "a kernel runs once for each packet, from top to bottom"),
    ast.NamedExpr: ("`:=`", "assign in a statement of its own"),
    ast.Starred: ("`*`", "write the values out"),
}
_WORDS = {
    "time": "`packet.now` is the packet's arrival time in microseconds",
    "random": "draw with `packet.random(bit[16])`",
    "packet": "add a parameter `packet` to the helper and pass the packet",
    "wire": "add a parameter `wire` to the helper and pass the header",
    "self": "make the helper a method, or pass what it needs",
    "np": "a kernel computes with single numbers",
}


def value(code: Context, node: ast.expr) -> Step[Value]:
    """Compile an expression and return its value: a constant, an object, or a typed expression.

    Leaves return the value itself, others a walk, as `stackless.Step` describes. Raises KernelError for constructs that
    the language does not support, and FollowOnError for variables whose assignment has a mistake.
    """
    match node:
        case ast.Constant():
            return _literal(code, node)
        case ast.Name():
            return _name(code, node)
        case ast.Attribute():
            return _attribute(code, node)
        case ast.Subscript():
            return _subscript(code, node)
        case ast.BinOp():
            return binary(code, node)
        case ast.UnaryOp():
            return unary(code, node)
        case ast.BoolOp():
            return logic(code, node)
        case ast.Compare():
            return compare(code, node)
        case ast.IfExp():
            return choose(code, node)
        case ast.Call():
            return call(code, node)
        case ast.List() | ast.Tuple():
            _refuse_literal(code, node, node)
    what, instead = _ALTERNATIVES.get(type(node), (type(node).__name__, "see the kernel language's list of constructs"))
    raise code.error(node, f"the kernel language does not support {what}", instead)


def _literal(code: Context, node: ast.Constant) -> Value:
    if isinstance(node.value, float):
        raise code.error(
            node,
            f"{node.value} is a floating-point number: a switch computes with integers",
            "scale it, for example to hundredths",
        )
    if not isinstance(node.value, (int, str)):
        raise code.error(node, f"the kernel language does not support {node.value!r}", "use integers")
    demand_short(code, node, node.value)
    return Known(node.value)


def _name(code: Context, node: ast.Name) -> Value:
    scope = code.scope
    if node.id in scope.names:
        if scope.names[node.id] == POISON:
            raise FollowOnError(node.id)
        return scope.names[node.id]
    if node.id in scope.unset:
        raise code.error(
            node,
            f"`{node.id}` may have no value here: only some paths assign it (line {scope.unset[node.id]})",
            "assign it before the `if`",
        )
    if node.id in code.outer:
        return captured(code, node, code.outer[node.id])
    known = [*scope.names, *(name for name in code.outer if not hasattr(builtins, name))]
    close = difflib.get_close_matches(node.id, known, 1)
    if node.id in FUNCTIONS:
        hint = f"import it at the top of the file: `from midflight.primitives import {node.id}`"
        raise code.error(node, f"`{node.id}` is not defined", hint)
    hint = _WORDS.get(node.id, f"did you mean `{close[0]}`?" if close else "assign it first")
    raise code.error(node, f"`{node.id}` is not defined", hint)


def _attribute(code: Context, node: ast.Attribute) -> Step[Value]:
    if isinstance(node.value, ast.Name):
        return _attribute_of(code, node, _name(code, node.value))
    return _nested_attribute(code, node)


def _nested_attribute(code: Context, node: ast.Attribute) -> Walk[Value]:
    base: Value = yield value(code, node.value)
    return _attribute_of(code, node, base)


def _attribute_of(code: Context, node: ast.Attribute, base: Value) -> Value:
    thing = base.value if isinstance(base, Known) else None
    if thing is WIRE or isinstance(thing, Group):
        return _member(code, node, thing.members if isinstance(thing, Group) else code.layout.members)
    if thing is PACKET:
        return _of_packet(code, node)
    if isinstance(thing, Register):
        if node.attr in ("kind", "size"):
            return Known(getattr(thing, node.attr))
        raise code.error(
            node,
            f"a register has no `{node.attr}`",
            "access it with `old = self.count.update(index, lambda old: ...)`; its attributes are kind and size",
        )
    if isinstance(thing, Kind):
        if node.attr == "width":
            return Known(thing.width)
        raise code.error(node, f"a type has no `{node.attr}`", "its attribute is width")
    if isinstance(thing, Map) and node.attr == "hit":
        return hit(code, node, thing)
    if isinstance(thing, (tuple, Items)):
        text = code.text(node.value)
        raise code.error(node, f"`{text}` is an array of {len(thing)} headers", f"choose one: `{text}[0].{node.attr}`")
    if not isinstance(base, Known) or isinstance(thing, (int, str, LaneField)):
        raise code.error(node, f"`{code.text(node.value)}` has no attributes", "fields are `wire.<name>`")
    try:
        return captured(code, node, getattr(thing, node.attr))
    except AttributeError:
        names = [name for name in dir(thing) if not name.startswith("_")]
        close = difflib.get_close_matches(node.attr, names, 1)
        raise code.error(
            node,
            f"`{code.text(node.value)}` has no `{node.attr}`",
            f"did you mean `{close[0]}`?" if close else "declare parameters in the class, create registers in setup",
        ) from None


def _member(code: Context, node: ast.Attribute, members: Mapping[str, Member]) -> Value:
    """Return the member of a header or nested header with the name of the attribute."""
    field = members.get(node.attr)
    if field is None:
        names = list(members)
        close = difflib.get_close_matches(node.attr, names, 1)
        raise code.error(
            node,
            f"the header has no field `{node.attr}`",
            f"did you mean `{close[0]}`?" if close else f"it has {', '.join(names)}",
        )
    if not isinstance(field, Field):
        return Known(field)
    return _held(code, field, None) if field.count is None else Known(LaneField(field))


def _of_packet(code: Context, node: ast.Attribute) -> Expr:
    """Compile an attribute of the packet."""
    match node.attr:
        case "sequence":
            return SequenceRef(SEQUENCE)
        case "epoch":
            return EpochRef(EPOCH)
        case "now":
            code.facts.timed = True
            return NowRef(NOW)
        case "forwarded":
            return forwarded(code)
        case "round":
            code.facts.rounds = True
            return RoundRef(ROUND)
    raise code.error(
        node,
        f"the packet has no attribute `{node.attr}`",
        "it has sequence, epoch, now, round and forwarded; header fields are `wire.<name>`,"
        " and verdicts are calls such as `packet.drop()`",
    )


def _held(code: Context, field: Field, lane: int | None) -> Expr:
    """Return a field's value. A field of an item that is not on the wire is 0."""
    reference = FieldRef(field.name, lane, field.kind, field.part)
    items = code.layout.items
    if not field.part or items is None:
        return reference
    counted = FieldRef(items.counted.name, None, items.counted.kind)
    place = int(field.part.removeprefix(f"{items.name}_"))
    if code.scope.floors.get(counted, 0) > place:
        return reference
    present = Compare(">", counted, Const(place, counted.kind))
    return chosen(present, reference, Const(0, field.kind, solid=True), field.kind)


def _subscript(code: Context, node: ast.Subscript) -> Walk[Value]:
    if isinstance(node.value, (ast.List, ast.Tuple)):
        _refuse_literal(code, node, node.value)
    base: Value = yield value(code, node.value)
    thing = base.value if isinstance(base, Known) else None
    if isinstance(node.slice, ast.Slice):
        fixed = "name the bits, the highest first: `bits(wire.value, 7, 0)`"
        if isinstance(thing, (LaneField, tuple, Items)):
            fixed = f"write a loop: `for lane in range(len({code.text(node.value)})):`"
        raise code.error(node, "slices are not in the kernel language", fixed)
    if thing is bit or thing is int_:
        width = yield from constant(code, node.slice, "a width")
        try:
            return Known(thing[width])
        except KernelError as error:
            raise code.error(node, error.message, error.hint) from None
    if isinstance(thing, (LaneField, Register, tuple, Items)):
        return (yield from _lane(code, node, thing))
    text = code.text(node.value)
    if isinstance(thing, (Map, Lookup)):
        method = "get(key, default)" if isinstance(thing, Map) else "read(index)"
        raise code.error(node, f"`{text}` cannot be indexed", f"read it with `{text}.{method}`")
    if thing is PACKET:
        raise code.error(node, "a kernel cannot access a packet's bytes", "it sees the header's fields: `wire.<field>`")
    raise code.error(node, f"`{text}` has no lanes", "`bits(x, 3, 3)` is a bit of a number")


def _refuse_literal(code: Context, node: ast.expr, choices: ast.List | ast.Tuple) -> None:
    """Raise KernelError for a list or tuple of constants, at `node`; accept one that has others."""
    try:
        constants = [ast.literal_eval(each) for each in choices.elts]
    except ValueError:
        return
    if hint := lookup_hint(code.text(choices), constants):
        raise code.error(
            node, f"the kernel language does not support {'lists' if isinstance(choices, ast.List) else 'tuples'}", hint
        )


def _lane(code: Context, node: ast.Subscript, thing: Any) -> Walk[Value]:
    """Compile an index into lanes, headers or constants."""
    count = thing.field.count if isinstance(thing, LaneField) else None
    if isinstance(thing, Register):
        count = thing.lanes
    elif not isinstance(thing, LaneField):
        count = len(thing)
    text = code.text(node.value)
    if count is None:
        index = code.text(node.slice)
        fixed = (
            f"read it with `{text}.read({index})` or change it with `{text}.update({index}, lambda old: ...)`,"
            " once per packet, or create it with Register(..., lanes=n)"
        )
        raise code.error(node, f"`{text}` has no lanes", fixed)
    hint = lookup_hint(text, thing) if isinstance(thing, tuple) else ""
    if hint:
        lane = yield from constant(code, node.slice, "which of the constants", hint)
    else:
        lane = yield from constant(code, node.slice, "the lane")
    if not 0 <= lane < count:
        raise code.error(node, f"`{text}` has no lane {lane}", f"its lanes are 0 to {count - 1}")
    if isinstance(thing, LaneField):
        return _held(code, thing.field, lane)
    return Known(thing.groups[lane] if isinstance(thing, Items) else thing[lane])
