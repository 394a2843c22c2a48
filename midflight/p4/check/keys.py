"""Checks the match fields of tables, and derives their control-plane names."""

from __future__ import annotations

from midflight.errors import P4Error
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.annotated import evaluated
from midflight.p4.check.context import Context, annotations_of, refuse
from midflight.p4.check.expressions import probe
from midflight.p4.check.fold import is_literal
from midflight.p4.check.scope import closest
from midflight.p4.check.typing import constant_int
from midflight.p4.types import Bits, Bool, EnumType, ErrorType, HeaderType, StructType, UnionType
from midflight.stackless import Walk, in_turn

__all__ = ["key"]


def key(ctx: Context, node: d.Key, matched: ir.Expression) -> Walk[ir.Key]:
    """Check one match field of a table, whose expression is checked already, and return it.

    Its name is that of `@name`, or derived from its expression. Raises P4Error for a type or match kind that does not
    exist or is not supported, and for an expression that needs `@name`.
    """
    kind = matched.type
    if not isinstance(kind, Bits | Bool | EnumType | ErrorType):
        raise P4Error(f"a key must be a number, a bool, an enum or an error, not {kind}", place=node.place)
    if node.kind not in ctx.state.match_kinds:
        hint = closest(node.kind, list(ctx.state.match_kinds))
        raise P4Error(f"there is no match kind {node.kind}", place=node.kind_place, hint=hint)
    if node.kind not in ("exact", "lpm", "ternary", "range", "optional", "selector"):
        raise refuse(f"the match kind {node.kind}", node.kind_place, plural=False)
    if node.kind == "range" and isinstance(kind, Bits) and kind.signed:
        raise refuse("a range of signed numbers", node.kind_place, plural=False)
    if kind == Bits(0):
        raise refuse("a key of bit<0>", node.place, plural=False)
    given = annotations_of(node.annotations).get("name")
    name: str = (yield _name(ctx, node.expression)) if given is None else given.strip().strip('"')
    if not name:
        raise P4Error("this key needs a name", place=node.place, hint='Add @name("...") after the match kind.')
    annotations: dict[str, str] = yield evaluated(ctx, node.annotations)
    return ir.Key(matched, node.kind, name, annotations)


def _name(ctx: Context, node: s.Expression) -> Walk[str]:
    """Return the control-plane name derived from a key's expression, or an empty string where it needs `@name`."""
    parts: list[str] = []
    inner = node
    while True:
        match inner:
            case s.Name(name=name, top=top):
                return "".join(["." * top, name, *reversed(parts)])
            case s.Member(base=base, member=member):
                field: str = yield _field_name(ctx, base, member)
                if field.startswith("."):  # an absolute name replaces those of the structs around the field
                    return "".join([field[1:], *reversed(parts)])
                parts.append(f".{field}")
            case s.Index(base=base, index=index):
                at: ir.Expression = yield probe(ctx, index)
                shown: str = str(at.value) if is_literal(at) else (yield _name(ctx, index))
                if not shown:
                    return ""
                parts.append(f"[{shown}]")
            case s.Slice(base=base, high=high, low=low):
                ends: list[int] = yield in_turn(constant_int(ctx, each, "a slice's bit") for each in (high, low))
                parts.append(f"[{ends[0]}:{ends[1]}]")
            case s.Call(callee=s.Member(base=base, member="isValid"), arguments=()):
                parts.append(".$valid$")
            case s.Cast(operand=base):
                pass
            case s.Binary(operator="&", left=base, right=s.Number(value=value)):
                parts.append(f" & {value:#x}")
            case _:
                return ""
        inner = base


def _field_name(ctx: Context, base: s.Expression, member: str) -> Walk[str]:
    """Return a field's control-plane name: its own, or that of its `@name`."""
    whole: ir.Expression = yield probe(ctx, base)
    kind = whole.type
    each = kind.field(member) if isinstance(kind, StructType | HeaderType | UnionType) else None
    given = each.annotations.get("name") if each is not None else None
    return member if given is None else given.strip().strip('"')
