"""Checks what a declaration says of its parameters, whether it is used or not."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.errors import P4Error, Place
from midflight.p4 import declarations as d
from midflight.p4 import syntax as s

__all__ = ["check_signature"]


def check_signature(node: d.Declaration) -> None:
    """Raise P4Error for the first mistake in the parameters of a declaration at the top level.

    Parameters and type parameters have different names, outputs have no default, and strings no direction. A method
    has a return type, and a constructor has none.
    """
    match node:
        case d.Function(prototype=prototype):
            _prototype(prototype)
        case d.Extern(methods=methods):
            _distinct(node.type_parameters, (), node.place)
            for each in methods:
                _method(node, each)
        case d.Control() | d.Parser():
            parameters = (*node.parameters, *node.constructor)
            _distinct(node.type_parameters, parameters, node.place)
            _outputs(parameters)
        case d.Package():
            _distinct(node.type_parameters, node.parameters, node.place)
        case d.Structure():
            _distinct(node.type_parameters, (), node.place)


def _method(extern: d.Extern, method: d.Prototype) -> None:
    if method.result is None and method.name != extern.name:
        raise P4Error(f"the method {method.name} has no return type", place=method.place)
    if method.result is not None and method.name == extern.name:
        raise P4Error(f"the constructor of {extern.name} has a return type", place=method.place)
    _prototype(method)


def _prototype(prototype: d.Prototype) -> None:
    _distinct(prototype.type_parameters, prototype.parameters, prototype.place)
    _outputs(prototype.parameters)
    for each in prototype.parameters:
        if isinstance(each.type, s.BaseType) and each.type.name == "string" and each.direction:
            raise P4Error(f"{each.name} is a string and cannot have a direction", place=each.place)


def _distinct(types: Sequence[str], parameters: Sequence[d.Parameter], place: Place) -> None:
    seen: set[str] = set()
    for name, where in (*((each, place) for each in types), *((each.name, each.place) for each in parameters)):
        if name in seen:
            raise P4Error(f"{name} is declared twice", place=where)
        seen.add(name)


def _outputs(parameters: Sequence[d.Parameter]) -> None:
    for each in parameters:
        if each.default is not None and each.direction in ("out", "inout"):
            raise P4Error(f"{each.name} is an output and cannot have a default value", place=each.default.place)
