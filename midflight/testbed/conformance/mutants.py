"""Broken programs: each the P4 of a primitive with one thing changed that a device or compiler could get wrong.

A conformance run is worth as much as what it catches: every one of these must fail. They stand in `mutants.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from midflight.errors import MidflightError

__all__ = ["Mutant", "mutants"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change of a primitive's P4: everywhere `old` stands, `new` shall."""

    name: str
    primitive: str
    parameters: Mapping[str, Any]
    old: str
    new: str

    def apply(self, p4: str) -> str:
        """Return the broken program; MidflightError where there is nothing to break."""
        if self.old not in p4:
            raise MidflightError(f"mutant {self.name} has nothing to change: {self.old!r} is not in the program")
        return p4.replace(self.old, self.new)


def mutants() -> tuple[Mutant, ...]:
    """Return the broken programs that ship."""
    document = tomllib.loads((files(__package__) / "mutants.toml").read_text(encoding="utf-8"))
    return tuple(Mutant(**entry) for entry in document["mutant"])
