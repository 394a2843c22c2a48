"""What stays when a switch gets another program: which applications, and what their registers hold."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from midflight.primitives import Application, Program
from midflight.primitives.state import Values
from midflight.runtime.devices.base import PipelineConfig
from midflight.runtime.p4runtime.session import Session
from midflight.testbed.fabric.base import Host

__all__ = ["Guest", "Running", "saved", "stay"]


@dataclass(frozen=True, slots=True)
class Running:
    """What a switch runs: those applications of a program that it has room for, as text and compiled."""

    program: Program
    placed: Collection[str]
    source: str
    pipeline: PipelineConfig


@dataclass(frozen=True, slots=True)
class Guest:
    """An application without a group that a switch has admitted, for these hosts, or for all where there are none.

    `port` is the UDP port behind which they listen to results.
    """

    application: Application
    switch: str
    hosts: tuple[Host, ...]
    port: int


def stay(before: Program, after: Program, name: str) -> bool:
    """Tell whether an application is the same in two programs: by id, by primitive, and by the shape of its state."""
    if name not in before.applications or name not in after.applications:
        return False
    one, other = (each.schema()["applications"][name] for each in (before, after))
    return all(one[part] == other[part] for part in ("id", "primitive", "fields", "state"))


def saved(session: Session, before: Running, after: Running) -> dict[str, dict[str, Values]]:
    """Read what the registers of those applications hold that stay on a switch."""
    staying = [each for each in before.placed if each in after.placed and stay(before.program, after.program, each)]
    return {name: before.program.state(name, session.inband).read() for name in staying}
