"""Checks parameters of actions, controls and parsers, and forms control-plane names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from midflight.errors import P4Error
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.annotated import evaluated
from midflight.p4.check.context import Context, annotations_of
from midflight.p4.check.expressions import constant
from midflight.p4.check.scope import Entity, Local, Packet
from midflight.p4.check.typing import type_of
from midflight.p4.types import Direction, ExternType, Integer, ListType, Type
from midflight.stackless import Walk

__all__ = ["bind_constructor", "declare_parameters", "qualified"]


def qualified(prefix: str, name: str, annotations: s.Annotations) -> str:
    """Return the control-plane name of a declaration: its own name after a prefix, that of its control or parser.

    `@name` replaces the declared name. A `@name` that starts with a dot is absolute and replaces the prefix as well.
    """
    given = annotations_of(annotations).get("name")
    if given is not None:
        name = given.strip().strip('"')
    if name.startswith("."):
        return name[1:]
    return f"{prefix}.{name}" if prefix else name


def declare_parameters(ctx: Context, parameters: Sequence[d.Parameter]) -> Walk[tuple[ir.Parameter, ...]]:
    """Add a body's parameters to the scope and return them, without the packet, which needs no variable.

    Raises P4Error for a type that a parameter cannot have, and for an invalid default.
    """
    made: list[ir.Parameter] = []
    for node in parameters:
        kind: Type = yield type_of(ctx, node.type)
        if isinstance(kind, ExternType):
            if kind.name not in ("packet_in", "packet_out"):
                if (given := ctx.objects.get(node.name)) is not None:
                    own = ExternType(given.kind, given.type_arguments)
                    if own != kind:
                        raise P4Error(f"{node.name} must be {kind}, not {own}", place=node.place)
                    ctx.scope.declare(node.name, given, node.place)
                    continue
                stands = ir.Instance(node.name, kind.name, kind.arguments, (), place=node.place)
                ctx.scope.declare(node.name, stands, node.place)
                continue
            ctx.scope.declare(node.name, Packet(kind.name), node.place)
            continue
        annotations: dict[str, str] = yield evaluated(ctx, node.annotations)
        parameter = _parameter(ctx, node, kind, annotations)
        if node.default is not None:
            yield _default_value(ctx, node, parameter)
        made.append(parameter)
    return tuple(made)


def _parameter(ctx: Context, node: d.Parameter, kind: Type, annotations: Mapping[str, str]) -> ir.Parameter:
    """Add one parameter to the scope."""
    direction = Direction(node.direction)
    if isinstance(kind, Integer):
        raise P4Error("a parameter needs a width, such as bit<32>", place=node.place)
    if isinstance(kind, ListType):
        raise P4Error(f"a parameter cannot be of type {kind}", place=node.place)
    fixed = ""
    if direction is Direction.IN:
        fixed = f"{node.name} is an 'in' parameter and cannot be written"
    elif direction is Direction.NONE:
        fixed = f"{node.name} has no direction, so it cannot be written"
    variable = ir.Variable(node.name, kind, node.place)
    ctx.scope.declare(node.name, Local(variable, fixed, True), node.place)
    return ir.Parameter(variable, direction, annotations)


def _default_value(ctx: Context, node: d.Parameter, parameter: ir.Parameter) -> Walk[None]:
    assert node.default is not None
    if parameter.direction in (Direction.OUT, Direction.INOUT):
        raise P4Error(f"{node.name} is an output and cannot have a default value", place=node.default.place)
    value: ir.Expression = yield constant(ctx, node.default, parameter.variable.type, f"the default of {node.name}")
    assert isinstance(value, ir.Literal | ir.StructValue)
    ctx.state.defaults[parameter.variable] = value


def bind_constructor(ctx: Context, parameters: Sequence[d.Parameter], values: Sequence[Entity]) -> None:
    """Add the constructor parameters of a parser or control to the scope, the n-th with the n-th of `values`."""
    for node, value in zip(parameters, values, strict=True):
        ctx.scope.declare(node.name, value, node.place)
