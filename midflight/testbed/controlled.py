"""A network whose switches have one controller: what each of them runs, and what has passed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypedDict

from midflight.errors import MidflightError
from midflight.primitives import Application, Program
from midflight.primitives.kernel.map import Entry
from midflight.primitives.state import State
from midflight.runtime.checked import CheckedProgram, Programs
from midflight.runtime.devices.base import Device, PipelineConfig
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.footprint import Footprint
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.placement import Placement, place
from midflight.runtime.steering import Graph, Offload, routes
from midflight.testbed.change import Running
from midflight.testbed.fabric.base import Host, Scheduled
from midflight.testbed.fabric.registry import open_fabric
from midflight.testbed.governed import Governed
from midflight.testbed.maps import Book, NetMap
from midflight.testbed.sim.link import ChannelStatistics
from midflight.testbed.topology import Topology

__all__ = ["Controlled", "Opening"]


class Opening(TypedDict, total=False):
    """How a network is opened, as `Net` tells it."""

    device: str | Mapping[str, str]
    fabric: str
    seed: int
    pcap: Path | None
    traceable: bool
    capabilities: Mapping[str, Capabilities] | None


class Controlled:
    """A topology brought to life, and a controller that has a session with each of its switches. See `Net`."""

    def __init__(
        self,
        topology: Topology,
        *,
        program: Program,
        device: str | Mapping[str, str] = "host",
        fabric: str = "sim",
        seed: int = 0,
        pcap: Path | None = None,
        traceable: bool = False,
        capabilities: Mapping[str, Capabilities] | None = None,
    ) -> None:
        self.topology = topology
        self.program = program
        self.switches: dict[str, Governed] = {}
        """The switches, each with all that the controller knows of it."""
        self._lock = threading.RLock()
        self._book = Book(program)
        self._programs = Programs()
        self._graph: Graph = topology.graph()
        with ExitStack() as stack:
            self.fabric = stack.enter_context(
                open_fabric(
                    fabric,
                    topology,
                    device,
                    seed=seed,
                    pcap=pcap,
                    traceable=traceable,
                    programs=self._programs,
                )
            )
            for name in self.fabric.devices:
                self.switches[name] = Governed(name, self.fabric, (capabilities or {}).get(name))
                stack.callback(self.switches[name].close)
            for name, running in self._wanted(program).items():
                self.switches[name].expect(running)
                self._begin(name)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Close the controller's sessions and take the network down. May be called more than once."""
        self._stack.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts, in the topology's order."""
        return tuple(self.fabric.hosts.values())

    def host(self, name: str) -> Host:
        """Return the host of that name; MidflightError where there is none."""
        if name not in self.fabric.hosts:
            raise MidflightError(f"there is no host named {name}", hint=f"there is {', '.join(self.fabric.hosts)}")
        return self.fabric.hosts[name]

    @property
    def devices(self) -> Mapping[str, Device]:
        """The switches' devices by name."""
        return self.fabric.devices

    @property
    def sessions(self) -> Mapping[str, Session]:
        """The controller's session with each switch."""
        return {name: each.session for name, each in self.switches.items()}

    @property
    def steering(self) -> Mapping[str, Offload]:
        """What each switch forwards and computes on."""
        return {name: each.steering for name, each in self.switches.items()}

    @property
    def placements(self) -> Mapping[str, Placement]:
        """Which applications each switch has room for, and why not for the others."""
        return {name: each.running.placement for name, each in self.switches.items()}

    @property
    def now(self) -> int:
        """The time in nanoseconds, of the network's own clock: virtual time in a simulated one."""
        return self.fabric.now

    def after(self, delay: int, action: Callable[..., None], *arguments: object) -> None:
        """Call `action(*arguments)` once `delay` nanoseconds have passed, in a simulated network.

        MidflightError in another: there a thread of your own can do as it likes while a group sums.
        """
        if not isinstance(self.fabric, Scheduled):
            raise MidflightError("this network has no virtual time", hint="call it from a thread, when you like")
        self.fabric.after(delay, action, *arguments)

    def map(self, application: str, name: str, switch: str = "") -> NetMap:
        """Return a map of an application, to write and read like a dict: `net.map("cache", "owner")[key] = value`.

        `switch` is needed where several have it. A switch that is revived gets the entries again. Hosts that compute
        in software have what was written last, to whichever switch; where none has room for the application, only they
        are told. MidflightError where there is no such map.
        """
        found, writer = self._application(application), None
        if switch or any(application in each.running.placed for each in self.switches.values()):
            writer = self.switches[self._running(application, switch)].maps[application, name]
        return NetMap(self._book.map(found, name), partial(self._write, application, name), writer)

    def state(self, application: str, switch: str = "") -> State:
        """Return an application's registers on a switch: `net.state("gradients").total.read()` is an array.

        Packets carry them, on every device alike. `switch` is needed where several run the application. MidflightError
        where none does.
        """
        return self.switches[self._running(application, switch)].state(application)

    def uplink(self, host: Host) -> ChannelStatistics:
        """Return the statistics of the way from a host to its switch."""
        return self.fabric.statistics(host.name, self._neighbour(host))

    def downlink(self, host: Host) -> ChannelStatistics:
        """Return the statistics of the way from its switch to a host."""
        return self.fabric.statistics(self._neighbour(host), host.name)

    def link(self, host: Host) -> ChannelStatistics:
        """Return the statistics of a host's link, both directions together."""
        return self.uplink(host) + self.downlink(host)

    def totals(self) -> ChannelStatistics:
        """Return the statistics of all links together."""
        total = ChannelStatistics()
        for link in self.topology.links:
            for near, far in (link.ends, link.ends[::-1]):
                total += self.fabric.statistics(near.node, far.node)
        return total

    def settle(self) -> None:
        """Send what controllers have told the switches to, and let time pass until nothing is under way."""
        self.fabric.settle()

    def trace_hash(self) -> str:
        """Return a hash of all that has happened on all links, the same for the same run; empty in real time."""
        return self.fabric.trace_hash()

    def _write(self, application: str, name: str, entry: Entry, there: bool) -> None:
        """Have the hosts that compute in software have this entry in a map of an application, or not."""
        self.fabric.write(application, name, entry, there)

    def _own(self, switch: str, program: Program) -> Program:  # noqa: ARG002
        """Return what a switch has in the place of a program: the same."""
        return program

    def _needs(self, switch: str, program: CheckedProgram) -> Footprint:  # noqa: ARG002
        """Return what a program asks of a switch."""
        return program.footprint

    def _wanted(self, program: Program) -> dict[str, Running]:
        """Return what every switch would run of a program, compiled: as much as it has room for."""
        made: dict[tuple[str, CheckedProgram], PipelineConfig] = {}
        wanted = {}
        for name, switch in self.switches.items():
            own = self._own(name, program)
            whole = self._programs.get(own.p4(), "program.p4")
            placement = place(self._needs(name, whole), {name: switch.sheet})
            checked = self._programs.get(own.p4(placement.on(name)), "program.p4")
            wanted[name] = switch.compile(own, placement, checked, made)
        return wanted

    def _begin(self, switch: str) -> None:
        """Give a switch its program, its registers empty, the entries of its maps, and its routes."""
        self.switches[switch].begin(routes(self._graph).get(switch, ()))  # none for one that is given up

    def _switch(self, name: str) -> Governed:
        if name not in self.switches:
            raise MidflightError(f"there is no switch named {name}", hint=f"there is {', '.join(self.switches)}")
        return self.switches[name]

    def _neighbour(self, host: Host) -> str:
        for far, _ in self.topology.ports(host.name).values():
            return far.node
        raise MidflightError(f"host {host.name} has no link")

    def _running(self, application: str, switch: str) -> str:
        """Return the switch that runs an application: the one named, or the only one."""
        self._application(application)
        having = [name for name, each in self.switches.items() if application in each.running.placed]
        if switch and switch not in having:
            raise MidflightError(
                f"{switch} does not run {application}", hint=f"{', '.join(having) or 'no switch'} does"
            )
        if not switch and len(having) > 1:
            raise MidflightError(f"{len(having)} switches run {application}", hint=f'say which: switch="{having[0]}"')
        if not having:
            raise MidflightError(f"no switch runs {application}")
        return switch or having[0]

    def _application(self, name: str) -> Application:
        found = self.program.applications.get(name)
        if found is None:
            names = ", ".join(self.program.applications)
            raise MidflightError(f"the program has no application {name!r}", hint=f"it has {names}")
        return found
