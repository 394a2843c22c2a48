"""Expressions: names resolved, types inferred, constants folded."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from midflight.errors import P4Error, Place
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check import fold
from midflight.p4.check.coerce import coerce, warn_cut
from midflight.p4.check.operators import OperatorChecker, is_literal, number_in
from midflight.p4.check.scope import Callables, Constant, Entity, Local, Named, closest, describe
from midflight.p4.check.typing import refuse
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

__all__ = ["ExpressionChecker"]


class ExpressionChecker(OperatorChecker):
    """Checks expressions."""

    in_parser = False
    writing = False

    def written(self, node: s.Expression) -> ir.Expression:
        """Check an expression that is written to, where a stack's `next` may stand."""
        outer, self.writing = self.writing, True
        try:
            return self.expression(node)
        finally:
            self.writing = outer

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
            return coerce(self._aggregate(node, wanted), wanted, what, self.state)
        if isinstance(node, s.Ternary):
            return coerce(self.ternary(node, wanted), wanted, what, self.state)
        return coerce(self.expression(node), wanted, what, self.state)

    def _aggregate(
        self, node: s.Record | s.ListExpression, wanted: StructType | HeaderType | StackType
    ) -> ir.Expression:
        """Check a list or struct expression whose elements know what type they are to be of."""
        if isinstance(wanted, StackType):
            kinds: dict[str, Type] = {}
        else:
            kinds = {each.name: each.type for each in wanted.fields}
        if isinstance(node, s.Record):
            values = self.in_order(
                partial(self.value, each, kinds[name], f"field {name} of {wanted}")
                if name in kinds
                else partial(self.expression, each)
                for name, each in node.fields
            )
            fields = tuple(Field(n, v.type) for (n, _), v in zip(node.fields, values, strict=True))
            return ir.StructValue(tuple(values), StructType("", fields), place=node.place)
        listed = list(kinds.items())
        values = self.in_order(
            partial(self.value, each, listed[i][1], f"field {listed[i][0]} of {wanted}")
            if i < len(listed)
            else partial(self.expression, each)
            for i, each in enumerate(node.elements)
        )
        return ir.StructValue(tuple(values), TupleType(tuple(each.type for each in values)), place=node.place)

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
                if isinstance(kind, Bits):
                    warn_cut(self.state, node.value, kind, node.place)
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
                return self.unary(node)
            case s.Binary():
                return self.binary(node)
            case s.Ternary():
                return self.ternary(node, None)
            case s.Cast():
                return self.cast(node)
            case s.Call():
                return self.call(node)
            case s.Construct():
                return self.construct(node)
            case s.ListExpression():
                values = tuple(self.in_order(partial(self.expression, each) for each in node.elements))
                return ir.StructValue(values, TupleType(tuple(each.type for each in values)), place=node.place)
            case s.Record():
                values = tuple(self.in_order(partial(self.expression, each) for _, each in node.fields))
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
        index = self.underlying(self.expression(node.index))
        if index.type == INTEGER:
            index = coerce(index, Bits(32))
        if not isinstance(index.type, Bits):
            raise P4Error(f"an index must be a number, not {index.type}", place=node.index.place)
        number_ = number_in(index)
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
        number = number_in(base)
        if number is not None:
            return ir.Literal(fold.wrap(number >> low, kind), kind, place=node.place)
        return ir.Slice(base, high, low, kind, place=node.place)


def known(value: ir.Expression) -> bool:
    """Whether a value is known at compile time."""
    return isinstance(value, ir.Literal) or (isinstance(value, ir.StructValue) and all(map(known, value.elements)))
