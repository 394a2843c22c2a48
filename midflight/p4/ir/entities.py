"""Entities that expressions and statements refer to, and that contain none themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from midflight.errors import Place
from midflight.p4.types import Direction, Type
from midflight.trees import equal, hashed, shown

__all__ = [
    "EntryKey", "Instance", "Keyset", "Node", "Parameter", "Variable",
]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """A local variable or parameter. It is compared by identity, so two variables with the same name differ."""

    name: str
    type: Type
    place: Place | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Node:
    """A node of the typed program with its place in the source, which comparisons ignore."""

    place: Place | None = field(default=None, compare=False)

    __eq__, __hash__, __repr__ = equal, hashed, shown


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a parser, control or action: its variable, its direction, and its annotations by name."""

    variable: Variable
    direction: Direction
    annotations: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """An extern object: `name` is its control-plane name, and `kind` its extern type, such as `register`.

    `arguments` are its constructor's constants, in order.
    """

    name: str
    kind: str
    type_arguments: tuple[Type, ...]
    arguments: tuple[int | str, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class EntryKey:
    """One field of an entry's or select case's key. A `value` of None matches everything.

    It matches `value` exactly, under `mask` (ternary, LPM), or from `value` to `high`, inclusive (range); None if
    unused.
    """

    value: int | None
    mask: int | None = None
    high: int | None = None


Keyset = tuple[EntryKey, ...]
