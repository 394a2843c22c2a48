"""A network that runs a program: any topology, any fabric, any kind of switch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from midflight.errors import MidflightError
from midflight.p4.frontend import check
from midflight.primitives import Aggregate, Application, Program
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.devices.base import Device
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.p4runtime.maps import Maps, MapWriter
from midflight.runtime.p4runtime.session import Session
from midflight.runtime.placement import Placement, footprint, place
from midflight.runtime.steering import Child, Choice, Graph, Member, Offload, members, routes
from midflight.testbed.endpoint import Address
from midflight.testbed.fabric.base import Host, Switchable, Worker
from midflight.testbed.fabric.registry import open_fabric
from midflight.testbed.group import Group
from midflight.testbed.instances import SERVER, choose
from midflight.testbed.sim.link import ChannelStatistics
from midflight.testbed.topology import Topology

__all__ = ["Net"]

_WORKER_PORT = 49152  # plus the application's id: each application has a socket of its own on every host
_NOWHERE = "10.0.255.254"  # what requests are addressed to where no host is left to be the server


class Net:
    """A topology brought to life whose switches all run one program; a context manager.

        with Net(leaf_spine(2, 2, hosts=4), program=program, fabric="netns", device="bmv2") as net:
            group = net.group("gradients", net.hosts[:4])
            sums = group.allreduce(arrays)

    fabric: `sim`, in virtual time, or `netns`, of network namespaces, processes and sockets (takes root). device: the
    kind of switch, `host` for the embedded one, `bmv2` for p4lang's; a mapping gives each switch its own. seed: of
    everything random. offload: whether switches may compute on the applications' packets or only forward them, to the
    host that computes instead. capabilities: by switch, what it is taken for instead of what it says of itself.

    pcap: a folder to keep the frames of every link in, h1-s1.pcap and so on; not of simulated ones.

    What a switch has no room for it does not get: see `placements`. Where it has, the switch and the server are two
    instances of a service, and the better one is used: see `choices`.

    Raises MidflightError where the program or a parameter is wrong; whatever was opened is closed again.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        program: Program,
        device: str | Mapping[str, str] = "host",
        fabric: str = "sim",
        seed: int = 0,
        pcap: Path | None = None,
        offload: bool = True,
        capabilities: Mapping[str, Capabilities] | None = None,
    ) -> None:
        self.topology = topology
        self.program = program
        self._offload = offload
        self._sheets: dict[str, Capabilities] = {}
        self._groups: dict[str, Group] = {}
        self._maps: dict[str, Maps] = {}
        self.sessions: dict[str, Session] = {}
        """The controller's session with each switch."""
        self.steering: dict[str, Offload] = {}
        """What each switch forwards and computes on."""
        self.placements: dict[str, Placement] = {}
        """Which applications each switch has room for, and why not for the others."""
        self.choices: dict[str, Choice] = {}
        """Which instance computes for each group, by application, and why. None where there was no choice."""
        self._epoch = 1
        self._admitted: dict[int, dict[str, tuple[Member | Child, ...]]] = {}  # by application and switch
        self._served: dict[str, tuple[str, list[Address]]] = {}  # by application: the server's name, and the members
        self._needs = footprint(check(program.p4(), "program.p4"))
        with ExitStack() as stack:
            self.fabric = stack.enter_context(open_fabric(fabric, topology, device, seed=seed, pcap=pcap))
            self._graph: Graph = topology.graph()
            for name, switch in self.fabric.devices.items():
                self.sessions[name] = stack.enter_context(switch.session())
                sheet = self._sheets[name] = (capabilities or {}).get(name, switch.capabilities)
                self.placements[name] = self._place(name, sheet)
                self._load(name)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Close the controller's sessions and take the network down. May be called more than once."""
        self._stack.close()

    def __enter__(self) -> Net:
        return self

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

    def group(self, application: str, hosts: Sequence[Host], *, server: Host | None = None) -> Group:
        """Return the group of workers that run an `Aggregate` on these hosts, worker n on the n-th.

        `server` is the host that the requests are addressed to, by default the last that is not in the group. The
        switch that computes is the one nearest to the workers that all their requests pass and that has a port for
        each of them. A group lasts as long as the network: asked for again with the same hosts, it is the same.
        MidflightError where the program has no such application or the hosts do not fit it.
        """
        found = self._application(application)
        primitive = found.primitive
        if not isinstance(primitive, Aggregate):
            raise MidflightError(f"{application} is a {type(primitive).__name__}, and only an Aggregate has workers")
        hosts = tuple(hosts)
        involved = hosts if server is None else (*hosts, server)
        strangers = [repr(each) for each in involved if self.fabric.hosts.get(getattr(each, "name", "")) is not each]
        if strangers or len(set(hosts)) != len(hosts):
            raise MidflightError(
                f"a group is of different hosts of its network; {', '.join(strangers) or 'one is twice in'}"
            )
        if len(hosts) != primitive.workers:
            raise MidflightError(
                f"{len(hosts)} hosts for {application}, which sums over {primitive.workers} workers",
                hint=f"pass {primitive.workers} hosts, or make it Aggregate({application!r}, workers={len(hosts)})",
            )
        if application in self._groups:
            if self._groups[application].hosts != hosts:
                raise MidflightError(f"{application} has a group already, of other hosts", hint="add an application")
            return self._groups[application]
        server = self._server(found, hosts, server)
        port = _WORKER_PORT + found.id
        if server is None:
            destination: Address = _NOWHERE, UDP_PORT
        else:
            destination = str(server.address), UDP_PORT
            addresses = [(str(each.address), port) for each in hosts]
            self.fabric.serve(server.name, self.program, application, addresses)
            self._served[application] = server.name, addresses
        if self._offload:
            self._admitted[found.id] = self._receivers(found, hosts, server, port)
            self._admit()
        crew = self.fabric.crew(
            [
                Worker(
                    host=host.name,
                    port=port,
                    application=found.id,
                    worker=number,
                    workers=primitive.workers,
                    lanes=primitive.lanes,
                    slots=primitive.slots,
                    server=destination,
                    peers=tuple((str(each.address), port) for each in hosts),
                    headroom=primitive.overflow != "detect",
                )
                for number, host in enumerate(hosts)
            ]
        )
        group = self._groups[application] = Group(application, hosts, crew)
        return group

    def map(self, application: str, name: str, switch: str = "") -> MapWriter:
        """Return a map of an application, to write and read like a dict: `net.map("cache", "owner")[key] = value`.

        `switch` is needed where several have it. MidflightError where none has. A switch that is revived gets the
        entries again.
        """
        having = [each for each, place in self.placements.items() if application in place.on(each)]
        if switch and switch not in having:
            raise MidflightError(
                f"{switch} does not run {application}", hint=f"{', '.join(having) or 'no switch'} does"
            )
        if not switch and len(having) > 1:
            raise MidflightError(
                f"{len(having)} switches run {application}", hint=f'say which: map(..., switch="{having[0]}")'
            )
        if not having:
            raise MidflightError(f"no switch runs {application}")
        return self._maps[switch or having[0]][application, name]

    def kill(self, switch: str) -> None:
        """Switch a switch off, or kill its process: what reaches it from now on is lost."""
        self._switchable().power(switch, on=False)

    def revive(self, switch: str) -> None:
        """Switch a switch on again: it has forgotten everything, and gets the program and its tables anew.

        The new epoch tells the workers.
        """
        before = self.devices[switch]
        self._switchable().power(switch, on=True)
        if self.devices[switch] is not before:
            self.sessions[switch].close()
            self.sessions[switch] = self._stack.enter_context(self.devices[switch].session())
        self._load(switch)
        self._epoch = (self._epoch + 1) % 2**16
        self._admit()

    def give_up(self, switch: str) -> None:
        """Switch a switch on again that only forwards from now on: the server computes what it did."""
        lost = {each.name for each in self.program.applications.values() if switch in self._admitted.get(each.id, ())}
        for name in lost:
            if name not in self._served:
                raise MidflightError(f"there is no server to compute {name} instead of {switch}")
            for other in self._admitted.pop(self.program.applications[name].id):
                if other != switch:
                    self.steering[other].withdraw(self.program.applications[name].id)
        self.revive(switch)
        for name in lost:
            host, addresses = self._served[name]
            self.fabric.serve(host, self.program, name, addresses, epoch=self._epoch)

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

    def _place(self, switch: str, sheet: Capabilities) -> Placement:
        """Return which applications a switch has room for."""
        return place(self._needs, {switch: sheet})

    def _source(self, switch: str) -> str:
        """Return what a switch runs: the program, as much of it as there is room for."""
        return self.program.p4(self.placements[switch].on(switch))

    def _load(self, switch: str) -> None:
        """Give a switch its program, its registers empty, the entries of its maps, and its routes."""
        pipeline = self.devices[switch].compile(self._source(switch), "program.p4")
        self.sessions[switch].load(pipeline.p4info, pipeline.config)
        if switch not in self._maps:
            self._maps[switch] = Maps(self.sessions[switch], self.program, self.placements[switch].on(switch))
        self._maps[switch].session = self.sessions[switch]
        self._maps[switch].install()
        self.steering[switch] = Offload(self.sessions[switch])
        self.steering[switch].install(routes(self._graph)[switch])

    def _admit(self) -> None:
        """Have the switches compute what they are to, in the present epoch."""
        for application, receivers in self._admitted.items():
            for switch, those in receivers.items():
                self.steering[switch].admit(application, those, epoch=self._epoch)

    def _switchable(self) -> Switchable:
        if not isinstance(self.fabric, Switchable):
            raise MidflightError("the switches of this fabric cannot be switched off", hint="take sim or netns")
        return self.fabric

    def _neighbour(self, host: Host) -> str:
        for far, _ in self.topology.ports(host.name).values():
            return far.node
        raise MidflightError(f"host {host.name} has no link")

    def _application(self, name: str) -> Application:
        found = self.program.applications.get(name)
        if found is None:
            names = ", ".join(self.program.applications)
            raise MidflightError(f"the program has no application {name!r}", hint=f"it has {names}")
        return found

    def _server(self, application: Application, hosts: Sequence[Host], server: Host | None) -> Host | None:
        """Return the host that requests are addressed to, or None where none is left and none is needed."""
        spare = [each for each in self.hosts if each not in hosts]
        if server in hosts:
            raise MidflightError(f"{server} is a worker of {application.name} and cannot be its server")
        if server is None and not spare and (not self._offload or len(self.devices) > 1):
            raise MidflightError(
                f"no host is left to compute {application.name}", hint="give the network one host more"
            )
        return server or (spare[-1] if spare else None)

    def _receivers(
        self, application: Application, hosts: Sequence[Host], server: Host | None, port: int
    ) -> dict[str, tuple[Member | Child, ...]]:
        """Return the switches that are to compute, with those who get the results from each."""
        switch = self._computing(application, hosts, server)
        return {} if switch is None else {switch: members(self._graph, switch, {each.name: port for each in hosts})}

    def _computing(self, application: Application, hosts: Sequence[Host], server: Host | None) -> str | None:
        """Return the switch that is to compute for these hosts, or None where the server is."""
        switch = self._nearest(application, hosts, server)
        placement = self.placements[switch]
        sites = {server.name: SERVER} if server else {}
        if application.name in placement.on(switch):
            sites = {switch: self._sheets[switch], **sites}
        if not sites:
            raise MidflightError(
                f"no switch has room for {application.name}, and no host is left to compute it",
                hint=f"{placement.explain()}; give the network one host more",
            )
        choice = self.choices[application.name] = choose(self._graph, self._neighbour(hosts[0]), sites, now=self.now)
        return switch if choice.candidate.csci_id == switch else None

    def _nearest(self, application: Application, hosts: Sequence[Host], server: Host | None) -> str:
        """Return the switch that could compute for these hosts."""
        if server is None:
            return self.topology.switches[0]
        paths = []
        for each in hosts:
            path = self._graph.path(each.name, server.name)
            if path is None:
                raise MidflightError(f"there is no way from {each.name} to {server.name}")
            paths.append(path.nodes[1:-1])
        refusal = f"the ways from {application.name}'s workers to {server.name} have no switch in common"
        for switch in paths[0]:
            if all(switch in path for path in paths):
                try:
                    members(self._graph, switch, {each.name: 0 for each in hosts})
                except MidflightError as error:
                    refusal = error.message
                else:
                    return switch
        raise MidflightError(
            f"no switch can compute {application.name} for these hosts: {refusal}",
            hint="choose hosts on one switch, or another server",
        )
