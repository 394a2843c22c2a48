"""Checks expressions: resolves names, infers types and folds constants."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from midflight.errors import P4Error, Place
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check import fold
from midflight.p4.check.coerce import coerce, warn_cut
from midflight.p4.check.context import Context, Probed, fresh
from midflight.p4.check.fold import is_known, is_literal, number_in
from midflight.p4.check.limits import WIDEST
from midflight.p4.check.operators import binary, cast, ternary, unary, underlying
from midflight.p4.check.order import captured, in_order
from midflight.p4.check.scope import Callables, Constant, Entity, Local, Named, closest, describe
from midflight.p4.check.typing import constant_int
from midflight.p4.types import (
    BOOL,
    ERROR,
    INTEGER,
    STRING,
    Bits,
    EnumType,
    Field,
    HeaderType,
    StackType,
    StructType,
    TupleType,
    Type,
    UnionType,
)
from midflight.stackless import Step, Walk

__all__ = ["applied_table", "constant", "expression", "probe", "value", "written"]


def written(ctx: Context, node: s.Expression) -> Step[ir.Expression]:
    """Check an expression as an lvalue, in which a stack's `next` is allowed, and return it typed.

    That it can be written, `arguments.lvalue` checks. Raises P4Error for an invalid expression.
    """
    outer, ctx.writing = ctx.writing, True
    try:
        step = expression(ctx, node)
    finally:
        ctx.writing = outer
    return _written(ctx, step) if isinstance(step, Generator) else step


def _written(ctx: Context, walk: Walk[ir.Expression]) -> Walk[ir.Expression]:
    outer, ctx.writing = ctx.writing, True
    try:
        made: ir.Expression = yield walk
        return made
    finally:
        ctx.writing = outer


def probe(ctx: Context, node: s.Expression) -> Walk[ir.Expression]:
    """Check an expression early to learn its type, and return its value; the result is cached in `ctx.probed`.

    Statements that it needs do not run yet; they are in the cache as well. Raises P4Error for an invalid expression.
    """
    if known := ctx.probed.get(id(node)):
        return known.value
    value: ir.Expression
    before: list[ir.Statement]
    value, before = yield captured(ctx, expression(ctx, node))
    ctx.probed[id(node)] = Probed(node, value, before)
    return value


def value(ctx: Context, node: s.Expression, wanted: Type, what: str = "") -> Step[ir.Expression]:
    """Check an expression and return its value, coerced to the type `wanted`.

    `what` names its destination in error messages. Raises P4Error for an invalid expression or another type.
    """
    if isinstance(node, s.Default):
        return _default_value(ctx, wanted, node.place)
    if isinstance(node, s.InvalidHeader) and isinstance(wanted, HeaderType | UnionType):
        return _invalid(ctx, wanted, node.place)
    if isinstance(node, s.Record) and node.rest and isinstance(wanted, StructType | HeaderType):
        given = {name for name, _ in node.fields}
        rest = [(each.name, s.Default(node.place)) for each in wanted.fields if each.name not in given]
        node = s.Record(node.place, (*node.fields, *rest))
    if isinstance(node, s.Record | s.ListExpression) and isinstance(wanted, StructType | HeaderType | StackType):
        step: Step[ir.Expression] = _aggregate(ctx, node, wanted)
    elif isinstance(node, s.Ternary):
        step = ternary(ctx, node, wanted)
    else:
        step = expression(ctx, node)
    if isinstance(step, Generator):
        return _coerced(ctx, step, wanted, what)
    return step if step.type == wanted else coerce(step, wanted, what, ctx.state)


def _coerced(ctx: Context, walk: Walk[ir.Expression], wanted: Type, what: str) -> Walk[ir.Expression]:
    made: ir.Expression = yield walk
    return made if made.type == wanted else coerce(made, wanted, what, ctx.state)


def _aggregate(
    ctx: Context, node: s.Record | s.ListExpression, wanted: StructType | HeaderType | StackType
) -> Walk[ir.Expression]:
    """Check a list or struct expression element by element against the fields of its type."""
    if isinstance(wanted, StackType):
        kinds: dict[str, Type] = {}
    else:
        kinds = {each.name: each.type for each in wanted.fields}
    if isinstance(node, s.Record):
        given = node.fields
    else:
        known = list(kinds)
        given = tuple((known[i] if i < len(known) else "", each) for i, each in enumerate(node.elements))
    values: list[ir.Expression] = yield in_order(
        ctx,
        (
            value(ctx, each, kinds[name], f"field {name} of {wanted}") if name in kinds else expression(ctx, each)
            for name, each in given
        ),
    )
    if isinstance(node, s.Record):
        return _record(ctx, node, values)
    return _list(ctx, node, values)


def _record(ctx: Context, node: s.Record, values: list[ir.Expression]) -> ir.Expression:
    fields = tuple(Field(n, v.type) for (n, _), v in zip(node.fields, values, strict=True))
    return ir.StructValue(
        tuple(values), ctx.state.extents.bounded(StructType("", fields), node.place), place=node.place
    )


def _list(ctx: Context, node: s.ListExpression, values: list[ir.Expression]) -> ir.Expression:
    kind = ctx.state.extents.bounded(TupleType(tuple(each.type for each in values)), node.place)
    return ir.StructValue(tuple(values), kind, place=node.place)


def constant(ctx: Context, node: s.Expression, wanted: Type, what: str) -> Walk[ir.Expression]:
    """Check an expression that must be a compile-time constant, and return it coerced to the type `wanted`.

    `what` names it in messages. Raises P4Error if it is not known at compile time, or has another type.
    """
    made: ir.Expression = yield value(ctx, node, wanted, what)
    if not is_known(made):
        raise P4Error(f"{what} must be known at compile time", place=node.place)
    return made


def _invalid(ctx: Context, kind: HeaderType | UnionType, place: Place) -> ir.Expression:
    """Return an invalid header or union: a variable that is never written."""
    return ir.VariableRef(fresh(ctx, "invalid", kind, place), kind, place=place)


def _default_value(ctx: Context, kind: Type, place: Place) -> ir.Expression:
    """Return the default value of a type, for `...` (P4_16, section 7.3)."""
    match kind:
        case StructType(fields=fields):
            return ir.StructValue(tuple(_default_value(ctx, each.type, place) for each in fields), kind, place=place)
        case TupleType(elements=elements):
            return ir.StructValue(tuple(_default_value(ctx, each, place) for each in elements), kind, place=place)
        case HeaderType() | UnionType():
            return _invalid(ctx, kind, place)
        case StackType():
            return ir.VariableRef(fresh(ctx, "default", kind, place), kind, place=place)
        case EnumType(underlying=Bits()):
            return ir.Literal(0, kind, place=place)
    return ir.Literal(0, kind, place=place)


def expression(ctx: Context, node: s.Expression) -> Step[ir.Expression]:
    """Check an expression without an expected type, and return it typed. A constant without a width has the type `int`.

    Leaves return the value itself, others a walk, as `stackless.Step` describes. P4Error if the expression is invalid,
    or if it needs a type from its context.
    """
    match node:
        case s.Member():
            return _member(ctx, node)
        case s.Name():
            return _name(ctx, node)
        case s.Number():
            kind: Type = INTEGER if node.width is None else Bits(node.width, node.signed)
            if isinstance(kind, Bits):
                if not (0 if not kind.signed else 1) <= kind.width <= WIDEST:
                    raise P4Error(f"a width of {kind.width} bits is out of range", place=node.place)
                warn_cut(ctx.state, node.value, kind, node.place)
                return ir.Literal(fold.wrap(node.value, kind), kind, place=node.place)
            return ir.Literal(node.value, kind, place=node.place)
        case s.Boolean():
            return ir.Literal(int(node.value), BOOL, place=node.place)
        case s.Text():
            return ir.Literal(node.value, STRING, place=node.place)
        case s.TypeMember():
            return _type_member(ctx, node)
        case s.ErrorMember():
            if node.member not in ctx.state.errors:
                hint = closest(node.member, list(ctx.state.errors))
                raise P4Error(f"there is no error.{node.member}", place=node.place, hint=hint)
            return ir.Literal(ctx.state.errors[node.member], ERROR, place=node.place)
        case s.Construct():
            raise P4Error("an instance can only be created by a declaration", place=node.place)
        case s.ListExpression() | s.Record():
            return _untyped(ctx, node)
        case s.Default():
            raise P4Error("'...' needs a type from its context", place=node.place)
        case s.InvalidHeader():
            raise P4Error("{#} needs a header type from its context", place=node.place)
        case s.Index():
            return _index(ctx, node)
        case s.Slice():
            return _slice(ctx, node)
        case s.Unary():
            return unary(ctx, node)
        case s.Binary():
            return binary(ctx, node)
        case s.Ternary():
            return ternary(ctx, node, None)
        case s.Cast():
            return cast(ctx, node)
        case s.Call():
            return ctx.state.checks.call(ctx, node)


def _untyped(ctx: Context, node: s.ListExpression | s.Record) -> Walk[ir.Expression]:
    """Check a list or struct expression without an expected type."""
    nodes = node.elements if isinstance(node, s.ListExpression) else [each for _, each in node.fields]
    values: list[ir.Expression] = yield in_order(ctx, (expression(ctx, each) for each in nodes))
    return _list(ctx, node, values) if isinstance(node, s.ListExpression) else _record(ctx, node, values)


def _name(ctx: Context, node: s.Name) -> ir.Expression:
    entity: Entity = ctx.scope.lookup(node.name, node.top, node.place)
    match entity:
        case Local(variable=variable):
            return ir.VariableRef(variable, variable.type, place=node.place)
        case Constant(value=value):
            return replace(value, place=node.place)
    hint = f"Write {node.name}(...) to call it." if isinstance(entity, Callables) else ""
    if isinstance(entity, ir.Table):
        hint = f"Write {node.name}.apply()."
    raise P4Error(f"{node.name} is {describe(entity)}, not a value", place=node.place, hint=hint)


def _type_member(ctx: Context, node: s.TypeMember) -> ir.Expression:
    entity = ctx.scope.lookup(node.type.name, node.type.top, node.type.place)
    if not isinstance(entity, Named) or not isinstance(entity.type, EnumType):
        raise P4Error(f"{node.type.name} is not an enum, so it has no member {node.member}", place=node.place)
    kind = entity.type
    number = ctx.state.number_of(kind, node.member)
    if number is None:
        hint = closest(node.member, kind.members)
        raise P4Error(f"{kind} has no member {node.member}", place=node.place, hint=hint)
    return ir.Literal(kind.values[number] if kind.underlying else number, kind, place=node.place)


def _member(ctx: Context, node: s.Member) -> Step[ir.Expression]:
    """Check `base.name` with all of its bases, such as `a.b.c`, including `table.apply().hit`."""
    chain = [node]
    while isinstance(base := chain[-1].base, s.Member):
        chain.append(base)
    return _fields(ctx, _name(ctx, base), chain) if isinstance(base, s.Name) else _member_of(ctx, base, chain)


def _member_of(ctx: Context, base: s.Expression, chain: list[s.Member]) -> Walk[ir.Expression]:
    """Check members of a base that is not a name. `chain` has the innermost member last."""
    table = applied_table(ctx, base)
    if table is not None:
        if ctx.binding:
            raise P4Error("a table cannot be applied in a list of actions", place=base.place)
        return _fields(ctx, _table_member(table, chain.pop()), chain)
    made: ir.Expression = yield expression(ctx, base)
    return _fields(ctx, made, chain)


def _fields(ctx: Context, base: ir.Expression, chain: list[s.Member]) -> ir.Expression:
    for node in reversed(chain):
        base = _field(ctx, base, node)
    return base


def _field(ctx: Context, base: ir.Expression, node: s.Member) -> ir.Expression:
    kind, name = base.type, node.member
    match kind:
        case StructType() | HeaderType() | UnionType():
            each = kind.field(name)
            if each is None:
                hint = closest(name, [field.name for field in kind.fields])
                raise P4Error(f"{kind or 'the struct'} has no field {name}", place=node.at, hint=hint)
            if isinstance(base, ir.StructValue):
                return base.elements[kind.fields.index(each)]
            return ir.Member(base, name, each.type, place=node.place)
        case StackType():
            return _stack_member(ctx, base, kind, node)
        case TupleType() if name.isdecimal():
            return ir.Member(base, name, kind.elements[int(name)], place=node.place)
    raise P4Error(f"{kind} has no fields, so no {name}", place=node.at)


def _table_member(table: ir.Table, node: s.Member) -> ir.Expression:
    match node.member:
        case "hit" | "miss":
            return ir.TableHit(table, BOOL, node.member == "miss", place=node.place)
        case "action_run":
            raise P4Error("action_run can only be the subject of a switch", place=node.place)
    hint = closest(node.member, ["hit", "miss", "action_run"])
    raise P4Error(f"apply() gives hit, miss and action_run, not {node.member}", place=node.at, hint=hint)


def applied_table(ctx: Context, node: s.Expression) -> ir.Table | None:
    """Return the table of `table.apply()`, or None for any other expression. Marks the table as applied.

    P4Error if the call has arguments.
    """
    match node:
        case s.Call(callee=s.Member(base=s.Name() as name, member="apply")):
            entity = ctx.scope.lookup(name.name, name.top, name.place)
            if isinstance(entity, ir.Table):
                if node.arguments:
                    raise P4Error("a table's apply takes no arguments", place=node.place)
                ctx.state.applied.add(entity.name)
                ctx.state.copies.take(entity, entity.name, node.place)
                return entity
    return None


def _stack_member(ctx: Context, base: ir.Expression, kind: StackType, node: s.Member) -> ir.Expression:
    name = node.member
    if name == "size":
        return ir.Literal(kind.size, Bits(32), place=node.place)
    if name in ("next", "last", "lastIndex"):
        if not ctx.in_parser:
            raise P4Error(f"a stack's {name} can only be used in a parser", place=node.place)
        if name == "next" and not ctx.writing:
            hint = "Read its last instead; next is where extract puts a header."
            ctx.state.postpone(P4Error("a stack's next cannot be read", place=node.place, hint=hint))
        if name == "next":
            return ir.Next(base, kind.element, place=node.place)
        index = name == "lastIndex"
        return ir.Last(base, Bits(32) if index else kind.element, index, place=node.place)
    known_names = ["next", "last", "lastIndex", "size", "push_front", "pop_front"]
    raise P4Error(f"a header stack has no {name}", place=node.at, hint=closest(name, known_names))


def _index(ctx: Context, node: s.Index) -> Walk[ir.Expression]:
    base: ir.Expression = yield expression(ctx, node.base)
    if isinstance(base.type, TupleType):
        number: int = yield constant_int(ctx, node.index, "the index of a tuple")
        if not 0 <= number < len(base.type.elements):
            raise P4Error(f"{base.type} has no element {number}", place=node.index.place)
        if isinstance(base, ir.StructValue):
            return base.elements[number]
        return ir.Member(base, str(number), base.type.elements[number], place=node.place)
    if not isinstance(base.type, StackType):
        hint = f"Write [{0}:{0}] for a single bit." if isinstance(base.type, Bits) else ""
        raise P4Error(f"{base.type} cannot be indexed", place=node.place, hint=hint)
    index: ir.Expression = yield expression(ctx, node.index)
    index = underlying(index)
    if index.type == INTEGER:
        index = coerce(index, Bits(32))
    if not isinstance(index.type, Bits):
        raise P4Error(f"an index must be a number, not {index.type}", place=node.index.place)
    number_ = number_in(index)
    if number_ is not None and not 0 <= number_ < base.type.size:
        raise P4Error(f"index {number_} is outside of {base.type}", place=node.index.place)
    return ir.Index(base, index, base.type.element, place=node.place)


def _slice(ctx: Context, node: s.Slice) -> Walk[ir.Expression]:
    base: ir.Expression = yield expression(ctx, node.base)
    high: int = yield constant_int(ctx, node.high, "a slice's first bit")
    low: int = yield constant_int(ctx, node.low, "a slice's last bit")
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
