"""Subjects for primitives of users: found in a Python file's names, with generated requests."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from midflight.errors import KernelError, MidflightError
from midflight.primitives import Primitive, Program
from midflight.primitives.catalogue import made, parameters_of
from midflight.primitives.kernel.source import source_of
from midflight.primitives.kernel.types import Kind
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.oracle import kernel_answers
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject, number

__all__ = ["Own", "requests_for", "subjects_in"]

_LONGEST = 30  # packets of a generated trace
_SHORTEST = 10


@dataclass(frozen=True, slots=True)
class Own:
    """A subject from a user's file.

    `independent` is True if its answers come from a function in the file, and False if they come from the executed
    kernel.
    """

    subject: Subject
    independent: bool


def subjects_in(names: Mapping[str, Any], file: str) -> dict[str, Own]:
    """Return what a user's module describes for conformance tests, by the names of primitives.

    names: the module's global names. The first of these that there is counts:

    * `Subject` objects, which say everything themselves,
    * `Program` objects: the primitives of their applications, each with the parameters that it has there,
    * classes of primitives that the module defines, with their default parameters.

    If the module has a function `oracle(parameters, requests)`, which returns an `Answer` for each `Request`, and one
    primitive, it is the oracle; otherwise the executed kernel is. A mapping `equivalent` names mutants of the kernel
    that behave like it, each with the reason. Requests are generated (`requests_for`).

    MidflightError, with `file`, if there is no primitive, if a class needs parameters, or if there are several and an
    `oracle`.
    """
    found = {
        each.primitive.__name__: Own(each, independent=True) for each in names.values() if isinstance(each, Subject)
    }
    if found:
        return found
    parameters: dict[type[Primitive], list[Parameters]] = {}
    for each in names.values():
        if isinstance(each, Program):
            for application in each.applications.values():
                primitive = application.primitive
                parameters.setdefault(type(primitive), []).append(dict(primitive.parameters))
    if not parameters:
        parameters = {kind: [_defaults(kind, file)] for kind in _classes(names)}
    if not parameters:
        raise MidflightError(f"there is no primitive in {file}", hint="write a class derived from Primitive")
    oracle = names.get("oracle")
    if callable(oracle) and len(parameters) > 1:
        raise MidflightError(
            f"{file} has an oracle and several primitives: {', '.join(each.__name__ for each in parameters)}",
            hint="write a Subject for each, with its oracle",
        )
    equivalent = names.get("equivalent")
    for kind, sets in parameters.items():
        subject = Subject(
            primitive=kind,
            parameters=tuple(sets),
            requests=partial(requests_for, kind),
            oracle=oracle if callable(oracle) else partial(_executed, kind),
            equivalent=equivalent if isinstance(equivalent, Mapping) else {},
        )
        found[kind.__name__] = Own(subject, independent=callable(oracle))
    return found


def requests_for(kind: type[Primitive], random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield a trace of 10 to 30 requests for a primitive, drawn with `random`.

    A field has one of a few values in most packets, so that they meet in the same state: numbers of the kernel and of
    the parameters and those beside them, keys of maps, small numbers and the limits of the field's type. MidflightError
    for a header with an array of variable length, for which requests cannot be generated.
    """
    primitive = made(kind, "app", parameters)
    telling = sorted(_numbers(primitive))
    if any(each.part for each in primitive.layout.fields):
        raise MidflightError(
            f"{kind.__name__} has an array of variable length", hint="write a Subject with its requests"
        )
    pools: dict[str, list[int]] = {}
    for field in primitive.layout.fields:
        near = [each for each in telling if field.kind.holds(each)]
        pools[field.name] = [number(random, field.kind) for _ in range(3)] + random.sample(near, min(4, len(near)))

    def value(name: str, of: Kind) -> int:
        return random.choice(pools[name]) if random.random() < 0.8 else number(random, of)

    for sequence in range(random.randint(_SHORTEST, _LONGEST)):
        fields: dict[str, Any] = {
            each.name: value(each.name, each.kind)
            if each.count is None
            else [value(each.name, each.kind) for _ in range(each.count)]
            for each in primitive.layout.fields
        }
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, fields)


def _executed(kind: type[Primitive], parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    return kernel_answers(made(kind, "app", parameters), requests)


def _classes(names: Mapping[str, Any]) -> list[type[Primitive]]:
    return [
        each
        for each in names.values()
        if isinstance(each, type) and issubclass(each, Primitive) and each.__module__ == names.get("__name__")
    ]


def _defaults(kind: type[Primitive], file: str) -> Parameters:
    known = parameters_of(kind)
    if needed := [each.name for each in known if each.required]:
        example = f'program = Program({kind.__name__}("app", {", ".join(f"{each}=..." for each in needed)}))'
        raise MidflightError(f"{kind.__name__} in {file} needs {', '.join(needed)}", hint=f"add to the file: {example}")
    return {each.name: each.default for each in known}


def _numbers(primitive: Primitive) -> set[int]:
    """Return numbers at which a kernel may behave differently: its own, parameters, sizes, and keys of maps."""
    found: set[int] = {0, 1}
    for each in primitive.parameters.values():
        if isinstance(each, int):
            found |= {int(each)}
    functions: list[Callable[..., object]] = [type(primitive).ingress, type(primitive).setup]
    for function in functions:
        try:
            tree = source_of(function)[1]
        except KernelError:
            continue
        found |= {
            int(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, int)
        }
    found |= {each.size for each in primitive.registers.values()}
    for table in primitive.maps.values():
        found |= {part if isinstance(part, int) else part[0] for entry in table.entries for part in entry.parts}
    return {each + near for each in found for near in (-1, 0, 1)}
