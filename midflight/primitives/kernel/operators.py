"""Operators of the kernel language: arithmetic, shifts, comparisons, conditions and choices."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.typed import (
    Binary,
    Choose,
    Compare,
    Const,
    Expr,
    Logic,
    Not,
    Truth,
    Unary,
)
from midflight.primitives.kernel.types import Kind
from midflight.primitives.kernel.values import Untyped, Value, Values, solid

__all__ = ["Operators"]

T = TypeVar("T")

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


class Operators(Values):
    """Expressions that are made with operators."""

    def _binary(self, node: ast.BinOp) -> Value:
        if type(node.op) not in _ARITHMETIC:
            hint = "write `//`, by a power of two" if isinstance(node.op, ast.Div) else "multiply numbers: `a * b`"
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
        self,
        node: ast.expr,
        left_node: ast.expr,
        left: Value,
        right_node: ast.expr,
        right: Value,
        what: str,
        *,
        solids: int = 1,
    ) -> tuple[Expr, Expr, Kind]:
        """Return two numbers of one kind; so many of them must bring their width along when they run as Python."""
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
        if solid(one) + solid(other) < solids:
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
                other = f"shift the other way: `{'>>' if symbol == '<<' else '<<'} {-amount}`"
                raise self.source.error(node.right, f"a shift by {amount}", other)
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
            raise self.no_width(node.left, left.kind)
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
            raise self.no_width(node.operand, value.kind)
        return value if symbol == "+" else Unary(symbol, value, value.kind)

    def given(self, condition: Expr, holds: bool, compute: Callable[[], T]) -> T:
        """Compute something that is evaluated only where a condition holds, or only where it does not."""
        outside = self.scope
        self.scope = outside.copy()
        self.scope.assume(condition, holds)
        self.lazy += 1
        try:
            return compute()
        finally:
            self.lazy -= 1
            self.scope = outside

    def _logic(self, node: ast.BoolOp) -> Value:
        symbol, short = ("&&", False) if isinstance(node.op, ast.And) else ("||", True)
        result = self.condition(node.values[0])
        for each in node.values[1:]:
            if result == Truth(short):
                return Known(short)
            right = self.given(result, not short, partial(self.condition, each))
            if isinstance(result, Truth):
                result = right
            elif right == Truth(short):
                return Known(short)
            elif not isinstance(right, Truth):
                result = Logic(symbol, result, right)
        return Known(result.value) if isinstance(result, Truth) else result

    def _compare(self, node: ast.Compare) -> Value:
        result: Expr = Truth(True)
        left_node, left = node.left, self.value(node.left)
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            if isinstance(result, Truth):
                part, right = self._step(node, op, left_node, left, right_node)
            else:  # Python goes on only where what came before holds
                part, right = self.given(result, True, partial(self._step, node, op, left_node, left, right_node))
            if part == Truth(False):
                return Known(False)
            if part != Truth(True):
                result = part if isinstance(result, Truth) else Logic("&&", result, part)
            left_node, left = right_node, right
        return Known(True) if isinstance(result, Truth) else result

    def _step(
        self, node: ast.Compare, op: ast.cmpop, left_node: ast.expr, left: Value, right_node: ast.expr
    ) -> tuple[Expr, Value]:
        """Return one comparison of a chain, and its right side."""
        if isinstance(op, (ast.In, ast.NotIn)):
            return self._membership(node, left, right_node, isinstance(op, ast.In)), left
        if type(op) not in _COMPARISONS:
            raise self.source.error(node, "`is` compares Python objects", "write `==` or `!=`")
        symbol, function = _COMPARISONS[type(op)]
        right = self.value(right_node)
        if isinstance(left, Known) and isinstance(right, Known):
            return Truth(self._fold_compare(node, function, left.value, right.value)), right
        return self._compare_two(node, symbol, left_node, left, right_node, right), right

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
            raise self.source.error(node, "`in` takes a tuple of constants", "write `x in (1, 2, 3)`, or `1 <= x < 4`")
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
        yes = self.given(condition, True, lambda: self.value(node.body))
        no = self.given(condition, False, lambda: self.value(node.orelse))
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
