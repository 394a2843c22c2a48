"""Compiles operators: arithmetic, shifts, comparisons, conditions and conditional expressions."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from midflight.errors import KernelError
from midflight.primitives.kernel.coercion import condition, constant, fit, no_width, not_a_number
from midflight.primitives.kernel.context import Context, FollowOnError
from midflight.primitives.kernel.copies import CONSTANT, bits_of_result
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.typed import (
    Binary,
    Compare,
    Const,
    Expr,
    Logic,
    Not,
    Truth,
    Unary,
)
from midflight.primitives.kernel.types import Kind
from midflight.primitives.kernel.values import Range, Untyped, Value, bare, chosen, solid
from midflight.stackless import Walk

__all__ = ["binary", "choice", "choose", "compare", "logic", "pair", "unary", "values_of"]

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

_SIGNS: dict[type[ast.unaryop], tuple[str, Callable[[Any], Any]]] = {
    ast.USub: ("-", operator.neg),
    ast.Invert: ("~", operator.invert),
    ast.UAdd: ("+", operator.pos),
}


def values_of(code: Context, *nodes: ast.expr) -> Walk[list[Value]]:
    """Compile several expressions and return their values in order; all are compiled even if one has a mistake.

    With one mistake, raises its KernelError. With several, all are recorded in the context, and FollowOnError is
    raised.
    """
    found: list[Value] = []
    failed: list[KernelError] = []
    for node in nodes:
        try:
            found.append((yield code.value(node)))
        except KernelError as error:
            failed.append(error)
    mistakes = [each for each in failed if not isinstance(each, FollowOnError)]
    if len(mistakes) == 1:
        raise mistakes[0]
    if failed:
        for each in mistakes:
            code.report(each)
        raise FollowOnError(failed[0].message)
    return found


def binary(code: Context, node: ast.BinOp) -> Walk[Value]:
    """Compile a binary operator (`+`, `<<`, `//` and so on) and return its value; two constants give a constant.

    Raises KernelError for operands of different types, constants that do not fit or have more than 4096 bits, floats,
    `/`, `**` of variables, and the division of a variable by anything but a constant power of two.
    """
    if type(node.op) not in _ARITHMETIC:
        hint = "write `//`, by a power of two" if isinstance(node.op, ast.Div) else "multiply numbers: `a * b`"
        what = "`/` gives a floating-point number" if isinstance(node.op, ast.Div) else "this operator is not supported"
        raise code.error(node, what, hint)
    symbol, function = _ARITHMETIC[type(node.op)]
    left, right = yield from values_of(code, node.left, node.right)
    if isinstance(left, Known) and isinstance(right, Known):
        return _fold(code, node, function, left.value, right.value)
    if symbol in ("<<", ">>"):
        return _shift(code, node, symbol, left, right)
    if symbol in ("//", "%"):
        return _divide(code, node, symbol, left, right)
    if symbol == "**":
        raise code.error(node, "`**` works on constants only", "multiply: `x * x`")
    one, other, kind = pair(code, node, node.left, left, node.right, right, f"`{symbol}`", solids=0)
    plain = _computed(function, bare(one), bare(other))
    if plain is not None and not _holds(kind, plain):
        raise no_width(code, node.left if not isinstance(left, Known) else node.right, kind)
    return Binary(symbol, one, other, kind, plain)


def _computed(function: Callable[[Any, Any], Any], one: Range | None, other: Range | None) -> Range | None:
    """Return the range of plain ints that an operator yields; None unless both operands may be plain ints."""
    if one is None or other is None:
        return None
    corners = [function(left, right) for left in one for right in other]
    if function in (operator.and_, operator.or_, operator.xor) and (one[0] != one[1] or other[0] != other[1]):
        bits = max(abs(each) for each in (*one, *other)).bit_length()
        corners = [0 if min(*one, *other) >= 0 else -(1 << bits), (1 << bits) - 1]
    return min(corners), max(corners)


def _holds(kind: Kind, numbers: Range) -> bool:
    return kind.holds(numbers[0]) and kind.holds(numbers[1])


def _fold(code: Context, node: ast.BinOp, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Known:
    numbers = all(isinstance(each, int) and not isinstance(each, bool) for each in (left, right))
    if not numbers and not (isinstance(left, str) and isinstance(right, str) and function is operator.add):
        raise code.error(node, f"`{code.text(node)}` has operands that are not integers")
    long = len(left) + len(right) if isinstance(left, str) else bits_of_result(type(node.op), left, right)
    if long > CONSTANT:
        what = "characters" if isinstance(left, str) else "bits"
        raise code.error(node, f"this constant has more than {CONSTANT} {what}", "compute with smaller constants")
    try:
        result = function(left, right)
    except (ArithmeticError, ValueError) as error:
        raise code.error(node, f"`{code.text(node)}`: {error}") from None
    if isinstance(result, float):
        raise code.error(node, f"`{code.text(node)}` is {result}, not an integer")
    return Known(result)


def pair(
    code: Context,
    node: ast.expr,
    left_node: ast.expr,
    left: Value,
    right_node: ast.expr,
    right: Value,
    what: str,
    *,
    solids: int = 1,
) -> tuple[Expr, Expr, Kind]:
    """Return two compiled operands as numbers of one type, and that type: (left, right, type).

    `left` and `right` are the values of `left_node` and `right_node`. A constant takes the type of the other operand.
    At least `solids` of both must be numbers with a width when the kernel runs as Python, where a constant is a plain
    int. `what` names the operation in errors. Raises KernelError for different types, conditions, and two constants.
    """
    kinds = [each.kind for each in (left, right) if not isinstance(each, (Known, Untyped))]
    if None in kinds:
        bad = left_node if not isinstance(left, (Known, Untyped)) and left.kind is None else right_node
        raise not_a_number(code, bad)
    if not kinds:
        raise no_width(code, left_node)
    kind = kinds[0]
    assert kind is not None
    if len(kinds) == 2 and kinds[1] != kind:
        ours, theirs = code.text(left_node), code.text(right_node)
        other_kind = kinds[1]
        assert other_kind is not None
        narrow, wide = (ours, other_kind) if kind.width <= other_kind.width else (theirs, kind)
        raise code.error(
            node,
            f"{what} mixes widths: `{ours}` is {kind}, `{theirs}` is {other_kind}",
            f"convert one: `{wide}({narrow})`",
        )
    one = fit(code, left, kind, left_node, f"the left side of {what}")
    other = fit(code, right, kind, right_node, f"the right side of {what}")
    if solid(one) + solid(other) < solids:
        raise no_width(code, left_node if not isinstance(left, Known) else right_node)
    return one, other, kind


def _shift(code: Context, node: ast.BinOp, symbol: str, left: Value, right: Value) -> Value:
    if isinstance(left, (Known, Untyped)):
        text = code.text(node.left)
        raise code.error(node.left, f"`{text}` has no width here", f"give it one: `bit[32]({text})`")
    if left.kind is None:
        raise not_a_number(code, node.left)
    plain = bare(left)
    if isinstance(right, Known):
        amount = right.value
        if isinstance(amount, bool) or not isinstance(amount, int):
            raise code.error(
                node.right,
                "the shift amount must be known at compile time",
                "use a constant, a parameter or a loop's variable",
            )
        if amount < 0:
            other = f"shift the other way: `{'>>' if symbol == '<<' else '<<'} {-amount}`"
            raise code.error(node.right, f"the shift amount {amount} is negative", other)
        if plain is not None:
            if amount >= left.kind.width and symbol == "<<":
                raise no_width(code, node.left)
            shifted = operator.lshift if symbol == "<<" else operator.rshift
            plain = shifted(plain[0], amount), shifted(plain[1], amount)
            if not _holds(left.kind, plain):
                raise no_width(code, node.left)
        if amount >= left.kind.width and not (symbol == ">>" and left.kind.signed):
            return Const(0, left.kind, solid=plain is None)
        return Binary(symbol, left, Const(min(amount, left.kind.width - 1), Kind(32)), left.kind, plain)
    if plain is not None:
        raise no_width(code, node.left)
    if isinstance(right, Untyped):
        raise no_width(code, node.right)
    if right.kind is None:
        raise not_a_number(code, node.right)
    if right.kind.signed:
        text = code.text(node.right)
        raise code.error(
            node.right, f"`{text}` is {right.kind}: a shift amount must be unsigned", f"write `bit[8]({text})`"
        )
    return Binary(symbol, left, right, left.kind)


def _divide(code: Context, node: ast.BinOp, symbol: str, left: Value, right: Value) -> Value:
    what = "division" if symbol == "//" else "remainder"
    divisor = right.value if isinstance(right, Known) else None
    if not isinstance(divisor, int) or divisor < 1 or divisor & (divisor - 1):
        raise code.error(
            node,
            f"{what} by `{code.text(node.right)}`: a switch divides only by constant powers of two",
            "divide by 2, 4, 8, ..., or multiply by a scaled reciprocal and shift",
        )
    if isinstance(left, (Known, Untyped)):
        raise no_width(code, node.left)
    if left.kind is None:
        raise not_a_number(code, node.left)
    plain = bare(left)
    if symbol == "//":
        shift = divisor.bit_length() - 1
        if shift >= left.kind.width and not left.kind.signed:
            return Const(0, left.kind, solid=plain is None)
        plain = plain and (plain[0] >> shift, plain[1] >> shift)
        return Binary(">>", left, Const(min(shift, left.kind.width - 1), Kind(32)), left.kind, plain)
    mask = divisor - 1
    if not left.kind.holds(mask):
        if not left.kind.signed:
            return left
        raise code.error(node, f"the remainder by {divisor} does not fit {left.kind}", "convert it first")
    return Binary("&", left, Const(mask, left.kind), left.kind, plain and (0, mask))


def unary(code: Context, node: ast.UnaryOp) -> Walk[Value]:
    """Compile `not`, `-`, `~` or `+` and return its value. Raises KernelError for an operand of the wrong kind."""
    if isinstance(node.op, ast.Not):
        operand = yield from condition(code, node.operand)
        return Known(not operand.value) if isinstance(operand, Truth) else Not(operand)
    value: Value = yield code.value(node.operand)
    symbol, function = _SIGNS[type(node.op)]
    if isinstance(value, Known):
        if isinstance(value.value, bool) or not isinstance(value.value, int):
            yield from constant(code, node.operand, "this")
        return Known(function(value.value))
    if isinstance(value, Untyped):
        raise no_width(code, node.operand)
    if value.kind is None:
        raise not_a_number(code, node.operand)
    if symbol == "+":
        return value
    plain = bare(value)
    if plain is not None:
        plain = function(plain[1]), function(plain[0])
        if not _holds(value.kind, plain):
            raise no_width(code, node.operand, value.kind)
    return Unary(symbol, value, value.kind, plain)


def logic(code: Context, node: ast.BoolOp) -> Walk[Value]:
    """Compile `and` or `or` and return its value.

    An operand is evaluated only if those before do not decide the result. Raises KernelError for operands that are not
    conditions, and for register or map accesses behind the first operand.
    """
    symbol, short = ("&&", False) if isinstance(node.op, ast.And) else ("||", True)
    result = yield from condition(code, node.values[0])
    known = code.scope.copy()
    known.assume(result, not short)
    for each in node.values[1:]:
        if result == Truth(short):
            return Known(short)
        with code.conditionally(known.copy()):
            right = yield from condition(code, each)
        known.assume(right, not short)
        if isinstance(result, Truth):
            result = right
        elif right == Truth(short):
            return Known(short)
        elif not isinstance(right, Truth):
            result = Logic(symbol, result, right)
    return Known(result.value) if isinstance(result, Truth) else result


def compare(code: Context, node: ast.Compare) -> Walk[Value]:
    """Compile a chain of comparisons such as `0 < x <= 5` or `x in (1, 2)`, and return its value.

    Raises KernelError for `is`, for `in` without a tuple of constants, and for operands of different types.
    """
    result: Expr = Truth(True)
    known = code.scope.copy() if len(node.ops) > 1 else None
    left_node: ast.expr = node.left
    left: Value = yield code.value(left_node)
    for op, right_node in zip(node.ops, node.comparators, strict=True):
        if known is None or isinstance(result, Truth):
            part, right = yield from _step(code, node, op, left_node, left, right_node)
        else:  # Python evaluates the rest only if the previous comparisons hold
            with code.conditionally(known.copy()):
                part, right = yield from _step(code, node, op, left_node, left, right_node)
        if known is not None:
            known.assume(part, True)
        if not isinstance(part, Truth):
            result = part if isinstance(result, Truth) else Logic("&&", result, part)
        elif not part.value:
            return Known(False)
        left_node, left = right_node, right
    return Known(True) if isinstance(result, Truth) else result


def _step(
    code: Context, node: ast.Compare, op: ast.cmpop, left_node: ast.expr, left: Value, right_node: ast.expr
) -> Walk[tuple[Expr, Value]]:
    """Return one comparison of a chain, and the value of its right side."""
    if isinstance(op, (ast.In, ast.NotIn)):
        member = yield from _membership(code, node, left, right_node, isinstance(op, ast.In))
        return member, left
    if type(op) not in _COMPARISONS:
        raise code.error(node, "`is` compares Python objects", "write `==` or `!=`")
    symbol, function = _COMPARISONS[type(op)]
    right: Value = yield code.value(right_node)
    if isinstance(left, Known) and isinstance(right, Known):
        return Truth(_fold_compare(code, node, function, left.value, right.value)), right
    return _compare_two(code, node, symbol, left_node, left, right_node, right), right


def _fold_compare(code: Context, node: ast.expr, function: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    for kind in (int, str):
        if isinstance(left, kind) and isinstance(right, kind):
            return function(left, right)
    raise code.error(node, f"`{code.text(node)}` compares values of different types")


def _compare_two(
    code: Context, node: ast.expr, symbol: str, left_node: ast.expr, left: Value, right_node: ast.expr, right: Value
) -> Expr:
    one, other = _truth(left), _truth(right)
    if (
        symbol in ("==", "!=")
        and not isinstance(one, (Known, Untyped))
        and not isinstance(other, (Known, Untyped))
        and one.kind is other.kind is None
    ):
        return Compare(symbol, one, other)
    if symbol in ("<", ">=") and _ends_at(one, other):
        return Truth(symbol == "<")
    if symbol in (">", "<=") and _ends_at(other, one):
        return Truth(symbol == ">")
    first, second, _ = pair(code, node, left_node, left, right_node, right, f"`{symbol}`", solids=0)
    return Compare(symbol, first, second)


def _ends_at(value: Value, bound: Value) -> bool:
    """Return whether a bound is the constant one above the largest number of the value's type."""
    return (
        isinstance(bound, Known)
        and not isinstance(value, (Known, Untyped))
        and value.kind is not None
        and value.kind.ends_at(bound.value)
    )


def _truth(value: Value) -> Value:
    """Return a constant condition as an expression; other values unchanged."""
    return Truth(value.value) if isinstance(value, Known) and isinstance(value.value, bool) else value


def _membership(code: Context, node: ast.Compare, left: Value, choices: ast.expr, wanted: bool) -> Walk[Expr]:
    if not isinstance(choices, ast.Tuple) or not choices.elts:
        raise code.error(node, "`in` takes a tuple of constants", "write `x in (1, 2, 3)`, or `1 <= x < 4`")
    result: Expr | None = None
    for each in choices.elts:
        choice = yield from constant(code, each, "each choice")
        equal = _compare_two(code, node, "==", node.left, left, each, Known(choice))
        result = equal if result is None else Logic("||", result, equal)
    assert result is not None
    return result if wanted else Not(result)


def choose(code: Context, node: ast.IfExp) -> Walk[Value]:
    """Compile `a if test else b` and return its value; with a constant test, only the chosen side is compiled.

    Raises KernelError if the sides have different types.
    """
    test = yield from condition(code, node.test)
    if isinstance(test, Truth):
        side: Value = yield code.value(node.body if test.value else node.orelse)
        return side
    found: list[tuple[ast.expr, Value]] = []
    for part, holds in ((node.body, True), (node.orelse, False)):
        inside = code.scope.copy()
        inside.assume(test, holds)
        with code.conditionally(inside):
            found.append((part, (yield code.value(part))))
    return choice(code, node, test, found[0], found[1])


def choice(code: Context, node: ast.expr, test: Expr, yes: tuple[ast.expr, Value], no: tuple[ast.expr, Value]) -> Value:
    """Return the value `yes if test else no`. Each side is a pair of its syntax node and its compiled value.

    Two constant numbers give an `Untyped` choice, which takes its width from the context. `node` is the expression as a
    whole, for errors. Raises KernelError if the sides have different types, or if a constant does not fit the type of
    the other side.
    """
    one, other = _truth(yes[1]), _truth(no[1])
    if isinstance(one, (Known, Untyped)) and isinstance(other, (Known, Untyped)):
        return Untyped(test, one, other)
    kinds = [each.kind for each in (one, other) if not isinstance(each, (Known, Untyped))]
    if None in kinds:
        if not isinstance(one, (Known, Untyped)) and not isinstance(other, (Known, Untyped)) and kinds == [None, None]:
            return chosen(test, one, other, None)
        raise code.error(
            node, "one side is a condition, the other a number", "write `1 if ... else 0` around the condition"
        )
    kind = kinds[0]
    assert kind is not None
    if len(kinds) == 2 and kinds[1] != kind:
        ours, theirs = code.text(yes[0]), code.text(no[0])
        raise code.error(
            node,
            f"the two sides have different types: `{ours}` is {kind}, `{theirs}` is {kinds[1]}",
            f"convert one: `{kind}({theirs})`",
        )
    return chosen(test, fit(code, one, kind, yes[0], "this"), fit(code, other, kind, no[0], "this"), kind)
