"""Implicit conversions (P4_16, section 8.11): constants take their context's width, and lists become structs."""

from __future__ import annotations

from dataclasses import replace

from midflight.errors import P4Error, Place
from midflight.p4 import ir
from midflight.p4.check.context import State
from midflight.p4.check.fold import wrap
from midflight.p4.check.scope import closest
from midflight.p4.types import (
    BOOL,
    INTEGER,
    Bits,
    EnumType,
    HeaderType,
    Integer,
    ListType,
    StackType,
    StringType,
    StructType,
    TupleType,
    Type,
)

__all__ = ["anonymous", "coerce", "compatible", "has_integer", "has_string", "settle", "settled", "warn_cut"]


def anonymous(kind: Type) -> bool:
    """Return whether a type is that of a list or struct expression that has not been coerced to a named type yet."""
    return isinstance(kind, TupleType) or (isinstance(kind, StructType) and not kind.name)


def compatible(given: Type, wanted: Type) -> bool:
    """Return whether a value of type `given` converts implicitly to type `wanted`. Equal types do.

    This looks at types only, and of a struct expression only at the names of its fields. So `coerce` may still raise
    P4Error. Lists for header stacks are not covered: the result is False, although `coerce` accepts them.
    """
    if given == wanted:
        return True
    match given, wanted:
        case Integer(), Bits():
            return True
        case EnumType(underlying=Bits() as underlying), Bits():
            return underlying == wanted
        case TupleType(elements=elements), TupleType(elements=others):
            return len(elements) == len(others) and all(map(compatible, elements, others))
        case TupleType(elements=elements), ListType(element=element):
            return all(compatible(each, element) for each in elements)
        case TupleType(elements=elements), (StructType() | HeaderType()):
            fields = [each.type for each in wanted.fields]
            return len(elements) == len(fields) and all(map(compatible, elements, fields))
        case StructType(name=""), (StructType() | HeaderType()):
            return {each.name for each in given.fields} == {each.name for each in wanted.fields}
    return False


def coerce(value: ir.Expression, wanted: Type, what: str = "", state: State | None = None) -> ir.Expression:
    """Return a checked value converted to the type that its context requires.

    `what` names the destination in error messages, such as "the value of meta.port". With `state`, a constant that does
    not fit is truncated with a warning; without it, silently. Raises P4Error if there is no implicit conversion, with
    the explicit cast as a hint if one exists.
    """
    given = value.type
    if given == wanted:
        return value
    match given, wanted:
        case Integer(), Bits() if isinstance(value, ir.Literal) and isinstance(value.value, int):
            if state is not None:
                warn_cut(state, value.value, wanted, value.place)
            return ir.Literal(wrap(value.value, wanted), wanted, place=value.place)
        case EnumType(underlying=Bits() as underlying), Bits() if underlying == wanted:
            if isinstance(value, ir.Literal):
                return replace(value, type=wanted)
            return ir.Cast(value, wanted, place=value.place)
    if isinstance(value, ir.StructValue) and anonymous(given):
        return _structure(value, wanted, what, state)
    raise mismatch(value, wanted, what)


def warn_cut(state: State, number: int, kind: Bits, place: Place | None) -> None:
    """Record a warning if the type `kind` truncates a constant. `place` is the constant's; None records nothing."""
    held = wrap(number, kind)
    if held != number:
        hint = f"Write ({kind}){number if number >= 0 else f'({number})'} if that is intended."
        state.warn(f"{number} does not fit {kind}: it becomes {held}", place, hint)


def _structure(value: ir.StructValue, wanted: Type, what: str, state: State | None) -> ir.Expression:
    given, place = value.type, value.place
    match wanted:
        case StructType() | HeaderType():
            names = [each.name for each in wanted.fields]
            kinds = [each.type for each in wanted.fields]
        case ListType(element=kind) if isinstance(given, TupleType):
            size = len(given.elements)
            names, kinds = [str(i) for i in range(size)], [kind] * size
        case TupleType(elements=inner) if isinstance(given, TupleType):
            names, kinds = [str(i) for i in range(len(inner))], list(inner)
        case StackType(element=header, size=size) if isinstance(given, TupleType):
            names, kinds = [f"[{i}]" for i in range(size)], [header] * size
        case _:
            raise mismatch(value, wanted, what)
    elements = value.elements
    if isinstance(given, StructType):
        by_name = dict(zip((each.name for each in given.fields), elements, strict=True))
        for name in by_name:
            if name not in names:
                raise P4Error(f"{wanted} has no field {name}", place=place, hint=closest(name, names))
        missing = [name for name in names if name not in by_name]
        if missing:
            raise P4Error(f"no value for {', '.join(missing)} of {wanted}", place=place)
        elements = tuple(by_name[name] for name in names)
    if len(elements) != len(kinds):
        given_number = "1 value is" if len(elements) == 1 else f"{len(elements)} values are"
        raise P4Error(f"{wanted} has {len(kinds)} fields, and {given_number} given", place=place)
    return ir.StructValue(
        tuple(coerce(v, k, f"field {n} of {wanted}", state) for v, k, n in zip(elements, kinds, names, strict=True)),
        wanted,
        place=place,
    )


def mismatch(value: ir.Expression, wanted: Type, what: str) -> P4Error:
    """Return the error, to be raised, for a value of the wrong type; its hint is an explicit cast if one exists."""
    given = value.type
    shown = "a list" if anonymous(given) else str(given)
    message = f"{what or 'this'} must be {_article(wanted)}, not {shown}"
    return P4Error(message, place=value.place, hint=_cast_hint(given, wanted, value.place))


def _article(kind: Type) -> str:
    return "an int known at compile time" if kind == INTEGER else str(kind)


def _cast_hint(given: Type, wanted: Type, place: Place | None) -> str:
    text = ""
    if place is not None:
        start = place.column - 1
        text = place.text[start : start + place.length].strip()
    shown = text if text and len(text) <= 30 else "..."
    if shown != "..." and any(mark in shown for mark in " +-*/&|^<>?"):
        shown = f"({shown})"
    match given, wanted:
        case Bits(signed=a), Bits(signed=b):
            if a != b and given.width != wanted.width:
                same_width = Bits(given.width, b)
                return f"Write ({wanted})({same_width}){shown}."
            verb = "cut it off" if given.width > wanted.width else "extend it"
            return f"Write ({wanted}){shown} to {verb}." if given.width != wanted.width else f"Write ({wanted}){shown}."
        case Bits(width=1, signed=False), kind if kind == BOOL:
            return f"Write ({wanted}){shown}, or compare it: {shown} == 1."
        case Bits() | Integer(), kind if kind == BOOL:
            return f"Compare it: {shown} != 0."
        case kind, Bits(width=1, signed=False) if kind == BOOL:
            return f"Write ({wanted}){shown}."
        case kind, Bits(signed=False) if kind == BOOL:
            return f"Write ({wanted})(bit<1>){shown}."
        case Bits(), EnumType(underlying=Bits()):
            return f"Write ({wanted}){shown}."
    return ""


def has_integer(kind: Type) -> bool:
    """Return whether a type is `int` without a width, or contains one."""
    match kind:
        case Integer():
            return True
        case TupleType(elements=elements):
            return any(map(has_integer, elements))
        case StructType(fields=fields):
            return any(has_integer(each.type) for each in fields)
    return False


def has_string(kind: Type) -> bool:
    """Return whether a type is `string`, or contains one."""
    match kind:
        case StringType():
            return True
        case TupleType(elements=elements):
            return any(map(has_string, elements))
        case StructType(fields=fields):
            return any(has_string(each.type) for each in fields)
    return False


def settled(kind: Type, value: ir.Expression | None = None) -> Type:
    """Return a type in which each `int` without a width is replaced by bits: 32, or as many as `value` needs.

    They are signed if the number in `value` is negative.
    """
    match kind:
        case Integer():
            number = value.value if isinstance(value, ir.Literal) and isinstance(value.value, int) else 0
            return Bits(max(32, number.bit_length() + (number < 0)), number < 0)
        case TupleType(elements=elements):
            values = value.elements if isinstance(value, ir.StructValue) else (None,) * len(elements)
            return TupleType(tuple(map(settled, elements, values)))
        case StructType(fields=fields) if has_integer(kind):
            values = value.elements if isinstance(value, ir.StructValue) else (None,) * len(fields)
            return replace(
                kind, fields=tuple(replace(f, type=settled(f.type, v)) for f, v in zip(fields, values, strict=True))
            )
    return kind


def settle(value: ir.Expression) -> ir.Expression:
    """Return a value in whose type each `int` without a width is replaced by bits: 32, or as many as it needs."""
    if not has_integer(value.type):
        return value
    kind = settled(value.type, value)
    if isinstance(value, ir.StructValue) and isinstance(kind, StructType):
        return ir.StructValue(tuple(map(settle, value.elements)), kind, place=value.place)
    return coerce(value, kind)
