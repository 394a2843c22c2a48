"""Checks keysets: the keys of select cases and table entries."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.errors import P4Error, Place
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.coerce import coerce
from midflight.p4.check.context import Context
from midflight.p4.check.expressions import expression
from midflight.p4.check.fold import is_literal
from midflight.p4.check.scope import ValueSet
from midflight.p4.types import Bits, EnumType, Type, width_of
from midflight.stackless import Walk, in_turn

__all__ = ["keyset"]


def keyset(ctx: Context, node: s.SimpleKeyset | s.TupleKeyset, kinds: Sequence[Type], what: str) -> Walk[ir.Keyset]:
    """Check a keyset against the types of its fields, and return a key for each field.

    `what` names the owner in error messages. Raises P4Error for a wrong number of fields, for values of another type or
    not known at compile time, for a mask or range where the field is not a number, for a value set as one of several
    fields, and for an empty range.
    """
    if isinstance(node, s.TupleKeyset):
        elements: tuple[s.SimpleKeyset, ...] = node.elements
    elif isinstance(node, s.ListExpression):
        elements = node.elements
    elif isinstance(node, s.DefaultKeyset):
        return tuple(ir.EntryKey(None) for _ in kinds)
    else:
        elements = (node,)
    if len(elements) != len(kinds):
        fields = f"{len(kinds)} field{'s' * (len(kinds) != 1)}"
        given = f"{len(elements)} {'is' if len(elements) == 1 else 'are'}"
        raise P4Error(f"{what} has {fields}, and {given} given", place=node.place)
    keys: list[ir.EntryKey] = yield in_turn(
        _entry_key(ctx, each, kind) for each, kind in zip(elements, kinds, strict=True)
    )
    return tuple(keys)


def _entry_key(ctx: Context, node: s.SimpleKeyset, kind: Type) -> Walk[ir.EntryKey]:
    match node:
        case s.DefaultKeyset():
            return ir.EntryKey(None)
        case s.MaskKeyset():
            _needs_bits(kind, node.place, "&&&")
            mask: int = yield _key_value(ctx, node.mask, kind)
            mask &= (1 << width_of(kind)) - 1
            number: int = yield _key_value(ctx, node.value, kind)
            return ir.EntryKey(number & mask, mask=mask)
        case s.RangeKeyset():
            _needs_bits(kind, node.place, "..")
            low: int = yield _key_value(ctx, node.low, kind)
            high: int = yield _key_value(ctx, node.high, kind)
            if low > high:
                raise P4Error(f"the range {low} .. {high} is empty", place=node.place)
            return ir.EntryKey(low, high=high)
    number = yield _key_value(ctx, node, kind)
    return ir.EntryKey(number)


def _needs_bits(kind: Type, place: Place, mark: str) -> None:
    if not isinstance(kind, Bits) and not (isinstance(kind, EnumType) and kind.underlying is not None):
        raise P4Error(f"{mark!r} needs numbers, and the key is {kind}", place=place)


def _key_value(ctx: Context, node: s.Expression, kind: Type) -> Walk[int]:
    if isinstance(node, s.Name) and isinstance(ctx.scope.find(node.name), ValueSet):
        hint = "It stands alone, and has as many fields as the select."
        raise P4Error(f"the value set {node.name} cannot be one field of a keyset", place=node.place, hint=hint)
    value: ir.Expression = yield expression(ctx, node)
    if isinstance(kind, EnumType) and kind.underlying is not None and value.type != kind:
        kind = kind.underlying
    value = coerce(value, kind, "this key", ctx.state)
    if not is_literal(value):
        raise P4Error("a key must be known at compile time", place=node.place)
    return int(value.value)
