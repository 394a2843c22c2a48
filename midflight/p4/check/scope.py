"""What names mean: the entities a program declares, and the scopes they are found in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
    """The names of a body, block within block, over those of the scope outside; a name is found in constant time."""

    def __init__(self, outer: Scope | None = None) -> None:
        self.outer = outer
        self._blocks: list[dict[str, tuple[Entity, Place]]] = [{}]
        self._known: dict[str, list[Entity]] = {}

    @contextmanager
    def block(self) -> Iterator[None]:
        """Open a block: what is declared in it is forgotten when it ends."""
        self._blocks.append({})
        try:
            yield
        finally:
            for name in self._blocks.pop():
                self._known[name].pop()

    def declare(self, name: str, entity: Entity, place: Place) -> None:
        """Add a name to the innermost block; P4Error where that has it already."""
        if name in self._blocks[-1]:
            known = self._blocks[-1][name][1]
            raise P4Error(f"{name} is declared twice", place=place, hint=f"It was declared at {known} first.")
        self._blocks[-1][name] = entity, place
        self._known.setdefault(name, []).append(entity)

    def find(self, name: str) -> Entity | None:
        """Return what a name means here, or None."""
        if known := self._known.get(name):
            return known[-1]
        return None if self.outer is None else self.outer.find(name)

    def declared(self, name: str) -> tuple[Entity, Place] | None:
        """Return what the innermost block declares by a name, and where, or None."""
        return self._blocks[-1].get(name)

    @property
    def top(self) -> Scope:
        """The outermost scope: the program's own."""
        return self if self.outer is None else self.outer.top

    def visible(self) -> Iterator[tuple[str, Entity]]:
        """Yield all names that can be seen from here, inner ones first."""
        for block in reversed(self._blocks):
            yield from ((name, entity) for name, (entity, _) in block.items())
        if self.outer is not None:
            yield from self.outer.visible()


def closest(name: str, candidates: Iterator[str] | list[str] | tuple[str, ...]) -> str:
    """Return a hint that names the candidate that was probably meant, or nothing."""
    found = get_close_matches(name, list(candidates), 1)
    return f"Did you mean {found[0]}?" if found else ""
