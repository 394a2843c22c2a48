"""Expressions: names resolved, types inferred, constants folded."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeGuard

from midflight.errors import P4Error, Place
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check import fold
from midflight.p4.check.coerce import anonymous, coerce, compatible, mismatch
from midflight.p4.check.scope import Callables, Constant, Entity, Local, Named, Scope, closest, describe
from midflight.p4.check.typing import State, TypeChecker, refuse
from midflight.p4.types import (
    BOOL,
    ERROR,
    INTEGER,
    STRING,
    Bits,
    EnumType,
    Field,
    HeaderType,
    Integer,
    StackType,
    StructType,
    TupleType,
    Type,
)

__all__ = ["ExpressionChecker", "is_literal"]

COMPARED = ("<", ">", "<=", ">=")


def is_literal(value: ir.Expression) -> TypeGuard[ir.Literal]:
    """Whether a value is an integer, bool, enum or error constant."""
    return isinstance(value, ir.Literal) and isinstance(value.value, int)


def _number(value: ir.Expression) -> int | None:
    return value.value if isinstance(value, ir.Literal) and isinstance(value.value, int) else None


class ExpressionChecker(TypeChecker):
    """Checks expressions."""

    in_parser = False
    writing = False

    def __init__(self, state: State, scope: Scope) -> None:
        super().__init__(state, scope)
        self.before: list[ir.Statement] = []  # what must run before the statement that is being checked

    def written(self, node: s.Expression) -> ir.Expression:
        """Check an expression that is written to, where a stack's `next` may stand."""
        outer, self.writing = self.writing, True
        try:
            return self.expression(node)
        finally:
            self.writing = outer

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
        variable = ir.Variable("kept", value.type, value.place)
        self.before.append(ir.Declare(variable, value, place=value.place))
        return ir.VariableRef(variable, value.type, place=value.place)

    def call(self, node: s.Call) -> ir.Expression:
        """Check a call."""
        raise NotImplementedError

    def construct(self, node: s.Construct) -> ir.Expression:
        """Refuse an instance where a value is wanted."""
        raise P4Error("an instance can only be made in a declaration", place=node.place)

    # Entrances -------------------------------------------------------------------------------------------------------

    def value(self, node: s.Expression, wanted: Type, what: str = "") -> ir.Expression:
        """Check an expression that must have a type."""
        if isinstance(node, s.Default):
            return self.default_value(wanted, node.place)
        if isinstance(node, s.InvalidHeader) and isinstance(wanted, HeaderType):
            raise refuse("the invalid-header expression {#}", node.place, plural=False)
        if isinstance(node, s.Record) and node.rest and isinstance(wanted, StructType | HeaderType):
            given = {name for name, _ in node.fields}
            rest = [(each.name, s.Default(node.place)) for each in wanted.fields if each.name not in given]
            node = s.Record(node.place, (*node.fields, *rest))
        if isinstance(node, s.Record | s.ListExpression) and isinstance(wanted, StructType | HeaderType | StackType):
            return coerce(self._aggregate(node, wanted), wanted, what)
        if isinstance(node, s.Ternary):
            return coerce(self._ternary(node, wanted), wanted, what)
        return coerce(self.expression(node), wanted, what)

    def _aggregate(
        self, node: s.Record | s.ListExpression, wanted: StructType | HeaderType | StackType
    ) -> ir.Expression:
        """Check a list or struct expression whose elements know what type they are to be of."""
        if isinstance(wanted, StackType):
            kinds: dict[str, Type] = {}
        else:
            kinds = {each.name: each.type for each in wanted.fields}
        if isinstance(node, s.Record):
            values = [
                self.value(each, kinds[name], f"field {name} of {wanted}") if name in kinds else self.expression(each)
                for name, each in node.fields
            ]
            fields = tuple(Field(n, v.type) for (n, _), v in zip(node.fields, values, strict=True))
            return ir.StructValue(tuple(values), StructType("", fields), place=node.place)
        listed = list(kinds.items())
        values = [
            self.value(each, listed[i][1], f"field {listed[i][0]} of {wanted}")
            if i < len(listed)
            else self.expression(each)
            for i, each in enumerate(node.elements)
        ]
        return ir.StructValue(tuple(values), TupleType(tuple(each.type for each in values)), place=node.place)

    def condition(self, node: s.Expression, what: str = "a condition") -> ir.Expression:
        """Check an expression that must be true or false."""
        return self.value(node, BOOL, what)

    def constant_int(self, node: s.Expression, what: str) -> int:
        """Return the value of an expression that must be an integer known at compile time."""
        value = self.expression(node)
        if not is_literal(value) or not isinstance(value.type, Bits | Integer | EnumType):
            raise P4Error(f"{what} must be an integer known at compile time", place=node.place)
        return int(value.value)

    def constant(self, node: s.Expression, wanted: Type, what: str) -> ir.Expression:
        """Check an expression that must be known at compile time."""
        value = self.value(node, wanted, what)
        if not known(value):
            raise P4Error(f"{what} must be known at compile time", place=node.place)
        return value

    def default_value(self, kind: Type, place: Place) -> ir.Expression:
        """Return the value that `...` stands for."""
        match kind:
            case StructType(fields=fields):
                return ir.StructValue(tuple(self.default_value(each.type, place) for each in fields), kind, place=place)
            case TupleType(elements=elements):
                return ir.StructValue(tuple(self.default_value(each, place) for each in elements), kind, place=place)
            case HeaderType() | StackType():
                raise refuse("default values of headers", place)
            case EnumType(underlying=Bits()):
                return ir.Literal(0, kind, place=place)
        return ir.Literal(0, kind, place=place)

    # Expressions -----------------------------------------------------------------------------------------------------

    def expression(self, node: s.Expression) -> ir.Expression:
        """Check an expression; a constant of type `int` keeps that type until its context gives it a width."""
        match node:
            case s.Number():
                kind: Type = INTEGER if node.width is None else Bits(node.width, node.signed)
                return ir.Literal(fold.wrap(node.value, kind), kind, place=node.place)
            case s.Boolean():
                return ir.Literal(int(node.value), BOOL, place=node.place)
            case s.Text():
                return ir.Literal(node.value, STRING, place=node.place)
            case s.Name():
                return self._name(node)
            case s.TypeMember():
                return self._type_member(node)
            case s.ErrorMember():
                if node.member not in self.state.errors:
                    hint = closest(node.member, self.state.errors)
                    raise P4Error(f"there is no error.{node.member}", place=node.place, hint=hint)
                return ir.Literal(self.state.errors.index(node.member), ERROR, place=node.place)
            case s.Member():
                return self.member(node)
            case s.Index():
                return self._index(node)
            case s.Slice():
                return self._slice(node)
            case s.Unary():
                return self._unary(node)
            case s.Binary():
                return self._binary(node)
            case s.Ternary():
                return self._ternary(node, None)
            case s.Cast():
                return self._cast(node)
            case s.Call():
                return self.call(node)
            case s.Construct():
                return self.construct(node)
            case s.ListExpression():
                values = tuple(self.expression(each) for each in node.elements)
                return ir.StructValue(values, TupleType(tuple(each.type for each in values)), place=node.place)
            case s.Record():
                values = tuple(self.expression(each) for _, each in node.fields)
                fields = tuple(Field(n, v.type) for (n, _), v in zip(node.fields, values, strict=True))
                return ir.StructValue(values, StructType("", fields), place=node.place)
            case s.Default():
                raise P4Error("'...' needs a type from its context", place=node.place)
            case s.InvalidHeader():
                raise refuse("the invalid-header expression {#}", node.place, plural=False)

    def _name(self, node: s.Name) -> ir.Expression:
        entity: Entity = self.find(node.name, node.top, node.place)
        match entity:
            case Local(variable=variable):
                return ir.VariableRef(variable, variable.type, place=node.place)
            case Constant(value=value):
                return replace(value, place=node.place)
        hint = f"Write {node.name}(...) to call it." if isinstance(entity, Callables) else ""
        if isinstance(entity, ir.Table):
            hint = f"Write {node.name}.apply()."
        raise P4Error(f"{node.name} is {describe(entity)}, not a value", place=node.place, hint=hint)

    def _type_member(self, node: s.TypeMember) -> ir.Expression:
        entity = self.find(node.type.name, node.type.top, node.type.place)
        if not isinstance(entity, Named) or not isinstance(entity.type, EnumType):
            raise P4Error(f"{node.type.name} is not an enum, so it has no member {node.member}", place=node.place)
        kind = entity.type
        if node.member not in kind.members:
            hint = closest(node.member, kind.members)
            raise P4Error(f"{kind} has no member {node.member}", place=node.place, hint=hint)
        return ir.Literal(kind.value_of(node.member), kind, place=node.place)

    def member(self, node: s.Member) -> ir.Expression:
        """Check `base.name`."""
        base = self.expression(node.base)
        kind, name = base.type, node.member
        match kind:
            case StructType() | HeaderType():
                each = kind.field(name)
                if each is None:
                    hint = closest(name, [field.name for field in kind.fields])
                    raise P4Error(f"{kind or 'the struct'} has no field {name}", place=node.at, hint=hint)
                if isinstance(base, ir.StructValue):
                    return base.elements[kind.fields.index(each)]
                return ir.Member(base, name, each.type, place=node.place)
            case StackType():
                return self._stack_member(base, kind, node)
            case TupleType() if name.isdecimal():
                return ir.Member(base, name, kind.elements[int(name)], place=node.place)
        raise P4Error(f"{kind} has no fields, so no {name}", place=node.at)

    def _stack_member(self, base: ir.Expression, kind: StackType, node: s.Member) -> ir.Expression:
        name = node.member
        if name == "size":
            return ir.Literal(kind.size, Bits(32), place=node.place)
        if name in ("next", "last", "lastIndex"):
            if not self.in_parser:
                raise P4Error(f"a stack's {name} can only be used in a parser", place=node.place)
            if name == "next" and not self.writing:
                hint = "Read its last instead; next is where extract puts a header."
                raise P4Error("a stack's next cannot be read", place=node.place, hint=hint)
            if name == "next":
                return ir.Next(base, kind.element, place=node.place)
            index = name == "lastIndex"
            return ir.Last(base, Bits(32) if index else kind.element, index, place=node.place)
        known_names = ["next", "last", "lastIndex", "size", "push_front", "pop_front"]
        raise P4Error(f"a header stack has no {name}", place=node.at, hint=closest(name, known_names))

    def _index(self, node: s.Index) -> ir.Expression:
        base = self.expression(node.base)
        if isinstance(base.type, TupleType):
            number = self.constant_int(node.index, "the index of a tuple")
            if not 0 <= number < len(base.type.elements):
                raise P4Error(f"{base.type} has no element {number}", place=node.index.place)
            if isinstance(base, ir.StructValue):
                return base.elements[number]
            return ir.Member(base, str(number), base.type.elements[number], place=node.place)
        if not isinstance(base.type, StackType):
            hint = f"Write [{0}:{0}] for a single bit." if isinstance(base.type, Bits) else ""
            raise P4Error(f"{base.type} cannot be indexed", place=node.place, hint=hint)
        index = self._underlying(self.expression(node.index))
        if index.type == INTEGER:
            index = coerce(index, Bits(32))
        if not isinstance(index.type, Bits):
            raise P4Error(f"an index must be a number, not {index.type}", place=node.index.place)
        number_ = _number(index)
        if number_ is not None and not 0 <= number_ < base.type.size:
            raise P4Error(f"index {number_} is outside of {base.type}", place=node.index.place)
        return ir.Index(base, index, base.type.element, place=node.place)

    def _slice(self, node: s.Slice) -> ir.Expression:
        base = self.expression(node.base)
        high = self.constant_int(node.high, "a slice's first bit")
        low = self.constant_int(node.low, "a slice's last bit")
        if isinstance(base.type, EnumType) and base.type.underlying is not None:
            base = coerce(base, base.type.underlying)
        if base.type == INTEGER and is_literal(base) and high >= low >= 0:
            base = coerce(base, Bits(high + 1))
        if not isinstance(base.type, Bits):
            raise P4Error(f"bits can be taken from bit<W> and int<W> only, not from {base.type}", place=node.place)
        if not base.type.width > high >= low >= 0:
            hint = "The most significant bit comes first." if high < low else f"{base.type} has {base.type.width} bits."
            raise P4Error(f"[{high}:{low}] is not a slice of {base.type}", place=node.place, hint=hint)
        kind = Bits(high - low + 1)
        number = _number(base)
        if number is not None:
            return ir.Literal(fold.wrap(number >> low, kind), kind, place=node.place)
        return ir.Slice(base, high, low, kind, place=node.place)

    def _unary(self, node: s.Unary) -> ir.Expression:
        operand = self.expression(node.operand)
        if node.operator == "!":
            operand = coerce(operand, BOOL, "what follows '!'")
        else:
            operand = self._underlying(operand)
            takes = isinstance(operand.type, Bits) or (operand.type == INTEGER and node.operator != "~")
            if not takes:
                raise P4Error(f"{node.operator!r} cannot be applied to {operand.type}", place=node.place)
        number = _number(operand)
        if number is not None:
            return ir.Literal(fold.unary(node.operator, number, operand.type), operand.type, place=node.place)
        return operand if node.operator == "+" else ir.Unary(node.operator, operand, operand.type, place=node.place)

    def _underlying(self, value: ir.Expression) -> ir.Expression:
        kind = value.type
        return coerce(value, kind.underlying) if isinstance(kind, EnumType) and kind.underlying is not None else value

    def _binary(self, node: s.Binary) -> ir.Expression:
        if node.operator in ("&&", "||"):
            return self._logic(node)
        left = self.expression(node.left)
        right, before = self.captured(node.right)
        if before:
            left = self.stored(left)
            self.before += before
        match node.operator:
            case "==" | "!=":
                return self._equality(node, left, right)
            case "<<" | ">>":
                return self._shift(node, self._underlying(left), self._underlying(right))
            case "++":
                return self._concat(node, self._underlying(left), self._underlying(right))
        left, right = self._underlying(left), self._underlying(right)
        left, right = self._same(node, left, right)
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
        a, b = _number(left), _number(right)
        if node.operator in "/%" and b == 0:
            raise P4Error("division by zero", place=node.place)
        if a is not None and b is not None:
            folded = fold.binary(node.operator, a, b, left.type)
            if folded is None:
                raise P4Error(f"{a} {node.operator} {b} is not defined", place=node.place)
            return ir.Literal(folded, kind, place=node.place)
        return ir.Binary(node.operator, left, right, kind, place=node.place)

    def _logic(self, node: s.Binary) -> ir.Expression:
        what = f"each side of {node.operator}"
        left = coerce(self.expression(node.left), BOOL, what)
        right, before = self.captured(node.right)
        right = coerce(right, BOOL, what)
        decided = _number(left)
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

    def _same(self, node: s.Binary, left: ir.Expression, right: ir.Expression) -> tuple[ir.Expression, ir.Expression]:
        """Give both sides one type: a constant without a width takes the other side's."""
        a, b = left.type, right.type
        if a == b:
            return left, right
        if compatible(b, a):
            return left, coerce(right, a)
        if compatible(a, b):
            return coerce(left, b), right
        error = mismatch(right, a, "")
        shown = ["a list" if anonymous(kind) else str(kind) for kind in (a, b)]
        raise P4Error(
            f"the sides of {node.operator!r} differ: {shown[0]} and {shown[1]}", place=node.place, hint=error.hint
        )

    def _equality(self, node: s.Binary, left: ir.Expression, right: ir.Expression) -> ir.Expression:
        if left.type != right.type:
            left, right = self._same(node, left, right)
        elif anonymous(left.type) and left.type != right.type:
            raise P4Error("two lists of different kinds cannot be compared", place=node.place)
        return self._folded(node, left, right, BOOL)

    def _shift(self, node: s.Binary, left: ir.Expression, right: ir.Expression) -> ir.Expression:
        number = _number(right)
        if not isinstance(left.type, Bits | Integer):
            raise P4Error(f"{left.type} cannot be shifted", place=node.place)
        if not isinstance(right.type, Bits | Integer) or (isinstance(right.type, Bits) and right.type.signed):
            hint = "A shift's distance is bit<W> or a constant that is not negative."
            raise P4Error(f"cannot shift by {right.type}", place=right.place, hint=hint)
        if number is not None and number < 0:
            raise P4Error(f"cannot shift by {number}", place=right.place)
        if left.type == INTEGER and number is None:
            raise P4Error("a constant without a width cannot be shifted at run time", place=left.place)
        if right.type == INTEGER and number is not None and _number(left) is None:
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
        a, b = _number(left), _number(right)
        if a is not None and b is not None:
            low = b & (1 << right.type.width) - 1
            return ir.Literal(fold.wrap(a << right.type.width | low, kind), kind, place=node.place)
        return ir.Concat(left, right, kind, place=node.place)

    def _ternary(self, node: s.Ternary, wanted: Type | None) -> ir.Expression:
        condition = self.condition(node.condition)
        if wanted is not None and anonymous(wanted):
            wanted = None
        (yes, before_yes), (no, before_no) = self.captured(node.yes, wanted), self.captured(node.no, wanted)
        if yes.type != no.type:
            yes, no = self._same(s.Binary(node.place, ":", node.yes, node.no), yes, no)
        decided = _number(condition)
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

    def _cast(self, node: s.Cast) -> ir.Expression:
        kind = self.type(node.type)
        if isinstance(node.operand, s.Record | s.ListExpression):
            operand = self.value(node.operand, kind)
        else:
            operand = self.expression(node.operand)
        given = operand.type
        if given == kind:
            return replace(operand, place=node.place)
        number = _number(operand)
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


def known(value: ir.Expression) -> bool:
    """Whether a value is known at compile time."""
    return isinstance(value, ir.Literal) or (isinstance(value, ir.StructValue) and all(map(known, value.elements)))
