"""Operators and casts: what they take, what they give, and their constants folded."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import replace
from typing import TypeGuard

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check import fold
from midflight.p4.check.coerce import anonymous, coerce, compatible, mismatch
from midflight.p4.check.scope import Scope
from midflight.p4.check.typing import State, TypeChecker
from midflight.p4.types import BOOL, INTEGER, Bits, EnumType, Integer, Type, width_of

__all__ = ["OperatorChecker", "is_literal", "number_in"]

COMPARED = ("<", ">", "<=", ">=")


def is_literal(value: ir.Expression) -> TypeGuard[ir.Literal]:
    """Whether a value is an integer, bool, enum or error constant."""
    return isinstance(value, ir.Literal) and isinstance(value.value, int)


def number_in(value: ir.Expression) -> int | None:
    """Return the number that a constant is, or None for anything else."""
    return value.value if isinstance(value, ir.Literal) and isinstance(value.value, int) else None


class OperatorChecker(TypeChecker):
    """Checks operators; what they stand between is for the class above to check."""

    def __init__(self, state: State, scope: Scope) -> None:
        super().__init__(state, scope)
        self.before: list[ir.Statement] = []  # what must run before the statement that is being checked

    def expression(self, node: s.Expression) -> ir.Expression:
        """Check any expression."""
        raise NotImplementedError

    def value(self, node: s.Expression, wanted: Type, what: str = "") -> ir.Expression:
        """Check an expression that must have a type."""
        raise NotImplementedError

    def condition(self, node: s.Expression, what: str = "a condition") -> ir.Expression:
        """Check an expression that must be true or false."""
        return self.value(node, BOOL, what)

    def captured(self, node: s.Expression, wanted: Type | None = None) -> tuple[ir.Expression, list[ir.Statement]]:
        """Check an expression, and keep the statements that it needs before it apart."""
        outer, self.before = self.before, []
        try:
            value = self.expression(node) if wanted is None else self.value(node, wanted)
            return value, self.before
        finally:
            self.before = outer

    def stored(self, value: ir.Expression) -> ir.Expression:
        """Return a value as it is now, whatever the statements that follow may do."""
        if isinstance(value, ir.Literal):
            return value
        if isinstance(value, ir.StructValue):
            return replace(value, elements=tuple(map(self.stored, value.elements)))
        variable = ir.Variable("kept", value.type, value.place)
        self.before.append(ir.Declare(variable, value, place=value.place))
        return ir.VariableRef(variable, value.type, place=value.place)

    def pinned(self, target: ir.Expression) -> ir.Expression:
        """Return a place that can be written as it is now: the indices in it are computed once, and here."""
        match target:
            case ir.Index(base=base, index=index):
                return replace(target, base=self.pinned(base), index=self.stored(index))
            case ir.Member(base=base) | ir.Slice(base=base):
                return replace(target, base=self.pinned(base))
        return target

    def in_order(
        self, checks: Iterable[Callable[[], ir.Expression]], places: Container[int] = ()
    ) -> list[ir.Expression]:
        """Check expressions that are evaluated left to right; those at the positions `places` are written to.

        Where one needs statements before it, those to its left are kept as they were before these.
        """
        made: list[ir.Expression] = []
        kept = 0
        for check in checks:
            outer, self.before = self.before, []
            try:
                value, before = check(), self.before
            finally:
                self.before = outer
            if before:
                for i in range(kept, len(made)):
                    made[i] = self.pinned(made[i]) if i in places else self.stored(made[i])
                kept = len(made)
                self.before += before
            made.append(value)
        return made

    def unary(self, node: s.Unary) -> ir.Expression:
        """Check `!`, `~`, `-` and `+`."""
        operand = self.expression(node.operand)
        if node.operator == "!":
            operand = coerce(operand, BOOL, "what follows '!'")
        else:
            operand = self.underlying(operand)
            takes = isinstance(operand.type, Bits) or (operand.type == INTEGER and node.operator != "~")
            if not takes:
                raise P4Error(f"{node.operator!r} cannot be applied to {operand.type}", place=node.place)
        number = number_in(operand)
        if number is not None:
            return ir.Literal(fold.unary(node.operator, number, operand.type), operand.type, place=node.place)
        return operand if node.operator == "+" else ir.Unary(node.operator, operand, operand.type, place=node.place)

    def underlying(self, value: ir.Expression) -> ir.Expression:
        """Return a serializable enum's value as its number, and any other value as it is."""
        kind = value.type
        return coerce(value, kind.underlying) if isinstance(kind, EnumType) and kind.underlying is not None else value

    def binary(self, node: s.Binary) -> ir.Expression:
        """Check a binary operator."""
        if node.operator in ("&&", "||"):
            return self._logic(node)
        return self.combined(
            node, *self.in_order((lambda: self.expression(node.left), lambda: self.expression(node.right)))
        )

    def combined(self, node: s.Binary, left: ir.Expression, right: ir.Expression) -> ir.Expression:
        """Check an arithmetic operator or a comparison whose sides have been checked."""
        match node.operator:
            case "==" | "!=":
                return self._equality(node, left, right)
            case "<<" | ">>":
                return self._shift(node, self.underlying(left), self.underlying(right))
            case "++":
                return self._concat(node, self.underlying(left), self.underlying(right))
        left, right = self.underlying(left), self.underlying(right)
        left, right = self.same(node, left, right)
        kind = left.type
        if not isinstance(kind, Bits | Integer):
            raise P4Error(f"{node.operator!r} cannot be applied to {kind}", place=node.place)
        if kind == INTEGER and node.operator in ("|+|", "|-|"):
            raise P4Error(f"{node.operator!r} needs a width to saturate at", place=node.place)
        if node.operator in "/%" and isinstance(kind, Bits) and kind.signed:
            raise P4Error(f"{node.operator!r} is not defined on {kind}", place=node.place)
        result = BOOL if node.operator in COMPARED else kind
        return self._folded(node, left, right, result)

    def _folded(self, node: s.Binary, left: ir.Expression, right: ir.Expression, kind: Type) -> ir.Expression:
        a, b = number_in(left), number_in(right)
        if node.operator in "/%" and b == 0:
            raise P4Error("division by zero", place=node.place)
        if a is not None and b is not None:
            folded = fold.binary(node.operator, a, b, left.type)
            if folded is None:
                raise P4Error(f"{a} {node.operator} {b} is not defined", place=node.place)
            return ir.Literal(folded, kind, place=node.place)
        if node.operator in "/%":
            return self._division(node, left, b, kind)
        return ir.Binary(node.operator, left, right, kind, place=node.place)

    def _division(self, node: s.Binary, left: ir.Expression, divisor: int | None, kind: Type) -> ir.Expression:
        """Check a division at run time: switches only divide by powers of two, which is to shift or to mask."""
        if divisor is None or divisor & (divisor - 1):
            hint = "Shift instead, or divide by a constant power of two."
            raise P4Error("a division at run time must be by a power of two", place=node.place, hint=hint)
        if node.operator == "/":
            distance = divisor.bit_length() - 1
            shift = ir.Literal(distance, Bits(max(1, distance.bit_length())), place=node.right.place)
            return ir.Binary(">>", left, shift, kind, place=node.place)
        mask = ir.Literal(divisor - 1, kind, place=node.right.place)
        return ir.Binary("&", left, mask, kind, place=node.place)

    def _logic(self, node: s.Binary) -> ir.Expression:
        what = f"each side of {node.operator}"
        left = coerce(self.expression(node.left), BOOL, what)
        right, before = self.captured(node.right)
        right = coerce(right, BOOL, what)
        decided = number_in(left)
        if decided is not None and bool(decided) != (node.operator == "&&"):
            return replace(left, place=node.place)
        if decided is not None:
            self.before += before
            return right
        if not before:
            return self._folded(node, left, right, BOOL)
        result = self.stored(left)
        run = ir.Block((*before, ir.Assign(result, right, place=node.place)), place=node.place)
        go_on = result if node.operator == "&&" else ir.Unary("!", result, BOOL, place=node.place)
        self.before.append(ir.If(go_on, run, None, place=node.place))
        return result

    def same(self, node: s.Binary, left: ir.Expression, right: ir.Expression) -> tuple[ir.Expression, ir.Expression]:
        """Give both sides one type: a constant without a width takes the other side's."""
        a, b = left.type, right.type
        if a == b:
            return left, right
        if compatible(b, a):
            return left, coerce(right, a, "", self.state)
        if compatible(a, b):
            return coerce(left, b, "", self.state), right
        error = mismatch(right, a, "")
        shown = ["a list" if anonymous(kind) else str(kind) for kind in (a, b)]
        raise P4Error(
            f"the sides of {node.operator!r} differ: {shown[0]} and {shown[1]}", place=node.place, hint=error.hint
        )

    def _equality(self, node: s.Binary, left: ir.Expression, right: ir.Expression) -> ir.Expression:
        if left.type != right.type:
            left, right = self.same(node, left, right)
        elif anonymous(left.type) and left.type != right.type:
            raise P4Error("two lists of different kinds cannot be compared", place=node.place)
        return self._folded(node, left, right, BOOL)

    def _shift(self, node: s.Binary, left: ir.Expression, right: ir.Expression) -> ir.Expression:
        number = number_in(right)
        if not isinstance(left.type, Bits | Integer):
            raise P4Error(f"{left.type} cannot be shifted", place=node.place)
        if not isinstance(right.type, Bits | Integer) or (isinstance(right.type, Bits) and right.type.signed):
            hint = "A shift's distance is bit<W> or a constant that is not negative."
            raise P4Error(f"cannot shift by {right.type}", place=right.place, hint=hint)
        if number is not None and number < 0:
            raise P4Error(f"cannot shift by {number}", place=right.place)
        drains = isinstance(left.type, Bits) and (node.operator == "<<" or not left.type.signed)
        if drains and number is not None and number >= width_of(left.type):
            self.state.warn(f"a shift by {number} leaves nothing of {left.type}", node.place)
        if left.type == INTEGER and number is None:
            raise P4Error("a constant without a width cannot be shifted at run time", place=left.place)
        if right.type == INTEGER and number is not None and number_in(left) is None:
            right = ir.Literal(number, Bits(max(1, number.bit_length())), place=right.place)
        return self._folded(node, left, right, left.type)

    def _concat(self, node: s.Binary, left: ir.Expression, right: ir.Expression) -> ir.Expression:
        for side in (left, right):
            if not isinstance(side.type, Bits):
                hint = "Give the constant a width, such as 8w1." if side.type == INTEGER else ""
                raise P4Error(f"'++' needs bit strings, not {side.type}", place=side.place, hint=hint)
        assert isinstance(left.type, Bits)
        assert isinstance(right.type, Bits)
        kind = Bits(left.type.width + right.type.width, left.type.signed)
        a, b = number_in(left), number_in(right)
        if a is not None and b is not None:
            low = b & (1 << right.type.width) - 1
            return ir.Literal(fold.wrap(a << right.type.width | low, kind), kind, place=node.place)
        return ir.Concat(left, right, kind, place=node.place)

    def ternary(self, node: s.Ternary, wanted: Type | None) -> ir.Expression:
        """Check `condition ? yes : no`."""
        condition = self.condition(node.condition)
        if wanted is not None and anonymous(wanted):
            wanted = None
        (yes, before_yes), (no, before_no) = self.captured(node.yes, wanted), self.captured(node.no, wanted)
        if yes.type != no.type:
            yes, no = self.same(s.Binary(node.place, ":", node.yes, node.no), yes, no)
        decided = number_in(condition)
        if decided is not None:
            self.before += before_yes if decided else before_no
            return yes if decided else no
        if yes.type == INTEGER:
            raise P4Error("both sides are constants without a width", place=node.place, hint="Write 8w1, say.")
        if not before_yes and not before_no:
            return ir.Ternary(condition, yes, no, yes.type, place=node.place)
        variable = ir.Variable("chosen", yes.type, node.place)
        result = ir.VariableRef(variable, yes.type, place=node.place)
        self.before.append(ir.Declare(variable, None, place=node.place))
        branches = [
            ir.Block((*before, ir.Assign(result, value, place=value.place)), place=value.place)
            for value, before in ((yes, before_yes), (no, before_no))
        ]
        self.before.append(ir.If(condition, *branches, place=node.place))
        return result

    def cast(self, node: s.Cast) -> ir.Expression:
        """Check `(type) value`."""
        kind = self.type(node.type)
        if isinstance(node.operand, s.Record | s.ListExpression):
            operand = self.value(node.operand, kind)
        else:
            operand = self.expression(node.operand)
        given = operand.type
        if given == kind:
            return replace(operand, place=node.place)
        number = number_in(operand)
        if not _castable(given, kind, number):
            hint = ""
            if isinstance(given, Bits) and isinstance(kind, Bits):
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
