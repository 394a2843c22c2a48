"""Expressions of a kernel: widths inferred, constants folded, what the language lacks refused by name."""

from __future__ import annotations

import ast
import builtins
import difflib
from typing import Any

from midflight.errors import KernelError
from midflight.primitives.kernel.calls import Calls
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.lookup import Lookup
from midflight.primitives.kernel.map import Map
from midflight.primitives.kernel.packet import NOW
from midflight.primitives.kernel.predicate import FUNCTIONS
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.struct import Field, Group, Items
from midflight.primitives.kernel.typed import (
    Choose,
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
from midflight.primitives.kernel.values import PACKET, WIRE, LaneField, Value

__all__ = ["Expressions"]

SEQUENCE, EPOCH, ROUND = Kind(32), Kind(16), Kind(8)
_INSTEAD: dict[type[ast.expr], tuple[str, str]] = {
    ast.List: ("a list", "declare a lane array in the header: `values = int_[32].array(4)`"),
    ast.Dict: ("a dict", "keep state in a Register made in setup, or what is only looked up in a Map"),
    ast.Set: ("a set", "keep one bit for each member: `bit[8](1) << member`"),
    ast.ListComp: ("a comprehension", "write `for lane in range(self.lanes):`"),
    ast.DictComp: ("a comprehension", "write `for lane in range(self.lanes):`"),
    ast.SetComp: ("a comprehension", "write `for lane in range(self.lanes):`"),
    ast.GeneratorExp: ("a comprehension", "write `for lane in range(self.lanes):`"),
    ast.Tuple: ("a tuple", "use one variable for each value"),
    ast.JoinedStr: ("a string", "send numbers: `packet.alert(wire.sensor, wire.value)`"),
    ast.Lambda: (
        "a lambda here",
        "a lambda goes into a register's update: `self.count.update(0, lambda old: old + 1)`",
    ),
    ast.Await: ("await", "a kernel runs once for each packet, from top to bottom"),
    ast.YieldFrom: ("yield", "a kernel runs once for each packet, from top to bottom"),
    ast.Yield: ("yield", "a kernel runs once for each packet, from top to bottom"),
    ast.NamedExpr: (":=", "assign on a line of its own"),
    ast.Starred: ("*", "write the values out"),
}
_WORDS = {
    "time": "the time at which the packet came in is `packet.now`, in microseconds",
    "random": "draw with `packet.random(bit[16])`",
    "packet": "a helper is given the packet: name it among its parameters, and hand it over",
    "wire": "a helper is given the header: name it among its parameters, and hand it over",
    "self": "make the helper a method, or hand over what it needs",
    "np": "a switch computes on single numbers",
}


class Expressions(Calls):
    """Turns expressions into their typed form, in a scope that the statements around them keep up to date."""

    def value(self, node: ast.expr) -> Value:
        """Return any expression's value."""
        match node:
            case ast.Constant():
                return self._literal(node)
            case ast.Name():
                return self._name(node)
            case ast.Attribute():
                return self._attribute(node)
            case ast.Subscript():
                return self._subscript(node)
            case ast.BinOp():
                return self._binary(node)
            case ast.UnaryOp():
                return self._unary(node)
            case ast.BoolOp():
                return self._logic(node)
            case ast.Compare():
                return self._compare(node)
            case ast.IfExp():
                return self._choose(node)
            case ast.Call():
                return self._call(node)
        what, instead = _INSTEAD.get(type(node), (type(node).__name__, "see the kernel language's list of constructs"))
        raise self.source.error(node, f"the kernel language has no place for {what}", instead)

    def _literal(self, node: ast.Constant) -> Value:
        if isinstance(node.value, float):
            raise self.source.error(
                node,
                f"{node.value} is a floating-point number: a switch computes on whole numbers",
                "scale it: carry hundredths, say, as whole numbers",
            )
        if not isinstance(node.value, (int, str)):
            raise self.source.error(node, f"the kernel language has no place for {node.value!r}", "use whole numbers")
        return Known(node.value)

    def _name(self, node: ast.Name) -> Value:
        if node.id in self.scope.names:
            return self.scope.names[node.id]
        if node.id in self.scope.unset:
            raise self.source.error(
                node,
                f"`{node.id}` may have no value here: only some paths give it one (line {self.scope.unset[node.id]})",
                "give it a value before the `if`",
            )
        if node.id in self.outer:
            return self.outside(node, self.outer[node.id])
        known = [*self.scope.names, *(name for name in self.outer if not hasattr(builtins, name))]
        close = difflib.get_close_matches(node.id, known, 1)
        if node.id in FUNCTIONS:
            hint = f"import it at the top of the file: `from midflight.primitives import {node.id}`"
            raise self.source.error(node, f"`{node.id}` is not defined", hint)
        hint = _WORDS.get(node.id, f"did you mean `{close[0]}`?" if close else "assign it first")
        raise self.source.error(node, f"`{node.id}` is not defined", hint)

    def outside(self, node: ast.expr, value: Any) -> Value:
        """Take a value that the kernel finds outside itself: a parameter, a module's constant."""
        if isinstance(value, float):
            raise self.source.error(
                node,
                f"`{self.source.text(node)}` is the floating-point number {value}",
                "a switch computes on whole numbers: scale it",
            )
        if isinstance(value, (dict, set, list)):
            raise self.source.error(
                node,
                f"`{self.source.text(node)}` is a Python {type(value).__name__}, which a switch does not have",
                "keep state in a Register made in setup: `self.count = Register(bit[32], 1024)`",
            )
        return Known(value)

    def _attribute(self, node: ast.Attribute) -> Value:
        base = self.value(node.value)
        thing = base.value if isinstance(base, Known) else None
        if thing is WIRE or isinstance(thing, Group):
            members = thing.members if isinstance(thing, Group) else self.layout.members
            field = members.get(node.attr)
            if field is None:
                names = list(members)
                close = difflib.get_close_matches(node.attr, names, 1)
                raise self.source.error(
                    node,
                    f"the header has no field `{node.attr}`",
                    f"did you mean `{close[0]}`?" if close else f"it has {', '.join(names)}",
                )
            if not isinstance(field, Field):
                return Known(field)
            return self.held(field, None) if field.count is None else Known(LaneField(field))
        if thing is PACKET:
            if node.attr == "sequence":
                return SequenceRef(SEQUENCE)
            if node.attr == "epoch":
                return EpochRef(EPOCH)
            if node.attr == "now":
                self.timed = True
                return NowRef(NOW)
            if node.attr == "forwarded":
                return self.around.forwarded()
            if node.attr == "round":
                self.rounds = True
                return RoundRef(ROUND)
            raise self.source.error(
                node,
                f"the packet has no `{node.attr}` that could be read",
                "it has sequence, epoch, now, round and forwarded, its fields are `wire.<name>`;"
                " decide on a line of its own, as in `packet.drop()`",
            )
        if isinstance(thing, Register):
            if node.attr in ("kind", "size"):
                return Known(getattr(thing, node.attr))
            raise self.source.error(
                node,
                f"a register has no `{node.attr}`",
                "read it with `old = self.count.update(index, lambda old: ...)`; it has a kind and a size",
            )
        if isinstance(thing, Kind):
            if node.attr == "width":
                return Known(thing.width)
            raise self.source.error(node, f"a type has no `{node.attr}`", "it has a width")
        if isinstance(thing, Map) and node.attr == "hit":
            return self.around.access(node, thing, "hit")
        if isinstance(thing, (tuple, Items)):
            text = self.source.text(node.value)
            raise self.source.error(node, f"`{text}` is {len(thing)} headers", f"say which: `{text}[0].{node.attr}`")
        if not isinstance(base, Known) or isinstance(thing, (int, str, LaneField)):
            raise self.source.error(
                node, f"`{self.source.text(node.value)}` has no attributes", "fields are `wire.<name>`"
            )
        try:
            return self.outside(node, getattr(thing, node.attr))
        except AttributeError:
            names = [name for name in dir(thing) if not name.startswith("_")]
            close = difflib.get_close_matches(node.attr, names, 1)
            raise self.source.error(
                node,
                f"`{self.source.text(node.value)}` has no `{node.attr}`",
                f"did you mean `{close[0]}`?" if close else "parameters are declared in the class, registers in setup",
            ) from None

    def held(self, field: Field, lane: int | None) -> Expr:
        """Return a field's value: that of an item that is not on the wire is 0."""
        reference = FieldRef(field.name, lane, field.kind, field.part)
        items = self.layout.items
        if not field.part or items is None:
            return reference
        counted = FieldRef(items.counted.name, None, items.counted.kind)
        place = int(field.part.removeprefix(f"{items.name}_"))
        if self.scope.floors.get(counted, 0) > place:
            return reference
        present = Compare(">", counted, Const(place, counted.kind))
        return Choose(present, reference, Const(0, field.kind, solid=True), field.kind)

    def _subscript(self, node: ast.Subscript) -> Value:
        base = self.value(node.value)
        thing = base.value if isinstance(base, Known) else None
        if isinstance(node.slice, ast.Slice):
            fixed = "name the bits, the highest first: `bits(wire.value, 7, 0)`"
            if isinstance(thing, (LaneField, tuple, Items)):
                fixed = f"write a loop: `for lane in range(len({self.source.text(node.value)})):`"
            raise self.source.error(node, "slices are not in the kernel language", fixed)
        if thing is bit or thing is int_:
            width = self.constant(node.slice, "a width")
            try:
                return Known(thing[width])
            except KernelError as error:
                raise self.source.error(node, error.message) from None
        if isinstance(thing, (LaneField, Register, tuple, Items)):
            count = thing.field.count if isinstance(thing, LaneField) else None
            if isinstance(thing, Register):
                count = thing.lanes
            elif not isinstance(thing, LaneField):
                count = len(thing)
            text = self.source.text(node.value)
            if count is None:
                index = self.source.text(node.slice)
                fixed = (
                    f"read it with `{text}.read({index})` or change it with `{text}.update({index}, lambda old: ...)`,"
                    " once a packet, or make it with Register(..., lanes=n)"
                )
                raise self.source.error(node, f"`{text}` has no lanes", fixed)
            lane = self.constant(node.slice, "the lane")
            if not 0 <= lane < count:
                raise self.source.error(node, f"`{text}` has no lane {lane}", f"its lanes are 0 to {count - 1}")
            if isinstance(thing, LaneField):
                return self.held(thing.field, lane)
            return Known(thing.groups[lane] if isinstance(thing, Items) else thing[lane])
        text = self.source.text(node.value)
        if isinstance(thing, (Map, Lookup)):
            method = "get(key, default)" if isinstance(thing, Map) else "read(index)"
            raise self.source.error(node, f"`{text}` is not read or written like this", f"ask `{text}.{method}`")
        if thing is PACKET:
            raise self.source.error(
                node, "a packet has no bytes here", "a kernel sees the header's fields: `wire.<field>`"
            )
        raise self.source.error(node, f"`{text}` has no lanes", "a bit of a number is `bits(x, 3, 3)`")
