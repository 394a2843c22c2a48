"""Looks for mistakes in a program without `main` that are otherwise found where `main` uses a part, or not at all.

Whoever has such a program gets the mistake, and not only the advice to add a `main`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from midflight.errors import P4Error
from midflight.p4 import declarations as d
from midflight.p4 import syntax as s
from midflight.p4.check.annotated import evaluated
from midflight.p4.check.context import Context, aside
from midflight.p4.check.functions import check_alone
from midflight.p4.check.instances import part
from midflight.p4.check.typing import type_of
from midflight.p4.types import ExternType, StructType, Type
from midflight.stackless import Walk

__all__ = ["check_unfinished"]

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def check_unfinished(ctx: Context, nodes: Iterable[d.Declaration]) -> Walk[None]:
    """Raise P4Error for the first mistake in `nodes`, the declarations of a program without a valid `main`.

    These are checked: annotations; the types in signatures that are not generic; methods of externs that are declared
    twice or return an `int` without a width; a control as the type of a constructor's parameter; the types in packages;
    the fields of header unions; and the statements of generic functions, and of controls without constructor parameters
    and local declarations. Of the type parameters of a generic part, nothing is known. A `main` that is not an instance
    of a package is a mistake.
    """
    inner = aside(ctx)
    for node in nodes:
        if isinstance(node, d.Extern | s.Instantiation) and node.name == "main":
            raise P4Error("main must be an instance of a package", place=node.place)
        yield _annotations(inner, node)
        match node:
            case d.Extern():
                yield _extern(inner, node)
            case d.Function(body=None, prototype=prototype):
                yield _prototype(inner, prototype)
            case d.Function(prototype=prototype) if prototype.type_parameters and not _takes_object(prototype):
                yield check_alone(inner, node, _opaque(prototype.type_parameters))
            case d.Control() | d.Parser():
                yield _block(inner, node)
                if isinstance(node, d.Control) and node.body and not (node.constructor or node.locals):
                    yield part(aside(ctx), node, node.name, (), node.place, _opaque(node.type_parameters))
            case d.Package():
                _package(inner, node)
            case d.Structure(kind="header_union"):
                _union(node)


def _opaque(names: Iterable[str]) -> dict[str, Type]:
    """Return types of which nothing is known, as the arguments of a generic part."""
    return {name: StructType(name, ()) for name in names}


def _takes_object(prototype: d.Prototype) -> bool:
    """Return whether a parameter may be an object of a generic extern, whose methods are known only in a call."""
    return any(isinstance(each.type, s.SpecialisedType) for each in prototype.parameters)


def _annotations(ctx: Context, node: d.Declaration) -> Walk[None]:
    listed: s.Annotations = getattr(node, "annotations", ())
    structured = {each.name for each in listed if each.structured}
    seen: set[str] = set()
    for each in listed:
        if each.name in structured and each.name in seen:
            raise P4Error(f"@{each.name} is structured and given twice", place=each.place)
        seen.add(each.name)
        if each.name in ("name", "deprecated") and not each.structured and not _STRING.fullmatch(each.body):
            raise P4Error(f"@{each.name} takes a string", place=each.place)
    yield evaluated(ctx, tuple(each for each in listed if each.structured))


def _extern(ctx: Context, node: d.Extern) -> Walk[None]:
    seen: set[tuple[str, ...]] = set()
    for method in node.methods:
        signature = (method.name, *(each.name for each in method.parameters))
        if signature in seen:
            raise P4Error(f"{method.name} is declared twice with the same parameters", place=method.place)
        seen.add(signature)
        if isinstance(method.result, s.BaseType) and method.result.name == "int" and method.result.width is None:
            raise P4Error(f"the method {method.name} cannot return an int without a width", place=method.place)
        if not node.type_parameters:
            yield _prototype(ctx, method)


def _prototype(ctx: Context, prototype: d.Prototype) -> Walk[None]:
    if not prototype.type_parameters:
        if prototype.result is not None:
            yield type_of(ctx, prototype.result)
        yield _parameters(ctx, prototype.parameters)


def _block(ctx: Context, node: d.Control | d.Parser) -> Walk[None]:
    for each in node.constructor:
        entity = ctx.scope.find(each.type.name) if isinstance(each.type, s.TypeName) else None
        if isinstance(entity, d.Control) and entity.body is not None:
            hint = f"Declare its type without a body, as control {entity.name}_t(...);"
            raise P4Error(f"a parameter cannot have the type of control {entity.name}", place=each.place, hint=hint)
    if not node.type_parameters:
        yield _parameters(ctx, node.parameters)


def _parameters(ctx: Context, parameters: Iterable[d.Parameter]) -> Walk[None]:
    for each in parameters:
        kind: Type = yield type_of(ctx, each.type)
        if each.direction and isinstance(kind, ExternType):
            raise P4Error(f"{each.name} is an object of an extern and cannot have a direction", place=each.place)


def _package(ctx: Context, node: d.Package) -> None:
    for parameter in node.parameters:
        given = parameter.type.arguments if isinstance(parameter.type, s.SpecialisedType) else ()
        for each in given:
            if isinstance(each, s.TypeName) and each.name not in node.type_parameters:
                ctx.scope.lookup(each.name, each.top, each.place)


def _union(node: d.Structure) -> None:
    for each in node.fields:
        if isinstance(each.type, s.BaseType | s.TupleType):
            raise P4Error(f"{each.name} is no header, as the fields of a header union must be", place=each.place)
