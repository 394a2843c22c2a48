"""A change of plan over all switches, as one transaction, with the state of the steps that move."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from midflight.errors import DeviceError, MidflightError
from midflight.primitives.kernel.map import Entry
from midflight.primitives.state import Values
from midflight.runtime.controller.admissions import Admissions
from midflight.runtime.controller.desired import AdmissionRequest
from midflight.runtime.controller.fleet import Fleet
from midflight.runtime.controller.planned import Planned
from midflight.runtime.controller.program_change import change_program
from midflight.runtime.controller.recovery import Recovery
from midflight.runtime.controller.scheduler import JobScheduler
from midflight.runtime.placement.planner.solution import Solution

__all__ = ["Move", "change_plan"]


@dataclass(frozen=True, slots=True)
class Move:
    """A step that a change of plan has moved from one device to another, by name, and whether its state went along.

    `state` is False if the registers are not on the second device, because the first does not answer or one is a host.
    """

    step: str
    before: str
    after: str
    state: bool

    def __str__(self) -> str:
        return f"{self.step} from {self.before} to {self.after}, {'with' if self.state else 'without'} its state"


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a step had on the switch that it leaves: its registers and map entries, None if they cannot be read."""

    registers: Mapping[str, Values] | None
    entries: Mapping[tuple[str, str], tuple[Entry, ...]]


def change_plan(
    fleet: Fleet, jobs: JobScheduler, recovery: Recovery, admissions: Admissions, wanted: Solution
) -> tuple[Move, ...]:
    """Make the switches follow another plan, in one transaction, and return the steps that moved.

    `wanted` has the devices of the steps; the other arguments are the parts of the controller.
    Admissions move with their steps. So do map entries, and registers if both devices are switches that answer. The
    registers of a step that is left to hosts stay in `fleet.left` until a switch runs it again, with empty ones. The
    requests of a step that moves are forwarded to their hosts meanwhile. If a step's new device has no registers of it,
    a new epoch begins. A switch that stops answering once the programs have changed is off, and gets its admissions
    when it returns.

    MidflightError if the controller follows no plan. DeviceError if a switch rejects its program; then all switches
    follow the old plan again, with their state.
    """
    strategy = fleet.strategy
    if not isinstance(strategy, Planned):
        raise MidflightError("the controller follows no plan", hint="pass strategy=Planned(plan)")
    before = strategy.solution.at
    changed = {
        step: (before[step], at)
        for step, at in wanted.at.items()
        if step in before and before[step] != at and step in fleet.program.applications
    }
    with fleet.lock:
        requests = [
            each
            for each in fleet.desired.admissions.values()
            if each.application.name in changed and each.switch == changed[each.application.name][0]
        ]
        try:
            for each in requests:
                if fleet.switches[each.switch].on:
                    fleet.switches[each.switch].steering.withdraw(each.application.id)
            kept = {step: _read(fleet, step, one) for step, (one, _) in changed.items()}
            fleet.strategy = Planned(wanted)
            change_program(fleet, jobs, recovery, fleet.program)
        except BaseException:
            fleet.strategy = strategy
            with suppress(DeviceError):  # if a switch has just failed, it gets them when it returns
                admissions.apply_all()
            raise
        moves = tuple(Move(step, *ends, _write(fleet, step, ends[1], kept[step])) for step, ends in changed.items())
        for step, (_, at) in changed.items():
            fleet.left.pop(step, None)
            registers = kept[step].registers
            if at not in fleet.switches and registers:
                fleet.left[step] = registers
        for each in requests:
            _admit(fleet, admissions, each, changed[each.application.name][1])
        if not all(each.state for each in moves):
            recovery.rearrange()
        fleet.changed()
        return moves


def _read(fleet: Fleet, step: str, switch: str) -> _Kept:
    """Return the state of a step on a device that it is about to leave; of a host, the controller knows the maps."""
    found = fleet.switches.get(switch)
    if found is None or step not in found.running.placed:
        return _Kept(None, {(step, name): those for name, those in fleet.desired.maps.of(step).items()})
    entries = {names: those for names, those in found.maps.entries().items() if names[0] == step}
    try:
        return _Kept(found.state(step).read() if found.on else None, entries)
    except DeviceError as error:
        found.lose(error.message)
        return _Kept(None, entries)


def _write(fleet: Fleet, step: str, switch: str, kept: _Kept) -> bool:
    """Give a step its state on the switch that it has moved to. Return whether its registers went along."""
    found = fleet.switches.get(switch)
    if found is None or not found.on or step not in found.running.placed:
        return False
    try:
        for names, those in kept.entries.items():
            found.maps[names].replace(those)
        if kept.registers is None:
            return not fleet.application(step).primitive.registers
        found.state(step).restore(kept.registers)
    except DeviceError as error:
        found.lose(error.message)
        return False
    return True


def _admit(fleet: Fleet, admissions: Admissions, request: AdmissionRequest, switch: str) -> None:
    """Admit on another switch what was admitted on the one that the step has left; nothing, if a host computes now."""
    name = request.application.name
    if switch not in fleet.switches or name not in fleet.switches[switch].running.placed:
        return
    again = partial(
        admissions.admit,
        name,
        request.hosts,
        senders=request.senders,
        switch=switch,
        port=request.port,
        token=request.token,
        members=request.members,
    )
    try:
        again()
    except DeviceError as error:
        fleet.switches[switch].lose(error.message)
        again()  # as the switch is off now, this only records what it gets when it returns
