"""Instances of packages: the parts of `main`, and the instances of other packages, which are only checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from midflight.errors import P4Error, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.arguments import ordered
from midflight.p4.check.context import Context
from midflight.p4.check.expressions import constant
from midflight.p4.check.instances import create
from midflight.p4.check.scope import Constant, Entity, MadePackage, Named, Scope, describe
from midflight.p4.check.typing import type_of
from midflight.p4.types import Type
from midflight.stackless import Walk

__all__ = ["package"]

_PARTS = {"vr": "verify", "ig": "ingress", "eg": "egress", "ck": "compute", "dep": "deparser", "p": "parser"}


@dataclass(slots=True)
class _Making:
    """A package instance in the making: what its type parameters were bound to so far."""

    declaration: d.Package
    bound: dict[str, Type] = field(default_factory=dict)


def package(
    ctx: Context, declaration: d.Package, kind: s.Type, arguments: tuple[s.Argument, ...], place: Place
) -> Walk[list[Entity]]:
    """Create the parts of a package instance, in the order of the package's parameters.

    Raises P4Error for a wrong number of arguments or type arguments, and for a part that does not fit its parameter's
    type. A type parameter of the package stands for the same type in all parts.
    """
    making = _Making(declaration)
    if isinstance(kind, s.SpecialisedType):
        wanted = declaration.type_parameters
        if len(kind.arguments) != len(wanted):
            raise P4Error(
                f"{declaration.name} takes {len(wanted)} type arguments, not {len(kind.arguments)}", place=place
            )
        for name, node in zip(wanted, kind.arguments, strict=True):
            if not _anything(node):
                making.bound[name] = yield type_of(ctx, node)
    number = len(declaration.parameters)
    if len(arguments) > number or any(each.value is None for each in arguments):
        raise P4Error(
            f"{declaration.name} takes {number or 'no'} part{'s' * (number != 1)}, not {len(arguments)}", place=place
        )
    parts: list[Entity] = []
    formals = _needed(declaration, arguments)
    for formal, argument in zip(formals, _given(declaration, formals, arguments, place), strict=True):
        made: Entity = yield _part(ctx, making, formal, argument)
        parts.append(made)
    return parts


def _needed(declaration: d.Package, arguments: tuple[s.Argument, ...]) -> list[d.Parameter]:
    """Return the parameters of a package without those that are `@optional` and not given."""
    names = {each.name for each in arguments if each.name}
    return [
        each
        for number, each in enumerate(declaration.parameters)
        if number < len(arguments) - len(names)
        or each.name in names
        or not any(annotation.name == "optional" for annotation in each.annotations)
    ]


def _given(
    declaration: d.Package, formals: list[d.Parameter], arguments: tuple[s.Argument, ...], place: Place
) -> list[s.Expression]:
    if len(arguments) < len(formals) and all(not each.name for each in arguments):
        number = len(declaration.parameters)
        shown = f"{declaration.name} takes {number} part{'s' * (number != 1)}, not {len(arguments) or 'none'}"
        raise P4Error(shown, place=place)
    given: list[s.Expression] = []
    for each in ordered(formals, arguments, place):
        node = each.value if isinstance(each, s.Argument) else each
        assert isinstance(node, s.Node)
        given.append(node)
    return given


def _part(ctx: Context, making: _Making, formal: d.Parameter, node: s.Expression) -> Walk[Entity]:
    base = formal.type.base if isinstance(formal.type, s.SpecialisedType) else formal.type
    wanted = ctx.scope.top.find(base.name) if isinstance(base, s.TypeName) else None
    name = _PARTS.get(formal.name, formal.name) if making.declaration.name == "V1Switch" else formal.name
    if not isinstance(wanted, d.Parser | d.Control | d.Package | d.Extern):
        scope = _with_bound(ctx, making.bound, formal.place)
        kind: Type = yield type_of(scope, formal.type)
        made: ir.Expression = yield constant(ctx, node, kind, f"{making.declaration.name}'s {name}")
        return Constant(made)
    entity: Entity
    if isinstance(node, s.Name):
        entity = ctx.scope.lookup(node.name, node.top, node.place)
        if not isinstance(entity, MadePackage | ir.Parser | ir.Control | ir.Instance):
            raise P4Error(f"{node.name} is {describe(entity)}, not {_article(wanted)}", place=node.place)
    elif isinstance(node, s.Construct):
        entity = yield _created(ctx, node, name)
    else:
        raise P4Error(f"the {name} must be an instance, such as My{name.title()}()", place=node.place)
    match entity, wanted:
        case ir.Parser(), d.Parser():
            yield _conforms(ctx, making, entity, wanted, formal, name)
        case ir.Control(), d.Control():
            yield _conforms(ctx, making, entity, wanted, formal, name)
        case MadePackage(declaration=declaration), d.Package() if declaration is wanted:
            pass
        case ir.Instance(kind=extern), d.Extern(name=expected) if extern == expected:
            pass
        case _:
            raise P4Error(f"the {name} must be {_article(wanted)}", place=node.place)
    return entity


def _article(wanted: d.Parser | d.Control | d.Package | d.Extern) -> str:
    return f"an instance of {wanted.name}" if isinstance(wanted, d.Package | d.Extern) else describe(wanted)


def _created(ctx: Context, node: s.Construct, name: str) -> Walk[Entity]:
    base = node.type.base if isinstance(node.type, s.SpecialisedType) else node.type
    if not isinstance(base, s.TypeName):
        raise P4Error(f"the {name} must be an instance, such as My{name.title()}()", place=node.place)
    entity = ctx.scope.lookup(base.name, base.top, base.place)
    if isinstance(entity, d.Package):
        yield package(ctx, entity, node.type, node.arguments, node.place)
        return MadePackage(entity)
    if not isinstance(entity, d.Parser | d.Control | d.Extern):
        raise P4Error(f"{base.name} is {describe(entity)}, not a parser or control", place=node.place)
    made: ir.Instance | ir.Control | ir.Parser = yield create(ctx, node, base.name, ())
    return made


def _conforms(
    ctx: Context,
    making: _Making,
    part: ir.Parser | ir.Control,
    wanted: d.Parser | d.Control,
    formal: d.Parameter,
    name: str,
) -> Walk[None]:
    """Check a part's parameters against those of the type that the package asks for."""
    expected = [each for each in wanted.parameters if not _is_packet(each)]
    if len(expected) != len(part.parameters):
        shown = ", ".join(f"{each.direction} {each.name}".strip() for each in wanted.parameters)
        raise P4Error(
            f"the {name} takes {len(wanted.parameters)} parameters", place=part.place, hint=f"They are {shown}."
        )
    given = formal.type.arguments if isinstance(formal.type, s.SpecialisedType) else ()
    if given and len(given) != len(wanted.type_parameters):
        raise P4Error(
            f"{wanted.name} takes {len(wanted.type_parameters)} type arguments, not {len(given)}", place=formal.place
        )
    named = dict(zip(wanted.type_parameters, given, strict=False))
    own: dict[str, Type] = {}
    for each, parameter in zip(expected, part.parameters, strict=True):
        variable = parameter.variable
        if each.direction != parameter.direction.value:
            raise P4Error(f"{variable.name} of the {name} must be '{each.direction}'", place=variable.place)
        kind: Type = yield _expected(ctx, making, each.type, named, own, wanted, variable.type)
        if kind != variable.type:
            raise P4Error(f"{variable.name} of the {name} must be {kind}, not {variable.type}", place=variable.place)


def _expected(
    ctx: Context,
    making: _Making,
    node: s.Type,
    named: Mapping[str, s.Type],
    own: dict[str, Type],
    wanted: d.Parser | d.Control,
    given: Type,
) -> Walk[Type]:
    """Return the type that a part's parameter must have. A type parameter without a type takes the given one."""
    if not isinstance(node, s.TypeName) or node.name not in wanted.type_parameters:
        kind: Type = yield type_of(_with_bound(ctx, own, node.place), node)
        return kind
    if node.name in named and not _anything(named[node.name]):
        of_package = named[node.name]
        if isinstance(of_package, s.TypeName) and of_package.name in making.declaration.type_parameters:
            kind = making.bound.setdefault(of_package.name, given)
        else:
            kind = yield type_of(_with_bound(ctx, making.bound, node.place), of_package)
    else:
        kind = given
    return own.setdefault(node.name, kind)


def _with_bound(ctx: Context, bound: Mapping[str, Type], place: Place) -> Context:
    """Return a context in which type parameters stand for the types that they are bound to."""
    scope = Scope(ctx.scope.top)
    for name, kind in bound.items():
        scope.declare(name, Named(kind), place)
    return Context(ctx.state, scope, "program")


def _is_packet(parameter: d.Parameter) -> bool:
    return isinstance(parameter.type, s.TypeName) and parameter.type.name in ("packet_in", "packet_out")


def _anything(node: s.Type) -> bool:
    return isinstance(node, s.BaseType) and node.name == "_"
