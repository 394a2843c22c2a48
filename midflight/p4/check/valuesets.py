"""Checks value sets of parsers (P4_16, section 13.11)."""

from __future__ import annotations

from collections.abc import Iterator

from midflight.errors import P4Error
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4.check.annotated import evaluated
from midflight.p4.check.context import Context
from midflight.p4.check.limits import MOST
from midflight.p4.check.parameters import qualified
from midflight.p4.check.scope import ValueSet
from midflight.p4.check.typing import constant_int, type_of
from midflight.p4.types import Bits, Bool, EnumType, Field, StructType, TupleType, Type
from midflight.stackless import Walk

__all__ = ["value_set"]

KINDS = ("exact", "lpm", "ternary", "range", "optional")


def value_set(ctx: Context, node: d.ValueSet) -> Walk[None]:
    """Check the declaration of a value set, and add it to the scope and to the program.

    It is a table whose keys are its fields: those of a struct, at any depth, with the match kind of `@match`, or else
    exact. P4Error for fields of other types, a match kind that does not exist, a size that is not 1 to MOST, or a
    name that is taken.
    """
    kind: Type = yield type_of(ctx, node.type)
    size: int = yield constant_int(ctx, node.size, "the size of a value set")
    if not 0 < size <= MOST:
        raise P4Error(f"a value set has 1 to {MOST} members, not {size}", place=node.size.place)
    keys: list[ir.Key] = []
    for each in _fields(Field("", kind)):
        if not isinstance(each.type, Bits | Bool) and not (isinstance(each.type, EnumType) and each.type.underlying):
            raise P4Error(f"a value set consists of numbers, bools and enums, not {each.type}", place=node.type.place)
        if each.type == Bits(0):
            raise P4Error("a value set with a field of bit<0> is not supported yet", place=node.type.place)
        match = each.annotations.get("match", "exact").strip()
        if match not in KINDS:
            raise P4Error(f"@match({match}) must name one of {', '.join(KINDS)}", place=node.type.place)
        field = ir.Variable(each.name, each.type, node.place)
        annotations = {name: text for name, text in each.annotations.items() if name != "match"}
        keys.append(ir.Key(ir.VariableRef(field, each.type), match, each.name, annotations))
    name = qualified(ctx.name, node.name, node.annotations)
    annotations = yield evaluated(ctx, node.annotations)
    found = ir.ActionRef(ir.Action("found", (), ir.Block(())))
    made = ir.Table(
        name, tuple(keys), (found,), found, (), size=size, annotations=annotations, place=node.place, listed=tuple(keys)
    )
    ctx.state.add(ctx.state.value_sets, name, made, node.place)
    ctx.scope.declare(node.name, ValueSet(made), node.place)


def _fields(whole: Field) -> Iterator[Field]:
    match whole.type:
        case StructType(fields=fields):
            inner = list(fields)
        case TupleType(elements=elements):
            inner = [Field(f"f{number}", each) for number, each in enumerate(elements)]
        case _:
            yield whole
            return
    for each in inner:
        name = f"{whole.name}.{each.name}" if whole.name else each.name
        yield from _fields(Field(name, each.type, each.annotations))
