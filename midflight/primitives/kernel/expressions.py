"""Expressions of a kernel: widths inferred, constants folded, what the language lacks refused by name."""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from midflight.errors import KernelError
from midflight.primitives.kernel.flow import Known, Scope
from midflight.primitives.kernel.header import Field, Layout
from midflight.primitives.kernel.predicate import FUNCTIONS, Predicate
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.source import Source
from midflight.primitives.kernel.typed import (
    Binary,
    Cast,
    Choose,
    Compare,
    Const,
    Expr,
    FieldRef,
    Logic,
    Not,
    Overflows,
    SequenceRef,
    Truth,
    Unary,
)
from midflight.primitives.kernel.types import Kind, add_overflows, bit, int_, sat_add, sat_sub

__all__ = ["PACKET", "WIRE", "Expressions", "LaneField", "Untyped", "Value", "solid"]

SEQUENCE = Kind(32)
_ARITHMETIC: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.BitAnd: ("&", operator.and_),
    ast.BitOr: ("|", operator.or_),
    ast.BitXor: ("^", operator.xor),
    ast.LShift: ("<<", operator.lshift),
    ast.RShift: (">>", operator.rshift),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", operator.pow),
}
_COMPARISONS: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}
_INSTEAD: dict[type[ast.expr], tuple[str, str]] = {
    ast.List: ("a list", "declare a lane array in the header: `values = int_[32].array(4)`"),
    ast.Dict: ("a dict", "keep state in a Register made in setup, indexed by a number"),
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
    ast.Yield: ("yield", "a kernel runs once for each packet, from top to bottom"),
    ast.NamedExpr: (":=", "assign on a line of its own"),
    ast.Starred: ("*", "write the values out"),
}


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


@dataclass(frozen=True, slots=True)
class Untyped:
    """A choice between constants, which takes its width from where it is used."""

    condition: Expr
    yes: Known | Untyped
    no: Known | Untyped


Value = Known | Untyped | Expr
Accessor = Callable[[ast.Call, "tuple[str, int | None, Register]", str], Expr]


def solid(expr: Expr) -> bool:
    """Tell whether an expression has its width also while it runs as Python, where a bare constant has none."""
    match expr:
        case Const(solid=answer):
            return answer
        case Choose(yes=yes, no=no, kind=Kind()):
            return solid(yes) and solid(no)
        case _:
            return True


class Expressions:
    """Turns expressions into their typed form, in a scope that the statements around them keep up to date."""

    def __init__(
        self,
        source: Source,
        layout: Layout,
        outer: Mapping[str, Any],
        access: Callable[[ast.Call, Register, str], Expr] | None = None,
    ) -> None:
        self.source = source
        self.layout = layout
        self.outer = outer
        self.scope = Scope()
        self.access = access
        self.lazy = 0
        """How deep we are inside something that Python evaluates only sometimes."""

    # ------------------------------------------------------------------ what a statement asks for

    def number(self, node: ast.expr, kind: Kind | None = None, what: str = "this value") -> Expr:
        """Return a number; with `kind` given it is of that kind or a constant that fits it."""
        value = self.value(node)
        if kind is None:
            if isinstance(value, (Known, Untyped)):
                raise self.no_width(node)
            if value.kind is None:
                raise self.not_a_number(node)
            return value
        return self.fit(value, kind, node, what)

    def condition(self, node: ast.expr) -> Expr:
        """Return a condition."""
        value = self.value(node)
        if isinstance(value, Known) and isinstance(value.value, bool):
            return Truth(value.value)
        if isinstance(value, (Known, Untyped)) or value.kind is not None:
            text = self.source.text(node)
            raise self.source.error(node, f"`{text}` is a number, not a condition", f"write `{text} != 0`")
        return value

    def constant(self, node: ast.expr, what: str) -> int:
        """Return a whole number that is known when the kernel is compiled."""
        value = self.value(node)
        if isinstance(value, Known) and isinstance(value.value, int) and not isinstance(value.value, bool):
            return value.value
        raise self.source.error(
            node,
            f"{what} must be known when the kernel is compiled",
            "use a constant, a parameter or a loop's variable",
        )

    def fit(self, value: Value, kind: Kind, node: ast.expr, what: str) -> Expr:
        """Return `value` as a number of `kind`, or raise because it is something else."""
        if isinstance(value, Untyped):
            yes, no = self.fit(value.yes, kind, node, what), self.fit(value.no, kind, node, what)
            return Choose(value.condition, yes, no, kind)
        if isinstance(value, Known):
            if isinstance(value.value, bool) or not isinstance(value.value, int):
                raise self.not_a_number(node, value.value)
            if not kind.holds(value.value):
                raise self.source.error(
                    node,
                    f"{value.value} does not fit {kind}, which holds {kind.low} to {kind.high}",
                    f"use a wider type, or write `{kind}({value.value})` to keep the low {kind.width} bits",
                )
            return Const(value.value, kind)
        if value.kind is None:
            raise self.not_a_number(node)
        if value.kind != kind:
            text = self.source.text(node)
            raise self.source.error(
                node, f"{what} is {kind}, but `{text}` is {value.kind}", f"convert it: `{kind}({text})`"
            )
        return value

    def no_width(self, node: ast.expr) -> KernelError:
        """Say that a constant needs a width here."""
        text = self.source.text(node)
        if isinstance(node, ast.IfExp):
            choice = f"bit[32]({ast.unparse(node.body)}) if {ast.unparse(node.test)} else {ast.unparse(node.orelse)}"
            return self.source.error(node, f"`{text}` has no width here", f"give its numbers one: `{choice}`")
        return self.source.error(node, f"`{text}` has no width here", f"give it one: `bit[32]({text})`")

    def not_a_number(self, node: ast.expr, value: object = None) -> KernelError:
        """Say that a number is needed."""
        text = self.source.text(node)
        if value is None or isinstance(value, bool):
            return self.source.error(
                node, f"`{text}` is a condition, not a number", f"write `1 if {text} else 0`, or `bit[1]({text})`"
            )
        return self.source.error(node, f"`{text}` is not a number", "a kernel computes on whole numbers")

    # ------------------------------------------------------------------ the expressions

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
            return self._outside(node, self.outer[node.id])
        known = [*self.scope.names, *self.outer]
        close = difflib.get_close_matches(node.id, known, 1)
        hint = f"did you mean `{close[0]}`?" if close else "assign it first"
        raise self.source.error(node, f"`{node.id}` is not defined", hint)

    def _outside(self, node: ast.expr, value: Any) -> Value:
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
        if thing is WIRE:
            field = self.layout.get(node.attr)
            if field is None:
                names = [each.name for each in self.layout]
                close = difflib.get_close_matches(node.attr, names, 1)
                raise self.source.error(
                    node,
                    f"the header has no field `{node.attr}`",
                    f"did you mean `{close[0]}`?" if close else f"it has {', '.join(names)}",
                )
            return FieldRef(field.name, None, field.kind) if field.count is None else Known(LaneField(field))
        if thing is PACKET:
            if node.attr == "sequence":
                return SequenceRef(SEQUENCE)
            raise self.source.error(
                node,
                f"the packet has no `{node.attr}` that could be read",
                "it has sequence; what a kernel decides is a statement of its own, such as `packet.drop()`",
            )
        if isinstance(thing, Register):
            raise self.source.error(
                node,
                f"a register has no `{node.attr}`",
                "read it with `old = self.count.update(index, lambda old: ...)`",
            )
        if not isinstance(base, Known) or isinstance(thing, (int, str, Kind, LaneField)):
            raise self.source.error(
                node, f"`{self.source.text(node.value)}` has no attributes", "fields are `wire.<name>`"
            )
        try:
            return self._outside(node, getattr(thing, node.attr))
        except AttributeError:
            names = [name for name in dir(thing) if not name.startswith("_")]
            close = difflib.get_close_matches(node.attr, names, 1)
            raise self.source.error(
                node,
                f"`{self.source.text(node.value)}` has no `{node.attr}`",
                f"did you mean `{close[0]}`?" if close else "parameters are declared in the class, registers in setup",
            ) from None

    def _subscript(self, node: ast.Subscript) -> Value:
        base = self.value(node.value)
        thing = base.value if isinstance(base, Known) else None
        if isinstance(node.slice, ast.Slice):
            raise self.source.error(
                node, "slices are not in the kernel language", "shift and convert: `bit[8](wire.value >> 16)`"
            )
        if thing is bit or thing is int_:
            width = self.constant(node.slice, "a width")
            try:
                return Known(thing[width])
            except KernelError as error:
                raise self.source.error(node, error.message) from None
        if isinstance(thing, (LaneField, Register, tuple)):
            lane = self.constant(node.slice, "the lane")
            count = (
                thing.field.count
                if isinstance(thing, LaneField)
                else (thing.lanes if isinstance(thing, Register) else len(thing))
            )
            if not 0 <= lane < (count or 0):
                raise self.source.error(
                    node, f"there is no lane {lane}: `{self.source.text(node.value)}` has {count or 'no'} lanes"
                )
            if isinstance(thing, LaneField):
                return FieldRef(thing.field.name, lane, thing.field.kind)
            return Known(thing[lane])
        text = self.source.text(node.value)
        raise self.source.error(node, f"`{text}` has no lanes", "a bit of a number is `(x >> 3) & 1`")

    def _binary(self, node: ast.BinOp) -> Value:
        if type(node.op) not in _ARITHMETIC:
            hint = "write `//`, by a power of two" if isinstance(node.op, ast.Div) else ""
            what = "`/` gives a floating-point number" if isinstance(node.op, ast.Div) else "there is no such operator"
            raise self.source.error(node, what, hint)
        symbol, function = _ARITHMETIC[type(node.op)]
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(left, Known) and isinstance(right, Known):
            return self._fold(node, function, left.value, right.value)
        if symbol in ("<<", ">>"):
            return self._shift(node, symbol, left, right)
        if symbol in ("//", "%"):
            return self._divide(node, symbol, left, right)
        if symbol == "**":
            raise self.source.error(node, "`**` works on constants only", "multiply: `x * x`")
        one, other, kind = self.pair(node, node.left, left, node.right, right, f"`{symbol}`")
        return Binary(symbol, one, other, kind)

    def _fold(self, node: ast.expr, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Known:
        numbers = all(isinstance(each, int) and not isinstance(each, bool) for each in (left, right))
        if not numbers and not (isinstance(left, str) and isinstance(right, str) and function is operator.add):
            raise self.source.error(node, f"`{self.source.text(node)}` does not compute on whole numbers")
        try:
            result = function(left, right)
        except (ArithmeticError, ValueError) as error:
            raise self.source.error(node, f"`{self.source.text(node)}`: {error}") from None
        if isinstance(result, float):
            raise self.source.error(node, f"`{self.source.text(node)}` is {result}, not a whole number")
        return Known(result)

    def pair(
        self, node: ast.expr, left_node: ast.expr, left: Value, right_node: ast.expr, right: Value, what: str
    ) -> tuple[Expr, Expr, Kind]:
        """Return two numbers of one kind; at least one of them must bring its width along."""
        kinds = [each.kind for each in (left, right) if not isinstance(each, (Known, Untyped))]
        if None in kinds:
            bad = left_node if not isinstance(left, (Known, Untyped)) and left.kind is None else right_node
            raise self.not_a_number(bad)
        if not kinds:
            raise self.no_width(left_node)
        kind = kinds[0]
        assert kind is not None
        if len(kinds) == 2 and kinds[1] != kind:
            ours, theirs = self.source.text(left_node), self.source.text(right_node)
            other_kind = kinds[1]
            assert other_kind is not None
            narrow, wide = (ours, other_kind) if kind.width <= other_kind.width else (theirs, kind)
            raise self.source.error(
                node,
                f"{what} mixes widths: `{ours}` is {kind}, `{theirs}` is {other_kind}",
                f"convert one: `{wide}({narrow})`",
            )
        one = self.fit(left, kind, left_node, f"the left side of {what}")
        other = self.fit(right, kind, right_node, f"the right side of {what}")
        if not (solid(one) or solid(other)):
            raise self.no_width(left_node if not isinstance(left, Known) else right_node)
        return one, other, kind

    def _shift(self, node: ast.BinOp, symbol: str, left: Value, right: Value) -> Value:
        if isinstance(left, (Known, Untyped)):
            text = self.source.text(node.left)
            raise self.source.error(
                node.left, f"`{text}` has no width to be shifted in", f"give it one: `bit[32]({text})`"
            )
        if left.kind is None:
            raise self.not_a_number(node.left)
        if not solid(left):
            raise self.no_width(node.left)
        if isinstance(right, Known):
            amount = self.constant(node.right, "the amount")
            if amount < 0:
                raise self.source.error(node.right, f"a shift by {amount}", "shift the other way")
            if amount >= left.kind.width and not (symbol == ">>" and left.kind.signed):
                return Const(0, left.kind, solid=True)
            return Binary(symbol, left, Const(min(amount, left.kind.width - 1), Kind(32)), left.kind)
        if isinstance(right, Untyped):
            raise self.no_width(node.right)
        if right.kind is None:
            raise self.not_a_number(node.right)
        if right.kind.signed:
            text = self.source.text(node.right)
            raise self.source.error(
                node.right, f"`{text}` is {right.kind}: a shift's amount must be unsigned", f"write `bit[8]({text})`"
            )
        return Binary(symbol, left, right, left.kind)

    def _divide(self, node: ast.BinOp, symbol: str, left: Value, right: Value) -> Value:
        what = "division" if symbol == "//" else "remainder"
        divisor = right.value if isinstance(right, Known) else None
        if not isinstance(divisor, int) or divisor < 1 or divisor & (divisor - 1):
            raise self.source.error(
                node,
                f"{what} by `{self.source.text(node.right)}`: a switch divides by constant powers of two only",
                "divide by 2, 4, 8, ..., or multiply by a scaled reciprocal and shift",
            )
        if isinstance(left, (Known, Untyped)):
            raise self.no_width(node.left)
        if left.kind is None:
            raise self.not_a_number(node.left)
        if not solid(left):
            raise self.no_width(node.left)
        if symbol == "//":
            shift = divisor.bit_length() - 1
            if shift >= left.kind.width and not left.kind.signed:
                return Const(0, left.kind, solid=True)
            return Binary(">>", left, Const(min(shift, left.kind.width - 1), Kind(32)), left.kind)
        mask = divisor - 1
        if not left.kind.holds(mask):
            if not left.kind.signed:
                return left
            raise self.source.error(node, f"the remainder by {divisor} does not fit {left.kind}", "convert it first")
        return Binary("&", left, Const(mask, left.kind), left.kind)

    def _unary(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            operand = self.condition(node.operand)
            return Known(not operand.value) if isinstance(operand, Truth) else Not(operand)
        value = self.value(node.operand)
        symbol = {ast.USub: "-", ast.Invert: "~", ast.UAdd: "+"}[type(node.op)]
        if isinstance(value, Known):
            number = self.constant(node.operand, "this")
            return Known({"-": -number, "~": ~number, "+": number}[symbol])
        if isinstance(value, Untyped):
            raise self.no_width(node.operand)
        if value.kind is None:
            raise self.not_a_number(node.operand)
        if not solid(value):
            raise self.no_width(node.operand)
        return value if symbol == "+" else Unary(symbol, value, value.kind)

    def _logic(self, node: ast.BoolOp) -> Value:
        symbol, short = ("&&", False) if isinstance(node.op, ast.And) else ("||", True)
        result = self.condition(node.values[0])
        for each in node.values[1:]:
            if result == Truth(short):
                return Known(short)
            self.lazy += 1
            right = self.condition(each)
            self.lazy -= 1
            if isinstance(result, Truth):
                result = right
            elif right == Truth(short):
                return Known(short)
            elif not isinstance(right, Truth):
                result = Logic(symbol, result, right)
        return Known(result.value) if isinstance(result, Truth) else result

    def _compare(self, node: ast.Compare) -> Value:
        parts: list[Expr] = []
        left_node, left = node.left, self.value(node.left)
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, (ast.In, ast.NotIn)):
                part = self._membership(node, left, right_node, isinstance(op, ast.In))
                parts.append(part)
                continue
            if type(op) not in _COMPARISONS:
                raise self.source.error(node, "`is` compares Python objects", "write `==` or `!=`")
            symbol, function = _COMPARISONS[type(op)]
            right = self.value(right_node)
            if isinstance(left, Known) and isinstance(right, Known):
                parts.append(Truth(self._fold_compare(node, function, left.value, right.value)))
            else:
                parts.append(self._compare_two(node, symbol, left_node, left, right_node, right))
            left_node, left = right_node, right
        result: Expr = Truth(True)
        for part in parts:
            if part == Truth(False):
                return Known(False)
            if part != Truth(True):
                result = part if isinstance(result, Truth) else Logic("&&", result, part)
        return Known(True) if isinstance(result, Truth) else result

    def _fold_compare(self, node: ast.expr, function: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
        for kind in (int, str):
            if isinstance(left, kind) and isinstance(right, kind):
                return function(left, right)
        raise self.source.error(node, f"`{self.source.text(node)}` compares things of different types")

    def _compare_two(
        self, node: ast.expr, symbol: str, left_node: ast.expr, left: Value, right_node: ast.expr, right: Value
    ) -> Expr:
        sides = [Truth(each.value) if isinstance(each, Known) and isinstance(each.value, bool) else each
                 for each in (left, right)]  # fmt: skip
        if symbol in ("==", "!=") and all(
            not isinstance(each, (Known, Untyped)) and each.kind is None for each in sides
        ):
            one, other = sides
            assert not isinstance(one, (Known, Untyped))
            assert not isinstance(other, (Known, Untyped))
            return Compare(symbol, one, other)
        first, second, _ = self.pair(node, left_node, left, right_node, right, f"`{symbol}`")
        return Compare(symbol, first, second)

    def _membership(self, node: ast.Compare, left: Value, choices: ast.expr, wanted: bool) -> Expr:
        if not isinstance(choices, ast.Tuple) or not choices.elts:
            raise self.source.error(node, "`in` takes a tuple of constants", "write `x in (1, 2, 3)`")
        result: Expr | None = None
        for each in choices.elts:
            equal = self._compare_two(node, "==", node.left, left, each, Known(self.constant(each, "each choice")))
            result = equal if result is None else Logic("||", result, equal)
        assert result is not None
        return result if wanted else Not(result)

    def _choose(self, node: ast.IfExp) -> Value:
        condition = self.condition(node.test)
        if isinstance(condition, Truth):
            return self.value(node.body if condition.value else node.orelse)
        self.lazy += 1
        yes, no = self.value(node.body), self.value(node.orelse)
        self.lazy -= 1
        return self.choice(node, condition, (node.body, yes), (node.orelse, no))

    def choice(self, node: ast.expr, condition: Expr, yes: tuple[ast.expr, Value], no: tuple[ast.expr, Value]) -> Value:
        """Return `yes` where the condition holds, else `no`; they must be of one kind."""
        sides = [Truth(each.value) if isinstance(each, Known) and isinstance(each.value, bool) else each
                 for each in (yes[1], no[1])]  # fmt: skip
        one, other = sides
        if isinstance(one, (Known, Untyped)) and isinstance(other, (Known, Untyped)):
            return Untyped(condition, one, other)
        kinds = [each.kind for each in sides if not isinstance(each, (Known, Untyped))]
        if None in kinds:
            if len(kinds) == 2 and kinds[0] is kinds[1] is None:
                assert not isinstance(one, (Known, Untyped))
                assert not isinstance(other, (Known, Untyped))
                return Choose(condition, one, other, None)
            raise self.source.error(
                node, "one side is a condition, the other a number", "write `1 if ... else 0` around the condition"
            )
        kind = kinds[0]
        assert kind is not None
        if len(kinds) == 2 and kinds[1] != kind:
            ours, theirs = self.source.text(yes[0]), self.source.text(no[0])
            raise self.source.error(
                node,
                f"the two sides differ: `{ours}` is {kind}, `{theirs}` is {kinds[1]}",
                f"convert one: `{kind}({theirs})`",
            )
        return Choose(condition, self.fit(one, kind, yes[0], "this"), self.fit(other, kind, no[0], "this"), kind)

    # ------------------------------------------------------------------ calls

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
                self._name(function)
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
                raise self.no_width(argument)
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
        inner = Expressions(predicate.source, self.layout, FUNCTIONS)
        for field in self.layout:
            inner.scope.names[field.name] = (
                Known(LaneField(field)) if field.count is not None else FieldRef(field.name, None, field.kind)  # type: ignore[assignment]
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
