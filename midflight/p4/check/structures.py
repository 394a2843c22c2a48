"""Checks declarations of headers, structs and enums."""

from __future__ import annotations

from midflight.errors import P4Error
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4.check.annotated import annotation_numbers
from midflight.p4.check.coerce import coerce
from midflight.p4.check.context import Context, annotations_of, refuse
from midflight.p4.check.expressions import expression
from midflight.p4.check.fold import is_literal
from midflight.p4.check.limits import ELEMENTS
from midflight.p4.check.typing import type_of
from midflight.p4.types import (
    VOID,
    Bits,
    Bool,
    EnumType,
    ExternType,
    Field,
    HeaderType,
    Integer,
    ListType,
    StringType,
    StructType,
    Type,
    UnionType,
    Varbit,
    width_of,
)
from midflight.stackless import Walk

__all__ = ["enumeration", "structure"]


def structure(ctx: Context, node: d.Structure) -> Walk[Type]:
    """Return the type of a struct, header or header union, and record headers in the checker's state.

    The type parameters of a generic declaration must already be in the scope. Raises P4Error for duplicate fields, for
    field types that P4 does not allow there (P4_16, section 7.2), for more than one varbit field or one that does not
    begin at a whole byte, for an invalid `@field_list`, and for a type that is too large or nests too deeply.
    """
    fields: list[Field] = []
    names: set[str] = set()
    for each in node.fields:
        if each.name in names:
            raise P4Error(f"{node.name} has two fields named {each.name}", place=each.place)
        names.add(each.name)
        kind: Type = yield type_of(ctx, each.type)
        if isinstance(kind, ExternType | StringType | Integer | ListType) or kind == VOID:
            raise P4Error(f"a field cannot be of type {kind}", place=each.place)
        annotations = annotations_of(each.annotations)
        for annotation in each.annotations:
            if annotation.name == "field_list" and node.kind == "struct":
                numbers: list[int] = yield annotation_numbers(ctx, annotation, Bits(8))
                annotations["field_list"] = ", ".join(map(str, numbers))
        fields.append(Field(each.name, kind, annotations))
    if node.kind == "struct":
        struct = StructType(node.name, tuple(fields))
        ctx.state.extents.bounded(struct, node.place)
        return struct
    if node.kind == "header_union":
        for each, made in zip(node.fields, fields, strict=True):
            if not isinstance(made.type, HeaderType):
                raise P4Error(f"a header union contains headers, not {made.type}", place=each.place)
        union = UnionType(node.name, tuple(fields))
        ctx.state.extents.bounded(union, node.place)
        return union
    for each, made in zip(node.fields, fields, strict=True):
        if not _in_header(made.type):
            raise P4Error(f"a header cannot contain {_article(made.type)}", place=each.place)
    varying = [each for each, made in zip(node.fields, fields, strict=True) if isinstance(made.type, Varbit)]
    if len(varying) > 1:
        raise P4Error(f"header {node.name} has more than one varbit field", place=varying[1].place)
    if varying:
        before = fields[: next(i for i, each in enumerate(fields) if isinstance(each.type, Varbit))]
        if sum(width_of(each.type) for each in before) % 8:
            raise refuse("a varbit that does not begin at a whole byte", varying[0].place, plural=False)
    controller = annotations_of(node.annotations).get("controller_header", "").strip().strip('"')
    header = HeaderType(node.name, tuple(fields), controller)
    ctx.state.extents.bounded(header, node.place)
    ctx.state.headers.append(header)
    return header


def _in_header(kind: Type) -> bool:
    match kind:
        case Bits() | Bool() | Varbit():
            return True
        case EnumType(underlying=underlying):
            return underlying is not None
        case StructType(fields=fields):
            return all(_in_header(each.type) for each in fields)
    return False


def _article(kind: Type) -> str:
    match kind:
        case EnumType():
            return f"{kind}: an enum needs an underlying type for that, as in enum bit<8> {kind}"
        case HeaderType():
            return f"another header, {kind}"
    return f"{kind}"


def enumeration(ctx: Context, node: d.Enumeration) -> Walk[EnumType]:
    """Return the type of an enum declaration and record it in the checker's state.

    Raises P4Error for duplicate members, more than ELEMENTS of them, an underlying type other than bit<W> and int<W>,
    values without an underlying type, and values that are missing, not constant or out of range.
    """
    if len(node.members) > ELEMENTS:
        raise P4Error(f"{node.name} has {len(node.members)} members, above the limit of {ELEMENTS}", place=node.place)
    names: dict[str, None] = {}
    for each in node.members:
        if each.name in names:
            raise P4Error(f"{each.name} is declared twice in {node.name}", place=each.place)
        names[each.name] = None
    if node.underlying is None:
        for each in node.members:
            if each.value is not None:
                hint = f"Write enum bit<8> {node.name}, for example."
                raise P4Error("an enum without an underlying type takes no values", place=each.place, hint=hint)
        made = EnumType(node.name, tuple(names))
    else:
        underlying: Type = yield type_of(ctx, node.underlying)
        if not isinstance(underlying, Bits):
            raise P4Error(f"an enum's type must be bit<W> or int<W>, not {underlying}", place=node.underlying.place)
        if underlying.new is not None:
            hint = f"Write enum {underlying} {node.name}."
            raise P4Error(f"an enum's type cannot be the new type {underlying.new.name}", place=node.place, hint=hint)
        values: list[int] = []
        for each in node.members:
            if each.value is None:
                raise P4Error(
                    f"{each.name} needs a value", place=each.place, hint=f"Write {each.name} = 1, for example."
                )
            given: ir.Expression = yield expression(ctx, each.value)
            value = coerce(given, underlying, f"the value of {each.name}")
            if not is_literal(value):
                raise P4Error(f"the value of {each.name} must be known at compile time", place=each.value.place)
            values.append(int(value.value))
            if is_literal(given) and given.value != value.value:
                raise P4Error(f"{each.name} = {given.value} does not fit {underlying}", place=each.value.place)
        made = EnumType(node.name, tuple(names), underlying, tuple(values))
    ctx.state.enums.append(made)
    return made
