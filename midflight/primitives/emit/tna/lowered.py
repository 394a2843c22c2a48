"""The lowered form of a kernel: each statement is one operation of a pipeline's stage.

The other statements and expressions are those of `kernel/typed.py`. A `Binary` may also have the operators `min` and
`max`, and no operand of an operation is an operation itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.typed import Expr, FieldRef, Local, walk
from midflight.primitives.kernel.types import Kind

__all__ = ["Action", "Execute", "HashOf", "Lowered", "Statements", "Stored", "Tabulated", "found"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Action:
    """One update of a register: the new value in terms of `Old`. It returns the "old" or "new" one, or nothing: ""."""

    name: str
    new: Expr
    returns: str


@dataclass(slots=True)
class Stored:
    """A register array of `size` cells of type `kind`, which may be wider than the numbers `of` it.

    `initial` is the first content of its cells, and `actions` are its updates, by new value and what they return.
    """

    kind: Kind
    of: Kind
    size: int
    initial: int
    actions: dict[tuple[Expr, str], Action] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Execute:
    """Apply the update named `action` to the element at `index` of a register array.

    `target`, if not None, receives what the update returns. `line` is the line of the user's source.
    """

    array: str
    action: str
    index: Expr
    target: Local | None
    line: Line


@dataclass(frozen=True, slots=True)
class HashOf:
    """Assign the hash number `number` of the kernel, which has a polynomial of its own, of `values` to `target`."""

    number: int
    target: Local
    values: tuple[Expr, ...]
    line: Line


@dataclass(frozen=True, slots=True)
class Tabulated:
    """Look up the number at place `key` of `values` in the table `table`; `target` becomes 0 if there is none.

    `called` is what the P4 calls such a number.
    """

    table: str
    target: Local
    key: Local | FieldRef
    values: tuple[int, ...]
    called: str
    line: Line


Statements: TypeAlias = tuple[Any, ...]
"""Statements of `kernel/typed.py`, and the above; those inside an `If` or `Unrolled` are lowered, too."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """A lowered kernel: its statements (`body`), its variables with their types (`locals`; None: a condition), its
    registers by array, and the seeds of its hashes.
    """

    body: Statements
    locals: Mapping[str, Kind | None]
    registers: Mapping[str, Stored]
    seeds: tuple[int, ...]


def found(body: Statements, kind: type[T]) -> list[T]:
    """Return all statements of one kind in a lowered body, those in branches and loops included, in source order."""
    return [each for each in walk(body) if isinstance(each, kind)]
