"""Checks calls as statements: actions, tables, controls, and methods of headers, stacks and the packet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from midflight.errors import P4Error, Place
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.arguments import accepts, lvalue, passed
from midflight.p4.check.calls import call
from midflight.p4.check.context import Context, fresh
from midflight.p4.check.expressions import applied_table, expression, value, written
from midflight.p4.check.methods import count_arguments
from midflight.p4.check.order import in_order, pinned
from midflight.p4.check.scope import Packet, closest, describe
from midflight.p4.check.typing import constant_int, type_of
from midflight.p4.types import Bits, Direction, HeaderType, StackType, StructType, TupleType, Type, UnionType, Varbit
from midflight.stackless import Step, Walk

__all__ = ["application", "call_statement", "may_apply"]


def call_statement(ctx: Context, node: s.Call) -> Walk[ir.Statement | None]:
    """Check a call as a statement and return the statement, or None for a call without side effects.

    P4Error if the call is invalid, or if the expression is not a call and so has no effect.
    """
    made: ir.Statement | None
    match node.callee:
        case s.Name() as name:
            entity = ctx.scope.lookup(name.name, name.top, name.place)
            if isinstance(entity, ir.Action):
                made = yield _action_call(ctx, entity, node)
                return made
        case s.Member() as member:
            made = yield _method_statement(ctx, node, member)
            if made is not None:
                return made
    given: ir.Expression = yield call(ctx, node)
    match given:
        case ir.Call():
            return ir.CallStatement(given, place=node.place)
        case ir.Lookahead():
            unused = ir.Variable("unused", given.type, node.place)  # it may fail at the end of the packet
            return ir.Declare(unused, given, place=node.place)
        case ir.IsValid() | ir.Literal() | ir.VariableRef():
            return None
    raise P4Error("this has no effect", place=node.place)


def _action_call(ctx: Context, action: ir.Action, node: s.Call) -> Walk[ir.Statement]:
    if ctx.kind in ("parser", "function"):
        raise P4Error(f"a {ctx.kind} cannot call an action", place=node.place)
    wanted = len(action.parameters)
    if not accepts(ctx, action.parameters, node.arguments):
        raise P4Error(
            f"{action.name} takes {wanted} argument{'s' * (wanted != 1)}, not {len(node.arguments)}",
            place=node.place,
        )
    ctx.state.reach(action)
    ctx.state.copies.take(action, action.name, node.place)
    arguments: tuple[ir.Expression, ...] = yield _passed(ctx, action.parameters, node.arguments)
    return ir.ActionCall(action, arguments, place=node.place)


def _passed(
    ctx: Context, parameters: Sequence[ir.Parameter], given: Iterable[s.Argument]
) -> Walk[tuple[ir.Expression, ...]]:
    """Check arguments and fix the indices of output arguments, since the callee may change what they depend on."""
    made: tuple[ir.Expression, ...] = yield passed(ctx, parameters, given)
    return tuple(
        pinned(ctx, argument) if parameter.direction in (Direction.OUT, Direction.INOUT) else argument
        for argument, parameter in zip(made, parameters, strict=True)
    )


def _method_statement(ctx: Context, node: s.Call, callee: s.Member) -> Walk[ir.Statement | None]:
    """Check a method call that has a side effect and no value, or return None for any other."""
    if isinstance(callee.base, s.Name):
        entity = ctx.scope.lookup(callee.base.name, callee.base.top, callee.base.place)
        match entity:
            case Packet(kind=kind):
                made: ir.Statement | None = yield _packet_statement(ctx, kind, node, callee)
                return made
            case ir.Table():
                table = applied_table(ctx, node)
                if table is None:
                    raise P4Error(f"a table has no method {callee.member}", place=callee.at, hint="Write .apply().")
                may_apply(ctx, node.place)
                return ir.TableApply(table, place=node.place)
            case ir.Control() | ir.Parser():
                if callee.member != "apply":
                    raise P4Error(
                        f"{describe(entity)} has no method {callee.member}",
                        place=callee.at,
                        hint="Write .apply(...).",
                    )
                applied: ir.Statement = yield application(ctx, entity, node.arguments, node.place)
                return applied
            case ir.Instance():
                return None
    effect = callee.member in ("setValid", "setInvalid", "push_front", "pop_front")
    base: ir.Expression = yield written(ctx, callee.base) if effect else expression(ctx, callee.base)
    match base.type, callee.member:
        case HeaderType(), "setValid" | "setInvalid":
            count_arguments(node, 0, callee.member)
            header: ir.Expression = yield lvalue(ctx, callee.base)
            return ir.SetValidity(header, callee.member == "setValid", place=node.place)
        case StackType(), "push_front" | "pop_front":
            count_arguments(node, 1, callee.member)
            given = node.arguments[0].value
            assert given is not None
            number: int = yield constant_int(ctx, given, f"{callee.member}'s count")
            if number < 1:
                raise P4Error(f"{callee.member} needs a count of at least 1", place=given.place)
            stack: ir.Expression = yield lvalue(ctx, callee.base)
            return ir.Shift(stack, number if callee.member == "push_front" else -number, place=node.place)
    return None


def application(
    ctx: Context, callee: ir.Control | ir.Parser, arguments: tuple[s.Argument, ...], place: Place
) -> Walk[ir.Statement]:
    """Check `instance.apply(...)` of a control or parser and return the statement.

    The packet is not among its arguments, as there is only one. P4Error if the instance cannot be applied in this kind
    of body, or if the arguments do not fit its parameters.
    """
    may_apply(ctx, place)
    if isinstance(callee, ir.Parser) != (ctx.kind == "parser"):
        raise P4Error(f"a {ctx.kind} cannot apply {describe(callee)}", place=place)
    kept = [each for each in arguments if _object(ctx, each) is None]
    template = ctx.state.templates.get(id(callee))
    if template is not None:
        names = [each.name for each in template.declaration.parameters]
        objects = {
            argument.name or name: entity
            for name, argument in zip(names, arguments, strict=False)
            if isinstance(entity := _object(ctx, argument), ir.Instance)
        }
        callee = yield ctx.state.checks.complete(ctx, template, objects, place)
    wanted = len(callee.parameters)
    if not accepts(ctx, callee.parameters, kept):
        raise P4Error(
            f"{callee.name} takes {wanted} argument{'s' * (wanted != 1)} besides the packet, not {len(kept)}",
            place=place,
        )
    ctx.state.copies.take(callee, callee.name, place)
    made: tuple[ir.Expression, ...] = yield _passed(ctx, callee.parameters, kept)
    return ir.Apply(callee, made, place=place)


def _object(ctx: Context, argument: s.Argument) -> Packet | ir.Instance | None:
    """Return the packet or extern object that an argument names, or None for a value."""
    node = argument.value
    if not isinstance(node, s.Name):
        return None
    entity = ctx.scope.lookup(node.name, node.top, node.place)
    return entity if isinstance(entity, Packet | ir.Instance) else None


def may_apply(ctx: Context, place: Place) -> None:
    """Raise P4Error if the body being checked cannot apply tables and controls: in actions and functions."""
    if ctx.kind in ("action", "function"):
        article = "an" if ctx.kind == "action" else "a"
        raise P4Error(f"{article} {ctx.kind} cannot apply a table or a control", place=place)


def _packet_statement(ctx: Context, kind: str, node: s.Call, callee: s.Member) -> Walk[ir.Statement | None]:
    arguments = node.arguments
    match kind, callee.member:
        case "packet_in", "extract" if len(arguments) in (1, 2):
            checks: list[Step[ir.Expression]] = [_extracted(ctx, node)]
            if len(arguments) == 2 and (size := arguments[1].value) is not None:
                checks.append(value(ctx, size, Bits(32), "the size of the varbit field"))
            made: list[ir.Expression] = yield in_order(ctx, checks, {0})
            return ir.Extract(*made, place=node.place)
        case "packet_in", "advance":
            count_arguments(node, 1, "advance")
            assert arguments[0].value is not None
            bits: ir.Expression = yield value(ctx, arguments[0].value, Bits(32), "the number of bits")
            return ir.Advance(bits, place=node.place)
        case "packet_out", "emit":
            count_arguments(node, 1, "emit")
            assert arguments[0].value is not None
            emitted: ir.Expression = yield expression(ctx, arguments[0].value)
            if not _emittable(emitted.type):
                raise P4Error(
                    f"emit takes a header, or a stack or struct of headers, not {emitted.type}",
                    place=arguments[0].place,
                )
            return ir.Emit(emitted, place=node.place)
        case "packet_out", _:
            hint = closest(callee.member, ["emit"])
            raise P4Error(f"packet_out has no method {callee.member}", place=callee.at, hint=hint)
        case _, "extract":
            raise P4Error("extract takes a header, and a size for a varbit field", place=node.place)
    return None


def _extracted(ctx: Context, node: s.Call) -> Walk[ir.Expression]:
    argument = node.arguments[0]
    if argument.value is None:
        if len(node.types) != 1:
            raise P4Error("extract(_) needs a type", place=node.place, hint="Write packet.extract<header_t>(_).")
        kind: Type = yield type_of(ctx, node.types[0])
        target: ir.Expression = ir.VariableRef(fresh(ctx, "unused", kind, argument.place), kind, place=argument.place)
    else:
        target = yield lvalue(ctx, argument.value)
        kind = target.type
    if not isinstance(kind, HeaderType):
        raise P4Error(f"only a header can be extracted, not {kind}", place=argument.place)
    varying = any(isinstance(each.type, Varbit) for each in kind.fields)
    if varying and len(node.arguments) == 1:
        hint = "Pass its size in bits to extract as a second argument."
        raise P4Error(f"{kind} has a varbit field", place=argument.place, hint=hint)
    if not varying and len(node.arguments) == 2:
        raise P4Error(f"{kind} has no varbit field, so extract takes no size", place=argument.place)
    if node.types:
        named: Type = yield type_of(ctx, node.types[0])
        if named != kind:
            raise P4Error(f"extract's type argument is {named}, but the header is {kind}", place=argument.place)
    return target


def _emittable(kind: Type) -> bool:
    match kind:
        case HeaderType() | UnionType() | StackType():
            return True
        case StructType(fields=fields):
            return all(_emittable(each.type) for each in fields)
        case TupleType(elements=elements):
            return all(map(_emittable, elements))
    return False
