"""Checks methods of headers, stacks and the packet that return a value."""

from __future__ import annotations

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.coerce import has_integer
from midflight.p4.check.context import Context, refuse
from midflight.p4.check.expressions import expression
from midflight.p4.check.scope import Packet, closest
from midflight.p4.check.sizes import SIZES, size_in
from midflight.p4.check.typing import type_of
from midflight.p4.types import BOOL, INTEGER, VOID, HeaderType, StackType, StructType, Type, UnionType, Varbit
from midflight.stackless import Walk

__all__ = ["count_arguments", "method", "size_of"]


def method(ctx: Context, node: s.Call, callee: s.Member) -> Walk[ir.Expression]:
    """Check `object.method(...)` where its value is used, and return the value.

    `callee` is the part before the parentheses. P4Error if the method returns no value or does not exist.
    """
    if isinstance(callee.base, s.Name):
        entity = ctx.scope.lookup(callee.base.name, callee.base.top, callee.base.place)
        match entity:
            case Packet(kind="packet_in"):
                made: ir.Expression = yield _packet_value(ctx, node, callee)
                return made
            case Packet():
                raise P4Error(f"packet_out's {callee.member} returns no value", place=callee.at)
            case ir.Table():
                hint = "Write .apply().hit or .apply().miss."
                raise P4Error("apply() of a table is a statement, not a value", place=node.place, hint=hint)
    base: ir.Expression = yield expression(ctx, callee.base)
    if callee.member in SIZES:
        return size_of(node, callee.member, base.type)
    if callee.member == "isValid" and isinstance(base.type, HeaderType | UnionType):
        count_arguments(node, 0, "isValid")
        return ir.IsValid(base, BOOL, place=node.place)
    known = {
        HeaderType: ["isValid", "setValid", "setInvalid"],
        UnionType: ["isValid"],
        StackType: ["push_front", "pop_front"],
    }
    names = known.get(type(base.type), [])
    if callee.member in names:
        raise P4Error(f"{callee.member} returns no value", place=node.place)
    raise P4Error(f"{base.type} has no method {callee.member}", place=callee.at, hint=closest(callee.member, names))


def _packet_value(ctx: Context, node: s.Call, callee: s.Member) -> Walk[ir.Expression]:
    if callee.member == "lookahead":
        if len(node.types) != 1:
            hint = "Write packet.lookahead<bit<8>>()."
            raise P4Error("lookahead needs a type argument", place=node.place, hint=hint)
        count_arguments(node, 0, "lookahead")
        kind: Type = yield type_of(ctx, node.types[0])
        if _has_varbit(kind) or has_integer(kind) or kind == VOID:
            raise P4Error(f"lookahead needs a type of fixed width, not {kind}", place=node.types[0].place)
        return ir.Lookahead(kind, place=node.place)
    if callee.member == "length":
        raise refuse("packet_in's length()", node.place, plural=False)
    if callee.member in ("extract", "advance"):
        raise P4Error(f"{callee.member} returns no value", place=node.place)
    hint = closest(callee.member, ["extract", "lookahead", "advance", "length"])
    raise P4Error(f"packet_in has no method {callee.member}", place=callee.at, hint=hint)


def count_arguments(node: s.Call, wanted: int, name: str) -> None:
    """Raise P4Error unless a call has exactly `wanted` arguments. `name` is the method, for the message."""
    if len(node.arguments) != wanted:
        number = len(node.arguments)
        raise P4Error(f"{name} takes {wanted or 'no'} argument{'s' * (wanted != 1)}, not {number}", place=node.place)


def size_of(node: s.Call, method: str, kind: Type) -> ir.Expression:
    """Check `minSizeInBits()` or a relative on a value or type, and return the constant.

    P4Error if the type has no size.
    """
    count_arguments(node, 0, method)
    size = size_in(method, kind)
    if size is None:
        raise P4Error(f"{kind} has no size, so no {method}", place=node.place)
    return ir.Literal(size, INTEGER, place=node.place)


def _has_varbit(kind: Type) -> bool:
    match kind:
        case Varbit():
            return True
        case StructType(fields=fields) | HeaderType(fields=fields):
            return any(_has_varbit(each.type) for each in fields)
    return False
