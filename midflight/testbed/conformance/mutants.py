"""Broken programs: each is the P4 of a primitive with one change that a device or compiler could get wrong.

A conformance run has to detect every one of them. They are listed in `mutants.toml`.
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
    """A change that breaks a primitive's P4, as a faulty compiler could: every occurrence of `old` is replaced by
    `new`.

    `primitive` and `parameters` say which program is changed.
    """

    name: str
    primitive: str
    parameters: Mapping[str, Any]
    old: str
    new: str

    def apply(self, p4: str) -> str:
        """Return the broken program for the P4 text of the primitive. MidflightError if `old` does not occur in it."""
        if self.old not in p4:
            raise MidflightError(f"mutant {self.name} cannot be applied: {self.old!r} is not in the program")
        return p4.replace(self.old, self.new)


def mutants() -> tuple[Mutant, ...]:
    """Return the broken programs that ship with Midflight, from `mutants.toml`."""
    document = tomllib.loads((files(__package__) / "mutants.toml").read_text(encoding="utf-8"))
    return tuple(Mutant(**entry) for entry in document["mutant"])
