"""A change of program over all switches, as one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Program
from midflight.runtime.controller.configuration import Configuration, survives
from midflight.runtime.controller.fleet import Fleet
from midflight.runtime.controller.recovery import Recovery
from midflight.runtime.controller.scheduler import JobScheduler

__all__ = ["change_program"]


def change_program(fleet: Fleet, jobs: JobScheduler, recovery: Recovery, program: Program) -> None:
    """Change the program of all switches of a controller in one transaction: see `Controller.change`.

    `fleet`, `jobs` and `recovery` are the controller's. Every switch verifies the program before the first one changes.
    MidflightError if the program is invalid, does not fit an open group, or changes the `Steering` of services, before
    anything has changed. DeviceError if a switch rejects the program, after all switches were rolled back; its hint
    names those that are off because that failed.
    """
    with fleet.lock:
        for name in jobs.jobs:
            if not survives(fleet.program, program, name):
                raise MidflightError(
                    f"{name} has a group and cannot be removed or changed",
                    hint="end its job first: close the group, or run `midflight withdraw`. To keep it, derive the new "
                    "program from the running one with `extended`, `without` or `replaced`",
                )
        if fleet.desired.services and program.steering != fleet.program.steering:
            raise MidflightError(
                "the Steering of a program cannot change while there are services",
                hint=f"remove them first: {', '.join(fleet.desired.services)}",
            )
        wanted = fleet.configurations(program)
        on = [name for name, each in fleet.switches.items() if each.on]
        try:
            with ExitStack() as undo:
                _change(fleet, jobs, recovery, program, wanted, undo)
                undo.pop_all()
        except DeviceError as error:
            lost = [name for name in on if not fleet.switches[name].on]
            outcome = ", ".join(f'{each} is off until net.revive("{each}")' for each in lost)
            outcome += f"{'; all others were' if lost else 'all switches were'} rolled back"
            hint = f"{error.hint}\n    {outcome}" if error.hint else outcome
            raise DeviceError(error.message, hint=hint) from error
        finally:
            fleet.changed()


def _change(
    fleet: Fleet,
    jobs: JobScheduler,
    recovery: Recovery,
    program: Program,
    wanted: Mapping[str, Configuration],
    undo: ExitStack,
) -> None:
    """Verify everywhere, then change everywhere. `undo` collects the rollback, step by step."""
    moved = [
        job
        for job in jobs.jobs.values()
        if any(job.application.name not in wanted[each].placed for each in job.receivers)
    ]
    for job in moved:
        if job.server is None:
            raise jobs.no_room(job.application, next(iter(wanted.values())).placement)
    if moved:
        undo.callback(recovery.rearrange)
    undo.callback(setattr, fleet, "desired", fleet.desired)
    undo.callback(fleet.software.adopt, fleet.program)
    for name, configuration in wanted.items():
        with _naming(name):
            fleet.switches[name].verify(configuration)
    for name, configuration in wanted.items():
        with _naming(name):
            undo.callback(fleet.switches[name].change(configuration))
    placed = {name: each.running.placed for name, each in fleet.switches.items()}
    fleet.desired = fleet.desired.with_program(program, placed)
    fleet.software.adopt(program)
    if moved:
        fleet.next_epoch()
        for job in moved:
            jobs.arrange(job)


@contextmanager
def _naming(switch: str) -> Iterator[None]:
    """Name the switch in errors of its device."""
    try:
        yield
    except DeviceError as error:
        raise DeviceError(f"{switch} rejects the program: {error.message}", hint=error.hint) from error
