"""A network whose switches have one controller: what each of them runs, admits and counts, and how that changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from midflight.errors import DeviceError, MidflightError
from midflight.p4.frontend import check
from midflight.primitives import Application, Program
from midflight.primitives.state import State
from midflight.runtime.devices.base import Device
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.p4runtime.maps import Maps, MapWriter
from midflight.runtime.p4runtime.results import Count
from midflight.runtime.p4runtime.session import Session
from midflight.runtime.placement import Footprint, Placement, footprint, place
from midflight.runtime.steering import Graph, Offload, members, routes
from midflight.testbed.change import Guest, Running, saved
from midflight.testbed.fabric.base import Host, Scheduled, Switchable
from midflight.testbed.fabric.registry import open_fabric
from midflight.testbed.jobs import WORKER_PORT
from midflight.testbed.sim.link import ChannelStatistics
from midflight.testbed.topology import Topology

__all__ = ["Controlled"]


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
        self._sheets: dict[str, Capabilities] = {}
        self._maps: dict[str, Maps] = {}
        self.sessions: dict[str, Session] = {}
        """The controller's session with each switch."""
        self.steering: dict[str, Offload] = {}
        """What each switch forwards and computes on."""
        self.placements: dict[str, Placement] = {}
        """Which applications each switch has room for, and why not for the others."""
        self._lock = threading.RLock()
        self._epoch = 1  # of what computes, newer each time that something has forgotten what it knew
        self._off: set[str] = set()
        self._needs: dict[Program, Footprint] = {}  # of the latest
        self._loaded: dict[str, Running] = {}
        self._guests: dict[tuple[str, str], Guest] = {}  # by application and switch
        self._rates: dict[str, int] = {}  # by application
        with ExitStack() as stack:
            self.fabric = stack.enter_context(
                open_fabric(fabric, topology, device, seed=seed, pcap=pcap, traceable=traceable)
            )
            self._graph: Graph = topology.graph()
            for name, switch in self.fabric.devices.items():
                self.sessions[name] = stack.enter_context(switch.session())
                sheet = self._sheets[name] = (capabilities or {}).get(name, switch.capabilities)
                self.placements[name] = self._place(name, sheet, program)
                self._load(name)
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
        """The switches by name."""
        return self.fabric.devices

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

    def map(self, application: str, name: str, switch: str = "") -> MapWriter:
        """Return a map of an application, to write and read like a dict: `net.map("cache", "owner")[key] = value`.

        `switch` is needed where several have it. MidflightError where none has. A switch that is revived gets the
        entries again.
        """
        return self._maps[self._running(application, switch)][application, name]

    def state(self, application: str, switch: str = "") -> State:
        """Return an application's registers on a switch: `net.state("gradients").total.read()` is an array.

        Packets carry them, on every device alike. `switch` is needed where several run the application. MidflightError
        where none does.
        """
        return self.program.state(application, self.sessions[self._running(application, switch)].inband)

    def admit(self, application: str, hosts: Sequence[Host] = (), *, switch: str = "", port: int | None = None) -> None:
        """Have a switch compute on an application's requests from these hosts, or from everybody where none are told.

        What the kernel multicasts goes to the hosts' UDP port `port`, 49152 and the application's id unless told. A
        group admits its application by itself. `switch` is needed where several have the application. MidflightError
        where none has, or where a host has no way to it.
        """
        with self._lock:
            found, switch = self._application(application), self._running(application, switch)
            guest = Guest(found, switch, tuple(hosts), WORKER_PORT + found.id if port is None else port)
            self._welcome(guest)
            self._guests[application, switch] = guest

    def withdraw(self, application: str, switch: str = "") -> None:
        """Have a switch only forward an application's requests again. Its state stays, for when it is admitted."""
        with self._lock:
            switch = self._running(application, switch)
            self._guests.pop((application, switch), None)
            self.steering[switch].withdraw(self._application(application).id)

    def limit(self, application: str, rate: int) -> None:
        """Have switches compute on at most `rate` requests a second of an application from each port; 0 for no limit.

        What comes faster passes by, towards the host that it is addressed to.
        """
        with self._lock:
            found = self._application(application)
            for steering in self.steering.values():
                if found.id in steering.admitted:
                    now = steering.admitted[found.id]
                    steering.admit(found.id, now.members, group=now.group, epoch=now.epoch, ports=now.ports, rate=rate)
            self._rates[application] = rate

    def counters(self, application: str, switch: str = "") -> dict[int | None, Count]:
        """Return the packets and bytes that came for an application, by the ports that it is admitted on.

        Under None where all ports may bring them; what came too fast for its limit is counted, too. `switch` is needed
        where several have the application. MidflightError where it is not admitted.
        """
        return self.steering[self._running(application, switch)].counters(self._application(application).id)

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

    def _place(self, switch: str, sheet: Capabilities, program: Program) -> Placement:
        """Return which applications of a program a switch has room for."""
        if program not in self._needs:
            self._needs = {program: footprint(check(program.p4(), "program.p4"))}
        return place(self._needs[program], {switch: sheet})

    def _source(self, switch: str, program: Program, placed: Collection[str]) -> str:  # noqa: ARG002
        """Return what a switch runs: a program, as much of it as there is room for."""
        return program.p4(placed)

    def _compiled(self, switch: str, program: Program, placement: Placement) -> Running:
        """Return what a switch would run."""
        placed = placement.on(switch)
        source = self._source(switch, program, placed)
        if switch in self._loaded and self._loaded[switch].source == source:
            return Running(program, placed, source, self._loaded[switch].pipeline)
        return Running(program, placed, source, self.devices[switch].compile(source, "program.p4"))

    def _load(self, switch: str) -> None:
        """Give a switch its program, its registers empty, the entries of its maps, and its routes."""
        if switch not in self._loaded:
            self._loaded[switch] = self._compiled(switch, self.program, self.placements[switch])
        running, session = self._loaded[switch], self.sessions[switch]
        session.load(running.pipeline.p4info, running.pipeline.config)
        if switch not in self._maps:
            self._maps[switch] = Maps(session, running.program, running.placed)
        self._maps[switch].session = session
        self._maps[switch].install()
        self.steering[switch] = Offload(session)
        self.steering[switch].install(routes(self._graph).get(switch, ()))  # none for one that is given up

    def _welcome(self, guest: Guest) -> None:
        """Admit an application that has no group."""
        of = guest.application
        ports = {self._graph.port_towards(guest.switch, each.name) for each in guest.hosts} or None
        those = members(self._graph, guest.switch, {each.name: guest.port for each in guest.hosts})
        rate = self._rates.get(of.name, 0)
        self.steering[guest.switch].admit(of.id, those, epoch=self._epoch, ports=ports, rate=rate)

    def _dismiss(self, wanted: Mapping[str, Running]) -> None:
        """Have switches no longer compute on what they will not have any more."""
        for name, switch in tuple(self._guests):
            running, number = wanted[switch], self.program.applications[name].id
            if name not in running.placed or running.program.applications[name].id != number:
                del self._guests[name, switch]
                if switch not in self._off:
                    self.steering[switch].withdraw(number)
        for running in wanted.values():
            self._rates = {name: rate for name, rate in self._rates.items() if name in running.program.applications}

    def _change(self, switch: str, wanted: Running) -> None:
        """Give a switch another program; what stays in it keeps its state. The switch drops packets meanwhile."""
        session, steering, before = self.sessions[switch], self.steering[switch], self._loaded[switch]
        steering.hold()
        try:
            kept = saved(session, before, wanted)
        except BaseException:
            steering.resume(session)
            raise
        subscribed = set(session.subscriptions)
        if not self._sheets[switch].live_pipelines:
            session = self._restarted(switch)
        try:
            session.load(wanted.pipeline.p4info, wanted.pipeline.config)
        except DeviceError:
            if getattr(self.devices[switch], "alive", True):
                steering.resume(session)
                raise
            session = self._restarted(switch)
            session.load(wanted.pipeline.p4info, wanted.pipeline.config)
        for digest in subscribed & {each.preamble.name for each in session.p4info.digests}:
            session.subscribe(digest)
        maps = Maps(session, wanted.program, wanted.placed)
        maps.adopt(self._maps[switch])
        maps.install()
        for name, values in kept.items():
            wanted.program.state(name, session.inband).restore(values)
        self._maps[switch] = maps
        steering.resume(session)

    def _restarted(self, switch: str) -> Session:
        """Switch a switch off and on, and return a session with it."""
        if not isinstance(self.fabric, Switchable):
            raise MidflightError("the switches of this fabric cannot be switched off", hint="take sim or netns")
        before = self.devices[switch]
        self.fabric.power(switch, on=False)
        self.fabric.power(switch, on=True)
        if self.devices[switch] is not before:
            self.sessions[switch].close()
            self.sessions[switch] = self._stack.enter_context(self.devices[switch].session())
        return self.sessions[switch]

    def _power(self, switch: str, *, on: bool) -> None:
        """Switch a switch off or on."""
        if not isinstance(self.fabric, Switchable):
            raise MidflightError("the switches of this fabric cannot be switched off", hint="take sim or netns")
        if switch not in self.devices:
            raise MidflightError(f"there is no switch named {switch}", hint=f"there is {', '.join(self.devices)}")
        self.fabric.power(switch, on=on)
        (self._off.discard if on else self._off.add)(switch)

    def _neighbour(self, host: Host) -> str:
        for far, _ in self.topology.ports(host.name).values():
            return far.node
        raise MidflightError(f"host {host.name} has no link")

    def _running(self, application: str, switch: str) -> str:
        """Return the switch that runs an application: the one named, or the only one."""
        self._application(application)
        having = [each for each, place in self.placements.items() if application in place.on(each)]
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
