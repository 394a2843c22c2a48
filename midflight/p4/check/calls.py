"""Checks calls of functions, and of methods of extern objects, whose value is used."""

from __future__ import annotations

from midflight.errors import P4Error
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.arguments import arguments_in_order, bind, fits, ordered, signature
from midflight.p4.check.context import Context
from midflight.p4.check.fold import is_literal
from midflight.p4.check.methods import method, size_of
from midflight.p4.check.scope import Callables, Named, Scope, closest, describe
from midflight.p4.check.sizes import SIZES
from midflight.p4.check.typing import type_of
from midflight.p4.types import (
    BOOL,
    VOID,
    Bits,
    Bool,
    Direction,
    EnumType,
    HeaderType,
    StringType,
    StructType,
    TupleType,
    Type,
)
from midflight.stackless import Walk, in_turn

__all__ = ["call"]

DEPRECATED = {
    "resubmit": "resubmit_preserving_field_list",
    "recirculate": "recirculate_preserving_field_list",
    "clone3": "clone_preserving_field_list",
}
OF_LISTS = (
    "hash",
    "verify_checksum",
    "update_checksum",
    "verify_checksum_with_payload",
    "update_checksum_with_payload",
)
KNOWN_FUNCTIONS = frozenset(
    [
        "verify",
        "static_assert",
        "random",
        "digest",
        "mark_to_drop",
        "hash",
        "verify_checksum",
        "update_checksum",
        "verify_checksum_with_payload",
        "update_checksum_with_payload",
        "clone",
        "clone_preserving_field_list",
        "resubmit_preserving_field_list",
        "recirculate_preserving_field_list",
        "truncate",
        "assert",
        "assume",
        "log_msg",
    ]
)
"""v1model's extern functions that engines implement."""


def call(ctx: Context, node: s.Call) -> Walk[ir.Expression]:
    """Check a call whose value is used, and return that value.

    A call of a user's function is inlined. Raises P4Error for a callee that is not callable, for arguments that do not
    fit, for deprecated extern functions, for `verify` outside of a parser, and for a `static_assert` that fails.
    """
    match node.callee:
        case s.Name() as name:
            entity = ctx.scope.lookup(name.name, name.top, name.place)
            if isinstance(entity, Callables):
                walk = _function(ctx, entity, node, name)
            elif isinstance(entity, ir.Action):
                raise P4Error(f"the action {name.name} returns no value", place=node.place)
            else:
                raise P4Error(f"{name.name} is {describe(entity)} and cannot be called", place=node.place)
        case s.Member() as member:
            instance = _instance(ctx, member)
            walk = method(ctx, node, member) if instance is None else _object_method(ctx, instance, node, member)
        case s.TypeMember(type=type_name, member=member_name) if member_name in SIZES:
            kind: Type = yield type_of(ctx, type_name)
            return size_of(node, member_name, kind)
        case _:
            raise P4Error("this cannot be called", place=node.place)
    made: ir.Expression = yield walk
    return made


def _instance(ctx: Context, callee: s.Member) -> ir.Instance | None:
    """Return the extern object whose method is called, or None for a method of anything else."""
    if not isinstance(callee.base, s.Name):
        return None
    entity = ctx.scope.lookup(callee.base.name, callee.base.top, callee.base.place)
    return entity if isinstance(entity, ir.Instance) else None


def _function(ctx: Context, entity: Callables, node: s.Call, name: s.Name) -> Walk[ir.Expression]:
    """Check a call of an extern function, or inline a user's. Overloads differ in their number of parameters."""
    fitting = [each for each in entity.functions if fits(each.prototype.parameters, node.arguments)]
    if not fitting:
        counts = sorted({len(each.prototype.parameters) for each in entity.functions})
        raise P4Error(
            f"{name.name} takes {' or '.join(map(str, counts))} argument{'s' * (counts != [1])}, "
            f"not {len(node.arguments)}",
            place=node.place,
            hint=signature(entity.functions[0].prototype),
        )
    function = fitting[0]
    if function.body is not None:
        inlined: ir.Expression = yield ctx.state.checks.inline(ctx, function, node)
        return inlined
    if name.name in DEPRECATED:
        hint = f"Write {DEPRECATED[name.name]} instead."
        raise P4Error(f"{name.name} is deprecated, and p4c refuses it too", place=node.place, hint=hint)
    if name.name == "mark_to_drop" and not node.arguments:
        hint = "Write mark_to_drop(standard_metadata)."
        raise P4Error(
            "mark_to_drop without an argument is deprecated, and p4c refuses it too", place=node.place, hint=hint
        )
    if name.name not in KNOWN_FUNCTIONS:
        ctx.state.use_foreign(name.name, node.place)
    if name.name == "verify" and not ctx.in_parser:
        raise P4Error("verify can only be called in a parser", place=node.place)
    call: ir.Call = yield _extern(ctx, function.prototype, node, ctx.scope.top, None)
    data = call.arguments[3 if name.name == "hash" else 1] if name.name in OF_LISTS else None
    alone = name.name == "hash" and isinstance(data, ir.Node) and isinstance(data.type, Bits | Bool | EnumType)
    if data is not None and not alone and not isinstance(data.type, StructType | HeaderType | TupleType):
        hint = "Enclose it in braces."
        raise P4Error(f"{name.name} takes its data as a list or struct", place=data.place, hint=hint)
    if name.name == "static_assert":
        return _static_assert(call)
    return call


def _static_assert(call: ir.Call) -> ir.Expression:
    check = call.arguments[0]
    if not is_literal(check):
        raise P4Error("static_assert needs a condition known at compile time", place=check.place)
    if not check.value:
        text = call.arguments[1] if len(call.arguments) > 1 else None
        message = text.value if isinstance(text, ir.Literal) else "static_assert failed"
        raise P4Error(str(message), place=call.place)
    return ir.Literal(1, BOOL, place=call.place)


def _object_method(ctx: Context, instance: ir.Instance, node: s.Call, callee: s.Member) -> Walk[ir.Expression]:
    """Check a method call on an extern object."""
    extern = ctx.scope.top.find(instance.kind)
    assert isinstance(extern, d.Extern)
    named = [each for each in extern.methods if each.name == callee.member and each.result is not None]
    if not named:
        hint = closest(callee.member, [each.name for each in extern.methods if each.result is not None])
        raise P4Error(f"{instance.kind} has no method {callee.member}", place=callee.at, hint=hint)
    fitting = [each for each in named if fits(each.parameters, node.arguments)]
    if not fitting:
        wanted = len(named[0].parameters)
        raise P4Error(
            f"{callee.member} of {instance.kind} takes {wanted} argument{'s' * (wanted != 1)}, "
            f"not {len(node.arguments)}",
            place=node.place,
            hint=signature(named[0]),
        )
    scope = Scope(ctx.scope.top)
    for name, kind in zip(extern.type_parameters, instance.type_arguments, strict=True):
        scope.declare(name, Named(kind), extern.place)
    made: ir.Call = yield _extern(ctx, fitting[0], node, scope, instance)
    return made


def _extern(
    ctx: Context, prototype: d.Prototype, node: s.Call, scope: Scope, instance: ir.Instance | None
) -> Walk[ir.Call]:
    filled = ordered(prototype.parameters, node.arguments, node.place, extern=True)
    bound: dict[str, Type] = yield bind(ctx, prototype, node, filled)
    parameters = [each for each, value in zip(prototype.parameters, filled, strict=True) if value is not None]
    given = [each for each in filled if each is not None]
    inner = Scope(scope)
    for name, kind in bound.items():
        inner.declare(name, Named(kind), node.place)
    outer, ctx.scope = ctx.scope, inner
    try:
        kinds: list[Type] = yield in_turn(type_of(ctx, each.type) for each in parameters)
        result: Type = (yield type_of(ctx, prototype.result)) if prototype.result else VOID
    finally:
        ctx.scope = outer
    for each, kind in zip(parameters, kinds, strict=True):
        if isinstance(kind, StringType) and each.direction:
            raise P4Error(f"{prototype.name}'s {each.name} has a direction, so it takes no string", place=node.place)
    directions = [Direction(each.direction or "in") for each in parameters]
    whats = [f"{prototype.name}'s {each.name}" for each in parameters]
    arguments: tuple[ir.Expression, ...] = yield arguments_in_order(ctx, given, kinds, directions, whats)
    return ir.Call(
        prototype.name,
        arguments,
        tuple(directions),
        result,
        instance,
        tuple(bound[name] for name in prototype.type_parameters),
        place=node.place,
    )
