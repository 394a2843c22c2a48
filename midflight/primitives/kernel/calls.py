"""Calls in the kernel language: conversions, saturating arithmetic, min, max and abs, predicates, registers."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from midflight.primitives.kernel.arithmetic import add_overflows, sat_add, sat_sub
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.header import Field
from midflight.primitives.kernel.operators import Operators
from midflight.primitives.kernel.predicate import FUNCTIONS, Predicate
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.typed import (
    Binary,
    Cast,
    Choose,
    Compare,
    Const,
    Expr,
    FieldRef,
    Overflows,
    Truth,
    Unary,
)
from midflight.primitives.kernel.types import Kind
from midflight.primitives.kernel.values import Untyped, Value, solid

__all__ = ["PACKET", "WIRE", "Calls", "LaneField"]


class _Packet:
    """Stands for the kernel's packet."""


class _Wire:
    """Stands for the kernel's header."""


PACKET = _Packet()
WIRE = _Wire()


@dataclass(frozen=True, slots=True)
class LaneField:
    """Stands for a lane array of the header."""

    field: Field


class Calls(Operators):
    """Expressions that are calls."""

    def _call(self, node: ast.Call) -> Value:
        if node.keywords:
            raise self.source.error(node, "keyword arguments are not in the kernel language", "give them by position")
        function = node.func
        if isinstance(function, ast.Attribute):
            base = self.value(function.value)
            if isinstance(base, Known) and isinstance(base.value, Register):
                if self.access is None:
                    raise self.source.error(node, "a register cannot be accessed here", "access it before")
                return self.access(node, base.value, function.attr)
            if isinstance(base, Known) and base.value is PACKET:
                raise self.source.error(
                    node, f"`packet.{function.attr}(...)` has no value", "write it on a line of its own"
                )
        if isinstance(function, ast.Name) and function.id not in self.scope.names:
            callee: Any = self.outer.get(function.id, FUNCTIONS.get(function.id, len if function.id == "len" else None))
            if callee is None:
                self.value(function)
        else:
            value = self.value(function)
            callee = value.value if isinstance(value, Known) else None
        return self._apply(node, callee)

    def _apply(self, node: ast.Call, callee: Any) -> Value:
        if isinstance(callee, Kind):
            return self.convert(callee, self._arguments(node, 1)[0])
        if isinstance(callee, Predicate):
            argument = self._arguments(node, 1)[0]
            value = self.value(argument)
            if not isinstance(value, Known) or value.value is not WIRE:
                raise self.source.error(argument, "a predicate is asked about the header", "write `(wire)`")
            return self._inline(callee)
        if callee is sat_add or callee is sat_sub:
            left, right = self._arguments(node, 2)
            one, other, kind = self.pair(node, left, self.value(left), right, self.value(right), callee.__name__)
            return Binary("|+|" if callee is sat_add else "|-|", one, other, kind)
        if callee is add_overflows:
            left, right = self._arguments(node, 2)
            one, other, _ = self.pair(node, left, self.value(left), right, self.value(right), "add_overflows")
            return Overflows(one, other)
        if callee is min or callee is max:
            return self._least(node, callee)
        if callee is abs:
            argument = self._arguments(node, 1)[0]
            value = self.value(argument)
            if isinstance(value, Known):
                return Known(abs(self.constant(argument, "this")))
            number = self.number(argument)
            assert number.kind is not None
            if not solid(number):
                raise self.no_width(argument, number.kind)
            return Choose(
                Compare("<", number, Const(0, number.kind)), Unary("-", number, number.kind), number, number.kind
            )
        if callee is len:
            argument = self._arguments(node, 1)[0]
            value = self.value(argument)
            if isinstance(value, Known) and isinstance(value.value, LaneField) and value.value.field.count:
                return Known(value.value.field.count)
            raise self.source.error(argument, "`len` counts the lanes of a header's array")
        name = self.source.text(node.func)
        hints = {
            "int": "numbers have a width here: `bit[32](...)`",
            "float": "a switch computes on whole numbers: scale them",
            "round": "shift: `(x + 8) >> 4`",
            "sum": "add them up in a `for` loop",
            "print": "tell the controller with `packet.alert(...)`",
            "range": "`range` goes into a `for` loop",
        }
        raise self.source.error(
            node,
            f"`{name}` cannot be called in a kernel",
            hints.get(name, f"there are {', '.join(sorted(each for each in FUNCTIONS))} and a register's methods"),
        )

    def _arguments(self, node: ast.Call, count: int) -> list[ast.expr]:
        if len(node.args) != count:
            name = self.source.text(node.func)
            raise self.source.error(node, f"`{name}` takes {count} argument{'s'[: count != 1]}, not {len(node.args)}")
        return node.args

    def convert(self, kind: Kind, operand: ast.expr) -> Expr:
        """Return `kind(operand)`."""
        value = self.value(operand)
        if isinstance(value, Known):
            if not isinstance(value.value, int):
                raise self.not_a_number(operand, value.value)
            return Const(kind.wrap(int(value.value)), kind, solid=True)
        if isinstance(value, Untyped):
            return self._solid_choice(value, kind)
        if value.kind == kind:
            return value if solid(value) else Cast(value, kind)
        if value.kind is None:
            return Choose(value, Const(1, kind, solid=True), Const(0, kind, solid=True), kind)
        return Cast(value, kind)

    def _solid_choice(self, value: Known | Untyped, kind: Kind) -> Expr:
        if isinstance(value, Known):
            return Const(kind.wrap(int(value.value)), kind, solid=True)
        return Choose(value.condition, self._solid_choice(value.yes, kind), self._solid_choice(value.no, kind), kind)

    def _inline(self, predicate: Predicate) -> Value:
        """Compile a predicate's text where it is called, its names being the header's fields."""
        inner = type(self)(predicate.source, self.layout, FUNCTIONS)
        for field in self.layout:
            inner.scope.names[field.name] = (
                Known(LaneField(field)) if field.count is not None else FieldRef(field.name, None, field.kind)
            )
        value = inner.condition(predicate.tree)
        return Known(value.value) if isinstance(value, Truth) else value

    def _least(self, node: ast.Call, callee: Any) -> Value:
        if len(node.args) < 2:
            raise self.source.error(node, "give two or more numbers", "write `min(a, b)`")
        values = [self.value(each) for each in node.args]
        if all(isinstance(each, Known) for each in values):
            return Known(callee(*(self.constant(each, "this") for each in node.args)))
        result, result_node = values[0], node.args[0]
        for right_node, right in zip(node.args[1:], values[1:], strict=True):
            one, other, kind = self.pair(node, result_node, result, right_node, right, callee.__name__)
            # Python's min and max keep the first of two equal values; equal numbers are the same here.
            result = Choose(Compare("<" if callee is min else ">", other, one), other, one, kind)
        return result
