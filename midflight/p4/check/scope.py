"""Symbol table: the entities that names refer to, and nested scopes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches

from midflight.errors import P4Error, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4.types import Type

__all__ = [
    "Callables", "Constant", "Entity", "Local", "MadePackage", "Named", "Packet", "Scope", "ValueSet", "closest",
    "describe",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Named:
    """A name in scope that refers to a type of values, such as a struct or a typedef."""

    type: Type


@dataclass(frozen=True, slots=True)
class Constant:
    """A name in scope that refers to a compile-time constant: a Literal, or a StructValue of constants."""

    value: ir.Expression


@dataclass(frozen=True, slots=True)
class Local:
    """A name in scope that refers to a variable or parameter.

    `fixed` says why it cannot be written, and is empty if it can. `parameter` is whether it is a parameter.
    """

    variable: ir.Variable
    fixed: str = ""
    parameter: bool = False


@dataclass(frozen=True, slots=True)
class Packet:
    """A name in scope that refers to a parameter of type packet_in or packet_out, as `kind` says.

    There is only one packet, so it needs no variable.
    """

    kind: str


@dataclass(frozen=True, slots=True)
class ValueSet:
    """A name in scope that refers to a parser's value set, which is a table with a key for each of its fields."""

    table: ir.Table


@dataclass(frozen=True, slots=True)
class MadePackage:
    """A name in scope that refers to an instance of a package other than `main`."""

    declaration: d.Package


@dataclass(slots=True)
class Callables:
    """A name in scope that refers to functions, which differ in their number of parameters."""

    functions: list[d.Function] = field(default_factory=list)


Entity = (
    Named
    | Constant
    | Local
    | Packet
    | ValueSet
    | MadePackage
    | Callables
    | ir.Action
    | ir.Table
    | ir.Instance
    | ir.Control
    | ir.Parser
    | d.Extern
    | d.Control
    | d.Parser
    | d.Package
    | d.Structure
)


def describe(entity: Entity) -> str:
    """Return an entity's kind with an article, for messages: "a table"."""
    match entity:
        case Named() | d.Extern() | d.Structure():
            return "a type"
        case Constant():
            return "a constant"
        case Local():
            return "a variable"
        case Packet():
            return "the packet"
        case ValueSet():
            return "a value set"
        case Callables():
            return "a function"
        case ir.Action():
            return "an action"
        case ir.Table():
            return "a table"
        case ir.Instance(kind=kind):
            return f"a {kind}"
        case ir.Control() | d.Control():
            return "a control"
        case ir.Parser() | d.Parser():
            return "a parser"
        case d.Package() | MadePackage():
            return "a package"


class Scope:
    """The names of a body in nested blocks, inside the scope `outer`, or None for the program's.

    Lookups take constant time.
    """

    def __init__(self, outer: Scope | None = None) -> None:
        self.outer = outer
        self._blocks: list[dict[str, tuple[Entity, Place]]] = [{}]
        self._known: dict[str, list[Entity]] = {}

    @contextmanager
    def block(self) -> Iterator[None]:
        """Open a nested block for the body of a `with`; its declarations disappear when it ends."""
        self._blocks.append({})
        try:
            yield
        finally:
            for name in self._blocks.pop():
                self._known[name].pop()

    def declare(self, name: str, entity: Entity, place: Place) -> None:
        """Declare a name in the innermost block. Raises P4Error if that block declares it already."""
        if name in self._blocks[-1]:
            known = self._blocks[-1][name][1]
            raise P4Error(f"{name} is declared twice", place=place, hint=f"It was declared at {known} first.")
        self._blocks[-1][name] = entity, place
        self._known.setdefault(name, []).append(entity)

    def find(self, name: str) -> Entity | None:
        """Return the innermost visible entity with this name, or None if there is none."""
        if known := self._known.get(name):
            return known[-1]
        return None if self.outer is None else self.outer.find(name)

    def lookup(self, name: str, top: bool, place: Place) -> Entity:
        """Return the innermost visible entity with this name, or with `top` that of the program's top level.

        `place` is the use of the name. Raises P4Error if it is not declared, with the most similar visible name as a
        hint.
        """
        scope = self.top if top else self
        entity = scope.find(name)
        if entity is None:
            hint = closest(name, [each for each, _ in self.visible()])
            raise P4Error(f"{name} is not declared", place=place, hint=hint)
        return entity

    def declared(self, name: str) -> tuple[Entity, Place] | None:
        """Return (entity, place of its declaration) if the innermost block declares this name, otherwise None."""
        return self._blocks[-1].get(name)

    @property
    def top(self) -> Scope:
        """The outermost scope, which is the program's."""
        return self if self.outer is None else self.outer.top

    def visible(self) -> Iterator[tuple[str, Entity]]:
        """Yield each visible name and its entity, innermost first."""
        for block in reversed(self._blocks):
            yield from ((name, entity) for name, (entity, _) in block.items())
        if self.outer is not None:
            yield from self.outer.visible()


def closest(name: str, candidates: Iterator[str] | list[str] | tuple[str, ...]) -> str:
    """Return a hint, "Did you mean ...?", with the candidate most similar to `name`; empty if none is similar.

    Only the first 5,000 candidates are compared, and only names of at most 100 characters.
    """
    near = [each for each in itertools.islice(candidates, 5000) if len(each) <= 100]
    found = get_close_matches(name, near, 1) if len(name) <= 100 else []
    return f"Did you mean {found[0]}?" if found else ""
