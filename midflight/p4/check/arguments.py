"""Arguments of calls: matching them to parameters, inferring type arguments, and checking values and lvalues."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence

from midflight.errors import P4Error, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.coerce import coerce, has_integer, settle, settled
from midflight.p4.check.context import Context, fresh
from midflight.p4.check.expressions import probe, value, written
from midflight.p4.check.order import in_order
from midflight.p4.check.scope import Local, closest, describe
from midflight.p4.check.typing import type_of
from midflight.p4.types import Direction, StackType, StructType, Type
from midflight.stackless import Step, Walk, in_turn

__all__ = [
    "Given",
    "accepts",
    "argument",
    "arguments_in_order",
    "bind",
    "fits",
    "lvalue",
    "ordered",
    "passed",
    "signature",
]

Given = s.Argument | s.Expression | ir.Literal | ir.StructValue | None
"""An argument before it is checked: from the source, a parameter's default, or None if it is missing."""


def bind(
    ctx: Context, prototype: d.Prototype, node: s.Call, given: Sequence[s.Argument | s.Expression | None]
) -> Walk[dict[str, Type]]:
    """Return the type arguments of a call by the names of the type parameters, explicit or inferred from the arguments.

    `given` has one argument for each parameter, as `ordered` returns them. A type argument `_` is inferred. An `int`
    without a width becomes `bit<32>`, or wider if the value needs it. Raises P4Error for a wrong number of type
    arguments, for one that cannot be inferred, and for an invalid argument from which one is inferred.
    """
    names = prototype.type_parameters
    if node.types:
        if len(node.types) != len(names):
            raise P4Error(
                f"{prototype.name} takes {len(names)} type arguments, not {len(node.types)}", place=node.place
            )
        anyway = [isinstance(each, s.BaseType) and each.name == "_" for each in node.types]
        given_types = [(n, t) for n, t, a in zip(names, node.types, anyway, strict=True) if not a]
        kinds: list[Type] = yield in_turn(type_of(ctx, each) for _, each in given_types)
        bound = dict(zip((name for name, _ in given_types), kinds, strict=True))
    else:
        bound = {}
    if len(bound) == len(names):
        return bound
    loose: dict[str, ir.Expression] = {}
    for parameter, argument in zip(prototype.parameters, given, strict=True):
        kind = parameter.type
        if isinstance(kind, s.TypeName) and kind.name in names and kind.name not in bound:
            given_value = argument.value if isinstance(argument, s.Argument) else argument
            if given_value is None:
                continue
            checked: ir.Expression = yield probe(ctx, given_value)
            if isinstance(checked.type, StructType) and not checked.type.name:
                hint = "Put the name of a struct before it, in brackets."
                raise P4Error(f"the type {kind.name} cannot be inferred", place=given_value.place, hint=hint)
            if has_integer(checked.type):
                loose.setdefault(kind.name, checked)
            else:
                bound[kind.name] = checked.type
    for name, checked in loose.items():
        if name not in bound:
            bound[name] = settled(checked.type, checked)
            shown = f"It gets the type {bound[name]}. Write the width before the number, such as 16w5."
            ctx.state.warn("p4c cannot infer a width here", checked.place, shown)
    for name in names:
        if name not in bound:
            hint = f"Write {prototype.name}<...>(...)."
            raise P4Error(f"the type {name} of {prototype.name} cannot be inferred", place=node.place, hint=hint)
    return bound


def arguments_in_order(
    ctx: Context,
    given: Sequence[Given],
    kinds: Sequence[Type],
    directions: Sequence[Direction],
    whats: Sequence[str],
    copied: bool = False,
) -> Walk[tuple[ir.Expression, ...]]:
    """Check the arguments of a call in evaluation order, left to right (P4_16, section 6.8), and return their values.

    `given`, `kinds`, `directions` and `whats` have one element for each parameter. `whats` names each argument in error
    messages. With `copied`, the value of an `inout` argument is copied before arguments that may change it. P4Error for
    a value of another type, or if an `out` or `inout` argument cannot be written or is not exactly of that type.
    """
    places = {i for i, each in enumerate(directions) if each in (Direction.OUT, Direction.INOUT)}
    wanted = zip(given, kinds, directions, whats, strict=True)
    inouts = {i for i, each in enumerate(directions) if copied and each is Direction.INOUT}
    steps = (argument(ctx, *each) for each in wanted)
    made: list[ir.Expression] = yield in_order(ctx, steps, places, copied=inouts)
    return tuple(made)


def accepts(ctx: Context, parameters: Sequence[ir.Parameter], given: Sequence[s.Argument]) -> bool:
    """Return whether the number of arguments fits checked parameters, of which those with a default are optional."""
    least = sum(each.variable not in ctx.state.defaults for each in parameters)
    return least <= len(given) <= len(parameters)


def passed(
    ctx: Context, parameters: Iterable[ir.Parameter], given: Iterable[s.Argument]
) -> Walk[tuple[ir.Expression, ...]]:
    """Check arguments, by position or by name, against parameters whose types are known, and return one value for each.

    Missing ones take the parameter's default. Raises P4Error for a parameter that has neither, for an unknown or
    repeated name, if only some arguments are named, and for an argument of the wrong type.
    """
    listed, wanted = list(given), list(parameters)
    _check_names([each.variable.name for each in wanted], listed)
    defaults = [ctx.state.defaults.get(each.variable) for each in wanted]
    filled: list[Given] = [*listed, *defaults[len(listed) :]]
    if any(each.name for each in listed):
        by_name = {each.name: each for each in listed}
        filled = [by_name.get(p.variable.name, default) for p, default in zip(wanted, defaults, strict=True)]
    for parameter, argument in zip(wanted, filled, strict=True):
        if argument is None:
            place = listed[0].place if listed else None
            raise P4Error(f"there is no argument for {parameter.variable.name}", place=place)
    kinds = [each.variable.type for each in wanted]
    whats = [f"argument {each.variable.name}" for each in wanted]
    made: tuple[ir.Expression, ...] = yield arguments_in_order(
        ctx, filled, kinds, [each.direction for each in wanted], whats, copied=True
    )
    return made


def argument(ctx: Context, given: Given, kind: Type, direction: Direction, what: str) -> Step[ir.Expression]:
    """Check one argument of a call, coerce it to the parameter's type `kind`, and return its value.

    A parameter's default arrives as a checked value and is returned unchanged. `_` for an `out` parameter becomes a new
    variable. `what` names the argument in messages. Raises P4Error for a value of another type, or if an `out` or
    `inout` argument is not an lvalue of exactly that type.
    """
    if isinstance(given, ir.Literal | ir.StructValue):
        return given
    node = given.value if isinstance(given, s.Argument) else given
    if node is None:
        assert isinstance(given, s.Argument)
        if direction is not Direction.OUT:
            raise P4Error("'_' can only stand for an out argument", place=given.place)
        return ir.VariableRef(fresh(ctx, "unused", kind, given.place), kind, place=given.place)
    if direction in (Direction.OUT, Direction.INOUT):
        return _output(ctx, node, kind, what)
    if probed := ctx.probed.pop(id(node), None):  # checking twice would be exponential in nested calls
        ctx.before += probed.before
        return settle(coerce(probed.value, kind, what, ctx.state))
    step = value(ctx, node, kind, what)
    return _settled(step) if isinstance(step, Generator) else settle(step)


def _output(ctx: Context, node: s.Expression, kind: Type, what: str) -> Walk[ir.Expression]:
    target: ir.Expression = yield lvalue(ctx, node)
    if target.type != kind:
        raise P4Error(f"{what} must be {kind}, not {target.type}", place=node.place)
    return target


def _settled(walk: Walk[ir.Expression]) -> Walk[ir.Expression]:
    made: ir.Expression = yield walk
    return settle(made)


def lvalue(ctx: Context, node: s.Expression) -> Step[ir.Expression]:
    """Check an expression that is assigned to, and return it. Raises P4Error if it cannot be written."""
    reason = _write_error(ctx, node)
    if reason:
        raise P4Error(reason, place=node.place)
    return written(ctx, node) if reason == "" else _stack_lvalue(ctx, node)


def _write_error(ctx: Context, node: s.Expression) -> str | None:
    """Return why an expression is not writable, or an empty string for one that is.

    Returns None where that depends on the type of a base, as for a member called `size`.
    """
    inner, depends = node, False
    while True:
        match inner:
            case s.Name(name=name):
                entity = ctx.scope.lookup(name, inner.top, inner.place)
                if not isinstance(entity, Local):
                    return f"{name} is {describe(entity)} and cannot be written"
                return entity.fixed or (None if depends else "")
            case s.Member(base=base) | s.Index(base=base) | s.Slice(base=base):
                depends |= isinstance(inner, s.Member) and inner.member in ("lastIndex", "size")
                inner = base
            case _:
                return "this cannot be written: it is not a variable, a field or a slice of one"


def _stack_lvalue(ctx: Context, node: s.Expression) -> Walk[ir.Expression]:
    """Check an lvalue with a member called `lastIndex` or `size`. Those of a stack cannot be written."""
    inner = node
    while isinstance(inner, s.Member | s.Index | s.Slice):
        if isinstance(inner, s.Member) and inner.member in ("lastIndex", "size"):
            stack: ir.Expression = yield written(ctx, inner.base)
            if isinstance(stack.type, StackType):
                raise P4Error(f"a stack's {inner.member} cannot be written", place=node.place)
        inner = inner.base
    made: ir.Expression = yield written(ctx, node)
    return made


def ordered(
    parameters: Sequence[d.Parameter], arguments: Sequence[s.Argument], place: Place, *, extern: bool = False
) -> list[s.Argument | s.Expression | None]:
    """Return one argument for each parameter, in the order of the parameters, with defaults filled in.

    `place` is the call's. For a parameter with `@optional` of an `extern`, the argument may be None. Raises P4Error if
    only some arguments are named, for an unknown or repeated name, and for a missing argument.
    """
    _check_names([parameter.name for parameter in parameters], arguments)
    if any(each.name for each in arguments):
        by_name: Mapping[str, s.Argument] = {each.name: each for each in arguments}
        result: list[s.Argument | s.Expression | None] = [by_name.get(p.name, p.default) for p in parameters]
    else:
        result = [a for a, _ in zip([*arguments, *[None] * len(parameters)], parameters, strict=False)]
        result = [p.default if a is None else a for a, p in zip(result, parameters, strict=True)]
    for parameter, argument in zip(parameters, result, strict=True):
        if argument is None and not (extern and _optional(parameter)):
            raise P4Error(f"there is no argument for {parameter.name}", place=place)
    return result


def _check_names(parameters: Sequence[str], arguments: Sequence[s.Argument]) -> None:
    """Raise P4Error unless all arguments are named or none, each after another of the parameters."""
    if not any(each.name for each in arguments):
        return
    seen: set[str] = set()
    for each in arguments:
        if not each.name:
            raise P4Error("name all of the arguments or none of them", place=each.place)
        if each.name not in parameters:
            hint = closest(each.name, list(parameters))
            raise P4Error(f"there is no parameter {each.name}", place=each.place, hint=hint)
        if each.name in seen:
            raise P4Error(f"there are two arguments for {each.name}", place=each.place)
        seen.add(each.name)


def _optional(parameter: d.Parameter) -> bool:
    return any(each.name == "optional" for each in parameter.annotations)


def fits(parameters: Sequence[d.Parameter], arguments: Sequence[s.Argument]) -> bool:
    """Return whether the number of arguments fits declared parameters.

    Those with a default and those with `@optional` may be left out.
    """
    least = sum(each.default is None and not _optional(each) for each in parameters)
    return least <= len(arguments) <= len(parameters)


def signature(prototype: d.Prototype) -> str:
    """Return a hint with a function's name and parameters: `It is f(in x, out y).`"""
    parts = [f"{each.direction} {each.name}".strip() for each in prototype.parameters]
    return f"It is {prototype.name}({', '.join(parts)})."
