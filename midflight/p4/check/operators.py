"""Checks operators and casts: operand types, result types and constant folding."""

from __future__ import annotations

from dataclasses import replace

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check import fold
from midflight.p4.check.coerce import anonymous, coerce, compatible, mismatch
from midflight.p4.check.context import Context
from midflight.p4.check.fold import number_in
from midflight.p4.check.limits import WIDEST
from midflight.p4.check.order import captured, in_order, stored
from midflight.p4.check.typing import type_of
from midflight.p4.types import BOOL, INTEGER, Bits, EnumType, Integer, StructType, Type, width_of
from midflight.stackless import Walk

__all__ = ["binary", "cast", "combined", "ternary", "unary", "underlying"]

COMPARED = ("<", ">", "<=", ">=")


def unary(ctx: Context, node: s.Unary) -> Walk[ir.Expression]:
    """Check `!`, `~`, `-` or `+` and return the typed result. P4Error if the operand has the wrong type."""
    operand: ir.Expression = yield ctx.state.checks.expression(ctx, node.operand)
    if node.operator == "!":
        operand = coerce(operand, BOOL, "the operand of '!'")
    else:
        operand = underlying(operand)
        takes = isinstance(operand.type, Bits) or (operand.type == INTEGER and node.operator != "~")
        if not takes:
            raise P4Error(f"{node.operator!r} cannot be applied to {operand.type}", place=node.place)
    number = number_in(operand)
    if number is not None:
        return ir.Literal(fold.unary(node.operator, number, operand.type), operand.type, place=node.place)
    return operand if node.operator == "+" else ir.Unary(node.operator, operand, operand.type, place=node.place)


def underlying(value: ir.Expression) -> ir.Expression:
    """Return the underlying number of a serializable enum's value, and any other value unchanged."""
    kind = value.type
    return coerce(value, kind.underlying) if isinstance(kind, EnumType) and kind.underlying is not None else value


def binary(ctx: Context, node: s.Binary) -> Walk[ir.Expression]:
    """Check a binary operator and return the typed result; constants are folded.

    The operands are evaluated left to right, and `&&` and `||` evaluate the right one only if necessary. Raises P4Error
    for operand types that the operator does not take.
    """
    if node.operator in ("&&", "||"):
        decided: ir.Expression = yield _logic(ctx, node)
        return decided
    expression = ctx.state.checks.expression
    left, right = yield in_order(ctx, (expression(ctx, node.left), expression(ctx, node.right)))
    return combined(ctx, node, left, right)


def combined(ctx: Context, node: s.Binary, left: ir.Expression, right: ir.Expression) -> ir.Expression:
    """Return the typed result of a binary operator other than `&&` and `||` on operands that have been checked.

    Constants are folded. Raises P4Error for operand types that the operator does not take, for an undefined or too
    large result, as of a division by zero, and for a division at run time by anything other than a power of two, unless
    the dividend is a constant 0 with a width.
    """
    match node.operator:
        case "==" | "!=":
            return _equality(ctx, node, left, right)
        case "<<" | ">>":
            return _shift(ctx, node, underlying(left), underlying(right))
        case "++":
            return _concat(node, underlying(left), underlying(right))
    left, right = underlying(left), underlying(right)
    left, right = same(ctx, node, left, right)
    kind = left.type
    if not isinstance(kind, Bits | Integer):
        raise P4Error(f"{node.operator!r} cannot be applied to {kind}", place=node.place)
    if kind == INTEGER and node.operator in ("|+|", "|-|"):
        raise P4Error(f"{node.operator!r} needs a width to saturate at", place=node.place)
    if node.operator in "/%" and isinstance(kind, Bits) and kind.signed:
        raise P4Error(f"{node.operator!r} is not defined on {kind}", place=node.place)
    result = BOOL if node.operator in COMPARED else kind
    return _folded(node, left, right, result)


def _folded(node: s.Binary, left: ir.Expression, right: ir.Expression, kind: Type) -> ir.Expression:
    a, b = number_in(left), number_in(right)
    if node.operator in "/%" and b == 0:
        raise P4Error("division by zero", place=node.place)
    if node.operator in "/%" and a == 0 and isinstance(kind, Bits):
        return ir.Literal(0, kind, place=node.place)
    if a is not None and b is not None:
        try:
            folded = fold.binary(node.operator, a, b, left.type)
        except OverflowError:
            message = f"{node.operator!r} gives a constant of more than {s.LARGEST} bits"
            raise P4Error(message, place=node.place) from None
        if folded is None:
            raise P4Error(f"{a} {node.operator} {b} is not defined", place=node.place)
        return ir.Literal(folded, kind, place=node.place)
    if node.operator in "/%":
        return _division(node, left, b, kind)
    return ir.Binary(node.operator, left, right, kind, place=node.place)


def _division(node: s.Binary, left: ir.Expression, divisor: int | None, kind: Type) -> ir.Expression:
    """Lower a division at run time to a shift or a mask. Raises P4Error unless the divisor is a power of two."""
    if divisor is None or divisor & (divisor - 1):
        hint = "Shift instead, or divide by a constant power of two."
        raise P4Error("a division at run time must be by a power of two", place=node.place, hint=hint)
    if node.operator == "/":
        distance = divisor.bit_length() - 1
        shift = ir.Literal(distance, Bits(max(1, distance.bit_length())), place=node.right.place)
        return ir.Binary(">>", left, shift, kind, place=node.place)
    mask = ir.Literal(divisor - 1, kind, place=node.right.place)
    return ir.Binary("&", left, mask, kind, place=node.place)


def _logic(ctx: Context, node: s.Binary) -> Walk[ir.Expression]:
    what = f"each side of {node.operator}"
    expression = ctx.state.checks.expression
    left: ir.Expression = yield expression(ctx, node.left)
    left = coerce(left, BOOL, what)
    right: ir.Expression
    before: list[ir.Statement]
    right, before = yield captured(ctx, expression(ctx, node.right))
    right = coerce(right, BOOL, what)
    decided = number_in(left)
    if decided is not None and bool(decided) != (node.operator == "&&"):
        return replace(left, place=node.place)
    if decided is not None:
        ctx.before += before
        return right
    if not before:
        return _folded(node, left, right, BOOL)
    result = stored(ctx, left)
    run = ir.Block((*before, ir.Assign(result, right, place=node.place)), place=node.place)
    go_on = result if node.operator == "&&" else ir.Unary("!", result, BOOL, place=node.place)
    ctx.before.append(ir.If(go_on, run, None, place=node.place))
    return result


def same(
    ctx: Context, node: s.Binary, left: ir.Expression, right: ir.Expression
) -> tuple[ir.Expression, ir.Expression]:
    """Return both operands coerced to one type: an operand that converts implicitly takes the type of the other.

    P4Error if neither converts.
    """
    a, b = left.type, right.type
    if a == b:
        return left, right
    if compatible(b, a):
        return left, coerce(right, a, "", ctx.state)
    if compatible(a, b):
        return coerce(left, b, "", ctx.state), right
    error = mismatch(right, a, "")
    shown = ["a list" if anonymous(kind) else str(kind) for kind in (a, b)]
    raise P4Error(
        f"the operands of {node.operator!r} differ: {shown[0]} and {shown[1]}", place=node.place, hint=error.hint
    )


def _equality(ctx: Context, node: s.Binary, left: ir.Expression, right: ir.Expression) -> ir.Expression:
    if left.type != right.type:
        left, right = same(ctx, node, underlying(left), underlying(right))
    elif isinstance(left.type, StructType) and not left.type.name:
        hint = "Put the name of a struct before one of them, in brackets."
        raise P4Error("the type of neither side is known", place=node.place, hint=hint)
    return _folded(node, left, right, BOOL)


def _shift(ctx: Context, node: s.Binary, left: ir.Expression, right: ir.Expression) -> ir.Expression:
    number = number_in(right)
    if not isinstance(left.type, Bits | Integer):
        raise P4Error(f"{left.type} cannot be shifted", place=node.place)
    if not isinstance(right.type, Bits | Integer) or (isinstance(right.type, Bits) and right.type.signed):
        hint = "A shift's distance is bit<W> or a non-negative constant."
        raise P4Error(f"cannot shift by {right.type}", place=right.place, hint=hint)
    if isinstance(right.type, Bits) and right.type.new is not None and not isinstance(node.right, s.Cast):
        raise P4Error(
            f"cannot shift by {right.type.new.name}", place=right.place, hint=f"Cast it to bit<{right.type.width}>."
        )
    if number is not None and number < 0:
        raise P4Error(f"cannot shift by {number}", place=right.place)
    drains = isinstance(left.type, Bits) and (node.operator == "<<" or not left.type.signed)
    if drains and number is not None and number >= width_of(left.type):
        ctx.state.warn(f"a shift of {left.type} by {number} always gives 0", node.place)
    if left.type == INTEGER and number is None:
        raise P4Error("a constant without a width cannot be shifted at run time", place=left.place)
    if right.type == INTEGER and number is not None and number_in(left) is None:
        right = ir.Literal(number, Bits(max(1, number.bit_length())), place=right.place)
    return _folded(node, left, right, left.type)


def _concat(node: s.Binary, left: ir.Expression, right: ir.Expression) -> ir.Expression:
    for side in (left, right):
        if not isinstance(side.type, Bits):
            hint = "Give the constant a width, such as 8w1." if side.type == INTEGER else ""
            raise P4Error(f"'++' needs bit strings, not {side.type}", place=side.place, hint=hint)
    assert isinstance(left.type, Bits)
    assert isinstance(right.type, Bits)
    kind = Bits(left.type.width + right.type.width, left.type.signed)
    if kind.width > WIDEST:
        raise P4Error(f"'++' gives {kind.width} bits here, above the limit of {WIDEST}", place=node.place)
    a, b = number_in(left), number_in(right)
    if a is not None and b is not None:
        low = b & (1 << right.type.width) - 1
        return ir.Literal(fold.wrap(a << right.type.width | low, kind), kind, place=node.place)
    return ir.Concat(left, right, kind, place=node.place)


def ternary(ctx: Context, node: s.Ternary, wanted: Type | None) -> Walk[ir.Expression]:
    """Check `condition ? yes : no` and return the typed result. `wanted` is the type that the context expects, or None.

    P4Error if the types do not fit, or if both sides are constants without a width and the condition is not constant.
    """
    checks = ctx.state.checks
    condition: ir.Expression = yield checks.value(ctx, node.condition, BOOL, "a condition")
    if wanted is not None and anonymous(wanted):
        wanted = None
    sides: list[tuple[ir.Expression, list[ir.Statement]]] = []
    for each in (node.yes, node.no):
        walk = checks.expression(ctx, each) if wanted is None else checks.value(ctx, each, wanted, "")
        sides.append((yield captured(ctx, walk)))
    (yes, before_yes), (no, before_no) = sides
    if yes.type != no.type:
        yes, no = same(ctx, s.Binary(node.place, ":", node.yes, node.no), yes, no)
    decided = number_in(condition)
    if decided is not None:
        ctx.before += before_yes if decided else before_no
        return yes if decided else no
    if yes.type == INTEGER:
        raise P4Error("both sides are constants without a width", place=node.place, hint="Write 8w1, for example.")
    if not before_yes and not before_no:
        return ir.Ternary(condition, yes, no, yes.type, place=node.place)
    variable = ir.Variable("chosen", yes.type, node.place)
    result = ir.VariableRef(variable, yes.type, place=node.place)
    ctx.before.append(ir.Declare(variable, None, place=node.place))
    branches = [
        ir.Block((*before, ir.Assign(result, value, place=value.place)), place=value.place)
        for value, before in ((yes, before_yes), (no, before_no))
    ]
    ctx.before.append(ir.If(condition, *branches, place=node.place))
    return result


def cast(ctx: Context, node: s.Cast) -> Walk[ir.Expression]:
    """Check `(type) value` and return the typed result.

    Raises P4Error for a cast that P4_16, section 8.11, does not define.
    """
    kind: Type = yield type_of(ctx, node.type)
    operand: ir.Expression
    if isinstance(node.operand, s.Record | s.ListExpression):
        operand = yield ctx.state.checks.value(ctx, node.operand, kind, "")
    else:
        operand = yield ctx.state.checks.expression(ctx, node.operand)
    given = operand.type
    if given == kind:
        return replace(operand, place=node.place)
    number = number_in(operand)
    if not _castable(given, kind, number):
        hint = ""
        if isinstance(given, Bits) and isinstance(kind, Bits) and (given.new or kind.new):
            hint = "Change the width before or after the cast: a new type has that of the type that it is made of."
        elif isinstance(given, Bits) and isinstance(kind, Bits):
            hint = f"Change the sign and the width in two steps: ({kind})({Bits(given.width, kind.signed)})..."
        raise P4Error(
            f"{'a list' if anonymous(given) else given} cannot be cast to {kind}", place=node.place, hint=hint
        )
    if number is not None:
        return ir.Literal(fold.wrap(number, kind), kind, place=node.place)
    if anonymous(given):
        return coerce(operand, kind)
    return ir.Cast(operand, kind, place=node.place)


def _castable(given: Type, kind: Type, number: int | None) -> bool:
    match given, kind:
        case Bits(), Bits() if given.new or kind.new:  # only from and to the type that a new type is made of
            return given.signed == kind.signed and given.width == kind.width
        case Bits(), Bits():
            return given.signed == kind.signed or given.width == kind.width
        case (Integer(), Bits()) | (Bits(width=1, signed=False), _) if kind == BOOL or isinstance(given, Integer):
            return True
        case Integer(), _ if kind == BOOL:
            return number in (0, 1)
        case _, Bits(width=1, signed=False) if given == BOOL:
            return True
        case Bits(), Integer():
            return number is not None
        case EnumType(underlying=Bits() as underlying), Bits():
            return underlying == kind or underlying.signed == kind.signed
        case EnumType(underlying=Bits()), EnumType(underlying=Bits()):
            return True
        case ((Bits() | Integer()), EnumType(underlying=Bits() as underlying)):
            return given == underlying or isinstance(given, Integer)
    return anonymous(given) and compatible(given, kind)
