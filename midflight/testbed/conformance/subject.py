"""Subjects: descriptions of primitives for the tests that all primitives share.

A subject has parameters to try, requests to send, and an oracle that computes the expected answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from random import Random
from typing import Any

from midflight.errors import MidflightError
from midflight.primitives import Primitive, Verdict
from midflight.primitives.catalogue import LIBRARY, made
from midflight.primitives.kernel.types import Kind
from midflight.testbed.conformance import subjects
from midflight.testbed.conformance.case import Write

__all__ = ["Answer", "Fields", "Parameters", "Request", "Subject", "names", "number", "subject"]

Fields = Mapping[str, Any]
"""The fields of a header: ints, and lists of ints for lanes."""

Parameters = Mapping[str, Any]
"""The parameters of a primitive, without its name."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request packet for a primitive: the number of the sending host, the sequence number, and the primitive's
    fields.

    `writes` are the controller's writes to the kernel's maps before the packet. The maps start as `setup` creates them.
    """

    host: int
    sequence: int
    fields: Fields
    writes: tuple[Write, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The expected answer to a request: the verdict, the fields as they leave, and the values of each alert.

    `fields` is None if the packet is dropped. `registers` are what elements of registers must hold after the request,
    by register and index: ints, or for a register with lanes sequences of ints. Elements that are not in it are not
    compared.
    """

    verdict: Verdict
    fields: Fields | None = None
    alerts: tuple[tuple[int, ...], ...] = ()
    registers: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The description of a primitive that the tests for all primitives need.

    `parameters` are sets of parameters to try, as passed to the constructor. `requests` yields a trace of 10 to 40
    requests: ordinary traffic, edge cases, and requests that no host should send. For a protocol they include
    retransmissions, also late ones. A network may lose, duplicate and reorder them on the way (see `faults`). `oracle`
    answers a trace from empty state, using the module of `midflight.primitives.oracles`. Both get all parameters,
    including defaults.

    `equivalent` lists mutants of the kernel that have no observable effect, each with the reason.
    """

    primitive: type[Primitive]
    parameters: tuple[Parameters, ...]
    requests: Callable[[Random, Parameters], Iterator[Request]]
    oracle: Callable[[Parameters, Sequence[Request]], list[Answer]]
    equivalent: Mapping[str, str] = field(default_factory=dict)

    def choice(self, trace: int) -> Parameters:
        """Return the parameters for trace number `trace`, 0 or more; the sets of parameters take turns."""
        return self.parameters[trace % len(self.parameters)]

    def make(self, trace: int) -> Primitive:
        """Return the primitive, named `app`, with the parameters for trace number `trace`."""
        return made(self.primitive, "app", self.choice(trace))


def names() -> tuple[str, ...]:
    """Return the names of the primitives that are subjects, in the library's order, without importing them."""
    modules = {each.name for each in iter_modules(subjects.__path__)}
    return tuple(name for name, primitive in LIBRARY.items() if _module(primitive) in modules)


def subject(name: str) -> Subject:
    """Return the subject of the primitive of this name. MidflightError if there is none."""
    if name not in names():
        raise MidflightError(f"no primitive {name!r} has cases", hint=f"those with cases are {', '.join(names())}")
    found = import_module(f"{subjects.__name__}.{_module(LIBRARY[name])}").SUBJECT
    assert isinstance(found, Subject)
    return found


def number(random: Random, kind: Kind) -> int:
    """Return a random number of a fixed-width type: small, at the edges of the type's range, or any, equally likely."""
    small = random.randint(max(-100, kind.low), min(200, kind.high))
    edge = random.choice((kind.low, kind.low + 1, max(-1, kind.low), 0, 1, kind.high - 1, kind.high))
    return random.choice((small, edge, random.randint(kind.low, kind.high)))


def _module(primitive: type[Primitive]) -> str:
    return primitive.__name__.lower()
