"""Names that are visible at one place of a generated program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Callee", "HeaderAt", "Scope", "Value"]


@dataclass(frozen=True, slots=True)
class Value:
    """A variable or field: its path as text, its type, the header that it belongs to or "", and whether it can be
    assigned.
    """

    path: str
    kind: str
    header: str = ""
    writable: bool = True


@dataclass(frozen=True, slots=True)
class HeaderAt:
    """A header instance: its path as text, the name of its type, and its fields as pairs of name and type.

    `union` is the path of the header union that it is in, or "". `whole` says whether all fields can be assigned.
    """

    path: str
    kind: str
    fields: tuple[tuple[str, str], ...]
    union: str = ""
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Callee:
    """A function or action: its name, its result's type ("" for none), and its parameters as (direction, type).

    `spoils` are the headers that it may make invalid. A direction of "" is action data.
    """

    name: str
    result: str
    parameters: tuple[tuple[str, str], ...]
    spoils: frozenset[str] = frozenset()


@dataclass(slots=True)
class Scope:
    """What can be named at one place of a body.

    place: "parser", "ingress", "egress", "action", "function" or "sub", which decides which statements are possible
    valid: the headers that are certainly valid here; fields of others are not read, because P4 leaves them undefined
    spoiled: the headers that the body may have made invalid
    """

    place: str
    values: list[Value] = field(default_factory=list)
    headers: list[HeaderAt] = field(default_factory=list)
    valid: list[str] = field(default_factory=list)
    spoiled: list[str] = field(default_factory=list)
    functions: list[Callee] = field(default_factory=list)
    procedures: list[Callee] = field(default_factory=list)
    actions: list[Callee] = field(default_factory=list)
    loops: int = 0
    leave: str = ""
    """The statement that leaves the body, `return` or `exit`; empty where it may not be left early."""

    def usable(self, value: Value) -> bool:
        """Return whether a value is defined here."""
        return not value.header or value.header in self.valid

    def readable(self, kind: str = "") -> list[Value]:
        """Return the values of a type, or all, that can be read."""
        return [each for each in self.values if kind in ("", each.kind) and self.usable(each)]

    def writable(self, kind: str = "") -> list[Value]:
        """Return the values of a type, or all, that can be assigned."""
        return [each for each in self.readable(kind) if each.writable]

    def spoil(self, header: str) -> None:
        """Record that a header may now be invalid."""
        if header in self.valid:
            self.valid.remove(header)
        if header not in self.spoiled:
            self.spoiled.append(header)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Enter a nested block, the body of the `with`.

        Its variables are removed at its end. A header is valid afterwards if it was before and the block keeps it so.
        """
        values, valid = len(self.values), list(self.valid)
        yield
        del self.values[values:]
        self.valid = [each for each in valid if each in self.valid]
