"""Configurations of switches, survival of applications in a program change, and snapshots for rollback."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256

from midflight.primitives import Program
from midflight.primitives.state import Values
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.base import PipelineConfig
from midflight.runtime.p4runtime.client.maps import Maps
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.placement import Placement
from midflight.runtime.steering import Standing

__all__ = ["Configuration", "Registers", "Snapshot", "read_registers", "survives"]

Registers = Mapping[str, Mapping[str, Values]]
"""The contents of registers, by application and register."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The part of a program that a switch runs: the `placed` applications, checked and compiled for its device."""

    program: Program
    placement: Placement
    placed: Collection[str]
    checked: CheckedProgram
    pipeline: PipelineConfig

    @property
    def source(self) -> str:
        """The P4 text."""
        return self.checked.text

    @property
    def cookie(self) -> int:
        """The P4Runtime cookie of the program: a 63-bit hash of its P4 text, at least 1."""
        return 1 + int.from_bytes(sha256(self.source.encode()).digest()[:8], "big") // 2

    @property
    def ids(self) -> frozenset[int]:
        """The ids of the applications that are placed."""
        return frozenset(self.program.applications[name].id for name in self.placed)

    def surviving(self, after: Configuration) -> list[str]:
        """Return the applications that both configurations have, unchanged."""
        return [each for each in self.placed if each in after.placed and survives(self.program, after.program, each)]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a switch before a change of program. `values` is None until the registers have been read."""

    configuration: Configuration
    maps: Maps
    subscriptions: frozenset[str]
    standing: Standing
    values: Registers | None = None


def survives(before: Program, after: Program, name: str) -> bool:
    """Return whether an application keeps its id, primitive, wire fields and shape of state in another program."""
    if name not in before.applications or name not in after.applications:
        return False
    one, other = (each.schema()["applications"][name] for each in (before, after))
    return all(one[part] == other[part] for part in ("id", "primitive", "fields", "state"))


def read_registers(session: Session, program: Program, names: Collection[str]) -> Registers:
    """Read the registers of these applications from the switch of a session."""
    return {name: program.state(name, session.inband).read() for name in names}
