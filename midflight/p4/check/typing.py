"""Resolves types: from the syntax tree to `types.Type`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from midflight.errors import P4Error, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.context import Context
from midflight.p4.check.fold import is_literal
from midflight.p4.check.limits import WIDEST
from midflight.p4.check.scope import Named, Scope, describe
from midflight.p4.types import (
    BOOL,
    ERROR,
    INTEGER,
    STRING,
    VOID,
    Bits,
    EnumType,
    ExternType,
    HeaderType,
    Integer,
    ListType,
    StackType,
    TupleType,
    Type,
    UnionType,
    Varbit,
)
from midflight.stackless import Step, Walk, in_turn

__all__ = ["constant_int", "type_arguments", "type_of"]


def constant_int(ctx: Context, node: s.Expression, what: str) -> Step[int]:
    """Check an expression that must be a compile-time integer, and return its value.

    `what` names it in the message. Raises P4Error if it is not known at compile time or not an integer.
    """
    if isinstance(node, s.Number) and node.width is None:
        return node.value
    return _constant_int(ctx, node, what)


def _constant_int(ctx: Context, node: s.Expression, what: str) -> Walk[int]:
    value: ir.Expression = yield ctx.state.checks.expression(ctx, node)
    if not is_literal(value) or not isinstance(value.type, Bits | Integer | EnumType):
        raise P4Error(f"{what} must be an integer known at compile time", place=node.place)
    return int(value.value)


def type_of(ctx: Context, node: s.Type) -> Step[Type]:
    """Return the type that a node of the syntax tree denotes.

    Raises P4Error for names that are unknown or no types, a wrong number of type arguments, widths and sizes that are
    out of range or not known at compile time, stacks of anything other than headers and header unions, stacks without
    an element, types that contain themselves, are too large or nest too deeply, and types that are not supported.
    """
    match node:
        case s.BaseType():
            return _base(ctx, node)
        case s.TypeName():
            return _named(ctx, node)
        case s.StackType():
            return _stack(ctx, node)
        case s.TupleType(is_list=True):
            return _list(ctx, node)
        case s.TupleType():
            return _tuple(ctx, node)
        case s.SpecialisedType():
            return _specialised(ctx, node)


def _stack(ctx: Context, node: s.StackType) -> Walk[Type]:
    element: Type = yield type_of(ctx, node.element)
    if not isinstance(element, HeaderType | UnionType):
        raise P4Error(f"a stack holds headers, and {element} is not a header", place=node.place)
    size: int = yield constant_int(ctx, node.size, "the size of a header stack")
    if size < 1:
        raise P4Error("a header stack needs at least one element", place=node.size.place)
    return ctx.state.extents.bounded(StackType(element, size), node.size.place)


def _tuple(ctx: Context, node: s.TupleType) -> Walk[Type]:
    elements: list[Type] = yield in_turn(type_of(ctx, each) for each in node.elements)
    return ctx.state.extents.bounded(TupleType(tuple(elements)), node.place)


def _list(ctx: Context, node: s.TupleType) -> Walk[Type]:
    if len(node.elements) != 1:
        raise P4Error(f"a list has 1 type argument, not {len(node.elements)}", place=node.place)
    element: Type = yield type_of(ctx, node.elements[0])
    return ctx.state.extents.bounded(ListType(element), node.place)


def _base(ctx: Context, node: s.BaseType) -> Step[Type]:
    match node.name:
        case "bool":
            return BOOL
        case "error":
            return ERROR
        case "string":
            return STRING
        case "void":
            return VOID
        case "int" if node.width is None:
            return INTEGER
        case "bit" if node.width is None:
            return Bits(1)
        case "bit" | "int" | "varbit":
            assert node.width is not None
            step = constant_int(ctx, node.width, "a width")
            return _bits(node, node.width.place, step) if isinstance(step, int) else _computed_bits(node, step)
    raise P4Error(f"{node.name} is not a type here", place=node.place)


def _computed_bits(node: s.BaseType, walk: Walk[int]) -> Walk[Type]:
    assert node.width is not None
    width: int = yield walk
    return _bits(node, node.width.place, width)


def _bits(node: s.BaseType, place: Place, width: int) -> Type:
    if width == 0 and node.name == "bit":
        return Bits(0)
    least = 0 if node.name == "varbit" else 1
    if not least <= width <= (1 << 16 if node.name == "varbit" else WIDEST):
        raise P4Error(f"a width of {width} bits is out of range", place=place)
    return Varbit(width) if node.name == "varbit" else Bits(width, node.name == "int")


def _named(ctx: Context, node: s.TypeName) -> Type:
    entity = ctx.scope.lookup(node.name, node.top, node.place)
    match entity:
        case Named(type=kind):
            return kind
        case d.Extern(type_parameters=()):
            return ExternType(node.name)
        case d.Extern(type_parameters=parameters):
            raise P4Error(
                f"{node.name} needs type arguments", place=node.place, hint=f"{node.name}<{', '.join(parameters)}>"
            )
        case d.Structure(type_parameters=parameters):
            hint = f"{node.name}<{', '.join(parameters)}>"
            raise P4Error(f"{node.name} needs type arguments", place=node.place, hint=hint)
    raise P4Error(f"{node.name} is {describe(entity)}, not a type of values", place=node.place)


def _specialised(ctx: Context, node: s.SpecialisedType) -> Walk[Type]:
    entity = ctx.scope.lookup(node.base.name, node.base.top, node.place)
    if isinstance(entity, d.Extern):
        arguments: tuple[Type, ...] = yield type_arguments(ctx, entity, node.arguments, node.place)
        return ctx.state.extents.bounded(ExternType(node.base.name, arguments), node.place)
    if isinstance(entity, d.Structure):
        made: Type = yield _generic(ctx, entity, node)
        return made
    raise P4Error(f"{node.base.name} takes no type arguments", place=node.place)


def _generic(ctx: Context, declaration: d.Structure, node: s.SpecialisedType) -> Walk[Type]:
    """Return the type that a generic struct or header becomes with type arguments."""
    arguments: tuple[Type, ...] = yield type_arguments(ctx, declaration, node.arguments, node.place)
    known = ctx.state.generic
    key = id(declaration), arguments
    if key in known:
        kind = known[key]
        if kind is None:
            raise P4Error(f"{declaration.name} contains itself", place=node.place)
        return kind
    known[key] = None
    scope = Scope(ctx.scope.top)
    for name, each in zip(declaration.type_parameters, arguments, strict=True):
        scope.declare(name, Named(each), node.place)
    full = f"{declaration.name}<{', '.join(map(str, arguments))}>"
    made: Type = yield ctx.state.checks.structure(
        Context(ctx.state, scope, "program"), replace(declaration, name=full, type_parameters=())
    )
    known[key] = made
    return made


def type_arguments(
    ctx: Context, extern: d.Extern | d.Structure | d.Control | d.Parser, nodes: Sequence[s.Type], place: Place
) -> Walk[tuple[Type, ...]]:
    """Check the type arguments of something that may be generic, and return their types.

    P4Error for a wrong number of them.
    """
    wanted = len(extern.type_parameters)
    if len(nodes) != wanted:
        raise P4Error(f"{extern.name} takes {_counted(wanted, 'type argument')}, not {len(nodes)}", place=place)
    kinds: list[Type] = yield in_turn(type_of(ctx, each) for each in nodes)
    return tuple(kinds)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
