"""What names mean: the entities a program declares, and the scopes they are found in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches

from midflight.errors import P4Error, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4.types import Type

__all__ = ["Callables", "Constant", "Entity", "Local", "Named", "Packet", "Scope", "ValueSet", "closest", "describe"]


@dataclass(frozen=True, slots=True)
class Named:
    """A type under its name."""

    type: Type


@dataclass(frozen=True, slots=True)
class Constant:
    """A value known at compile time: a Literal, or a StructValue of such."""

    value: ir.Expression


@dataclass(frozen=True, slots=True)
class Local:
    """A variable or parameter; `fixed` says in plain words why it cannot be written, when it cannot."""

    variable: ir.Variable
    fixed: str = ""
    parameter: bool = False


@dataclass(frozen=True, slots=True)
class Packet:
    """A parameter of type packet_in or packet_out; there is but one packet, so it needs no variable."""

    kind: str


@dataclass(frozen=True, slots=True)
class ValueSet:
    """A parser's value set."""

    name: str


@dataclass(slots=True)
class Callables:
    """The functions of one name, told apart by their number of arguments."""

    functions: list[d.Function] = field(default_factory=list)


Entity = (
    Named
    | Constant
    | Local
    | Packet
    | ValueSet
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
    """Return what an entity is, with its article."""
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
        case d.Package():
            return "a package"


class Scope:
    """Names of one scope, over those of the scopes around it."""

    def __init__(self, parent: Scope | None = None) -> None:
        self.parent = parent
        self.names: dict[str, Entity] = {}
        self.places: dict[str, Place] = {}

    def declare(self, name: str, entity: Entity, place: Place) -> None:
        """Add a name; P4Error where this scope has it already."""
        if name in self.names:
            known = self.places[name]
            raise P4Error(f"{name} is declared twice", place=place, hint=f"It was declared at {known} first.")
        self.names[name] = entity
        self.places[name] = place

    def find(self, name: str) -> Entity | None:
        """Return what a name means here, or None."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return None

    @property
    def top(self) -> Scope:
        """The outermost scope: the program's own."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope

    def visible(self) -> Iterator[tuple[str, Entity]]:
        """Yield all names that can be seen from here, inner ones first."""
        scope: Scope | None = self
        while scope is not None:
            yield from scope.names.items()
            scope = scope.parent


def closest(name: str, candidates: Iterator[str] | list[str] | tuple[str, ...]) -> str:
    """Return a hint that names the candidate that was probably meant, or nothing."""
    found = get_close_matches(name, list(candidates), 1)
    return f"Did you mean {found[0]}?" if found else ""
