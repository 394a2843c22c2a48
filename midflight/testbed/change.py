"""What a switch runs, what stays of it in another program, and what it had before, for the way back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from midflight.primitives import Application, Program
from midflight.primitives.state import Values
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.base import PipelineConfig
from midflight.runtime.p4runtime.client.maps import Maps
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.placement import Placement
from midflight.runtime.steering import Standing
from midflight.testbed.fabric.base import Host

__all__ = ["Guest", "Kept", "Registers", "Running", "registers", "stay"]

Registers = Mapping[str, Mapping[str, Values]]
"""What registers hold, by application and register."""


@dataclass(frozen=True, slots=True)
class Running:
    """What a switch runs: those applications of a program that are `placed` on it, checked and compiled for it."""

    program: Program
    placement: Placement
    placed: Collection[str]
    checked: CheckedProgram
    pipeline: PipelineConfig

    @property
    def source(self) -> str:
        """The text of its P4."""
        return self.checked.text

    @property
    def ids(self) -> set[int]:
        """The ids of its applications."""
        return {self.program.applications[name].id for name in self.placed}

    def staying(self, after: Running) -> list[str]:
        """Return the applications that are here and there, and the same."""
        return [each for each in self.placed if each in after.placed and stay(self.program, after.program, each)]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a switch had before it was given another program; `values` are None until it has told them."""

    running: Running
    maps: Maps
    subscriptions: frozenset[str]
    standing: Standing
    values: Registers | None = None


@dataclass(frozen=True, slots=True)
class Guest:
    """An application without a group that a switch has admitted, for these hosts, or for all where there are none.

    `port` is the UDP port behind which they listen to results. What `senders` send is computed on as well.
    """

    application: Application
    switch: str
    hosts: tuple[Host, ...]
    port: int
    senders: tuple[Host, ...] = ()


def stay(before: Program, after: Program, name: str) -> bool:
    """Tell whether an application is the same in two programs: by id, by primitive, and by the shape of its state."""
    if name not in before.applications or name not in after.applications:
        return False
    one, other = (each.schema()["applications"][name] for each in (before, after))
    return all(one[part] == other[part] for part in ("id", "primitive", "fields", "state"))


def registers(session: Session, program: Program, names: Collection[str]) -> Registers:
    """Read what these applications' registers hold on the switch of a session."""
    return {name: program.state(name, session.inband).read() for name in names}
