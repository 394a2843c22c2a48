"""The state that the parts of a controller share: switches, graph, desired state and epoch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from midflight.errors import MidflightError
from midflight.primitives import Application, Program
from midflight.primitives.kernel.packet import Randomness
from midflight.primitives.state import Values
from midflight.runtime.checked import CheckedProgram, Programs
from midflight.runtime.controller.configuration import Configuration
from midflight.runtime.controller.desired import DesiredState
from midflight.runtime.controller.endpoints import Host, HostSoftware
from midflight.runtime.controller.strategy import Strategy
from midflight.runtime.controller.switch import ManagedSwitch
from midflight.runtime.devices.base import PipelineConfig
from midflight.runtime.placement import place
from midflight.runtime.steering import Graph

__all__ = ["Fleet"]

EPOCHS = 2**16


@dataclass(slots=True)
class Fleet:
    """The switches of one controller, by name, and the state that the parts of the controller share.

    Hold `lock` to change anything here.

    * `whole`: the network's graph; `graph`: the part of it that routes use, without the switches in `given_up` that are
      off.
    * `strategy`: how the work of a group is spread over switches; `software`: computes on hosts where no switch does.
    * `desired`: what has been requested: admissions, limits, mirrors, map entries and the program.
    * `programs`: the cache of compiled programs.
    * `now`: returns the time in nanoseconds; `random`: draws tokens.
    * `offload`: whether switches may compute for groups; `mtu`: the largest IP packet in bytes.
    * `epoch`: the current epoch, 0 to 65535; a new one begins each time a switch's state may have been lost.
    * `given_up`: the names of the switches that `Controller.give_up` removed, as keys of a dict.
    * `left`: the registers that a step of a plan had on its switch when it was left to hosts, by step.
    * `changed`: called after each change of the desired state.
    * `make_room`: called with an application and a switch, by name, that has no room for what the application needs;
      returns whether another switch runs the application now.
    """

    switches: Mapping[str, ManagedSwitch]
    whole: Graph
    strategy: Strategy
    software: HostSoftware
    desired: DesiredState
    programs: Programs
    now: Callable[[], int]
    random: Randomness
    offload: bool = True
    mtu: int = 1500
    epoch: int = 1
    given_up: dict[str, None] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    left: dict[str, Mapping[str, Values]] = field(default_factory=dict)
    changed: Callable[[], None] = lambda: None
    make_room: Callable[[str, str], bool] = lambda _application, _switch: False
    graph: Graph = field(init=False)

    def __post_init__(self) -> None:
        self.graph = self.whole

    @property
    def program(self) -> Program:
        """The program of the desired state, which all switches should run."""
        return self.desired.program

    def request(self, desired: DesiredState) -> None:
        """Replace the desired state and call `changed`, whose errors propagate; the new state then stays.

        Writes nothing to the switches.
        """
        self.desired = desired
        self.changed()

    def next_epoch(self) -> int:
        """Begin a new epoch and return it: the 16-bit serial number after the current one. Writes nothing to the
        switches.

        `changed` is called first, which saves the epoch before any switch learns of it. A later controller then never
        starts with an older epoch. Errors of `changed` propagate; the epoch has then begun.
        """
        self.epoch = (self.epoch + 1) % EPOCHS
        self.changed()
        return self.epoch

    def new_token(self) -> int:
        """Draw an unguessable number, from 1 to 2**64 - 1, by which a switch recognises an application's members."""
        return 1 + self.random.getrandbits(64) % (2**64 - 1)

    def token(self, application: str) -> int:
        """Return the token of an application's first admission, not of a job; 0 if it has none or is not admitted."""
        found = [each.token for (name, _), each in self.desired.admissions.items() if name == application]
        return found[0] if found else 0

    def switch(self, name: str) -> ManagedSwitch:
        """Return a switch by name. MidflightError if there is no switch of that name."""
        if name not in self.switches:
            raise MidflightError(
                f"there is no switch named {name}", hint=f"the switches are {', '.join(self.switches)}"
            )
        return self.switches[name]

    def application(self, name: str) -> Application:
        """Return an application by name. MidflightError if the program has none of that name."""
        found = self.program.applications.get(name)
        if found is None:
            names = ", ".join(self.program.applications)
            raise MidflightError(f"the program has no application {name!r}", hint=f"it has {names}")
        return found

    def running(self, application: str, switch: str = "") -> str:
        """Return the name of the switch that runs an application: `switch`, or if that is empty, the only one that
        does.

        MidflightError if the program lacks the application, if `switch` does not run it, or if it is empty and no
        switch or several run the application.
        """
        self.application(application)
        having = [name for name, each in self.switches.items() if application in each.running.placed]
        if switch and switch not in having:
            raise MidflightError(
                f"{switch} does not run {application}", hint=f"it runs on {', '.join(having) or 'no switch'}"
            )
        if not switch and len(having) > 1:
            names = ", ".join(having)
            raise MidflightError(
                f"{len(having)} switches run {application}",
                hint=f"choose one of {names}, with switch=... in Python or --switch on the command line",
            )
        if not having:
            raise MidflightError(f"no switch runs {application}")
        return switch or having[0]

    def computes(self, application: Application, switch: str) -> bool:
        """Return whether a switch, by name, has room for an application and is not one that was given up."""
        return application.name in self.switches[switch].running.placed and switch not in self.given_up

    def neighbour(self, host: Host) -> str:
        """Return the name of the node at the other end of a host's first link. MidflightError if it has no link."""
        for link in self.whole.links:
            for near, far in ((link.left, link.right), (link.right, link.left)):
                if near == host.name:
                    return far
        raise MidflightError(f"host {host.name} has no link")

    def configurations(self, program: Program) -> dict[str, Configuration]:
        """Return, by switch name, what each switch would run of a program: as much as it has room for, compiled.

        P4Error if the program's P4 is invalid or a device's compiler rejects it; DeviceError if the compiler is
        missing. Nothing is sent to a switch.
        """
        made: dict[tuple[str, CheckedProgram], PipelineConfig] = {}
        wanted = {}
        for name, switch in self.switches.items():
            own = self.strategy.program_for(name, program)
            whole = self.programs.get(own.p4(), "program.p4")  # kept, as the same text is often placed unchanged
            placement = place(self.strategy.footprint_for(name, own, whole.footprint), {name: switch.sheet})
            checked = self.programs.get(own.p4(placement.on(name)), "program.p4")
            wanted[name] = switch.compile(own, placement, checked, made)
        return wanted
