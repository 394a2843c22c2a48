"""The configuration of a switch, the survival of applications in a program change, and snapshots for rollback."""

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
"""The contents of registers: by application name, then by the register's name in the kernel."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The part of a program that a switch runs.

    `program` is the whole program, and `placed` the names of its applications that the switch has room for, according
    to `placement`. `checked` is their P4 text with everything derived from it, and `pipeline` the same compiled for the
    device.
    """

    program: Program
    placement: Placement
    placed: Collection[str]
    checked: CheckedProgram
    pipeline: PipelineConfig

    @property
    def source(self) -> str:
        """The P4 text of the program with the placed applications only, which the switch runs."""
        return self.checked.text

    @property
    def cookie(self) -> int:
        """The cookie by which P4Runtime identifies the loaded program: a hash of the P4 text, 1 to 2**63."""
        return 1 + int.from_bytes(sha256(self.source.encode()).digest()[:8], "big") // 2

    @property
    def ids(self) -> frozenset[int]:
        """The ids of the applications that are placed."""
        return frozenset(self.program.applications[name].id for name in self.placed)

    def surviving(self, after: Configuration) -> list[str]:
        """Return the names of the applications that a switch runs before and after a change and that keep their state.

        `self` is the configuration before the change; see `survives` for the conditions. In the order of `placed`.
        """
        return [each for each in self.placed if each in after.placed and survives(self.program, after.program, each)]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a switch before a change of program, to roll back to.

    `configuration` is what it ran, `maps` the entries of its maps, `subscriptions` the names of the digests that it
    sent, `standing` its admissions, mirrors and counters, and `values` the contents of its registers, None until they
    are read.
    """

    configuration: Configuration
    maps: Maps
    subscriptions: frozenset[str]
    standing: Standing
    values: Registers | None = None


def survives(before: Program, after: Program, name: str) -> bool:
    """Return whether the application `name` keeps its id, primitive, wire fields and shape of state from `before` to
    `after`.

    Return False if one of the programs lacks it. Registers of an application that survives can be carried over.
    """
    if name not in before.applications or name not in after.applications:
        return False
    one, other = (each.schema()["applications"][name] for each in (before, after))
    return all(one[part] == other[part] for part in ("id", "primitive", "fields", "state"))


def read_registers(session: Session, program: Program, names: Collection[str]) -> Registers:
    """Read all registers of the applications with these names, which the switch of the session must run.

    Packets between controller and switch carry the values. DeviceError if the switch does not answer.
    """
    return {name: program.state(name, session.inband).read() for name in names}
