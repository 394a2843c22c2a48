"""A network that runs a program: any topology, any fabric, any kind of switch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from midflight.errors import MidflightError
from midflight.primitives import Aggregate, Application, Program
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.p4runtime.maps import Maps
from midflight.runtime.steering import Child, Choice, Graph, Member, members, routes
from midflight.testbed.change import stay
from midflight.testbed.controlled import Controlled
from midflight.testbed.fabric.base import Host, Worker
from midflight.testbed.group import Group
from midflight.testbed.instances import SERVER, choose
from midflight.testbed.jobs import Job
from midflight.testbed.topology import Topology

__all__ = ["Net"]


class Net(Controlled):
    """A topology brought to life whose switches all run one program; a context manager.

        with Net(leaf_spine(2, 2, hosts=4), program=program, fabric="netns", device="bmv2") as net:
            group = net.group("gradients", net.hosts[:4])
            sums = group.allreduce(arrays)

    fabric: `sim`, in virtual time, or `netns`, of network namespaces, processes and sockets (takes root). device: the
    kind of switch, `host` for the embedded one, `bmv2` for p4lang's; a mapping gives each switch its own. seed: of
    everything random. offload: whether switches may compute on the applications' packets or only forward them, to the
    host that computes instead. capabilities: by switch, what it is taken for instead of what it says of itself.

    pcap: a folder to keep the frames of every link in, h1-s1.pcap and so on; not of simulated ones.
    traceable: have BMv2 log every packet, so that it can be traced; the embedded switch always can.

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
        traceable: bool = False,
        offload: bool = True,
        capabilities: Mapping[str, Capabilities] | None = None,
    ) -> None:
        self._offload = offload
        self._groups: dict[str, Group] = {}
        self.choices: dict[str, Choice] = {}
        """Which instance computes for each group, by application, and why. None where there was no choice."""
        self._jobs: dict[str, Job] = {}  # by application
        self._numbers: dict[str, int] = {}  # of the latest job of each application
        self._given_up: set[str] = set()
        super().__init__(
            topology,
            program=program,
            device=device,
            fabric=fabric,
            seed=seed,
            pcap=pcap,
            traceable=traceable,
            capabilities=capabilities,
        )

    def __enter__(self) -> Net:
        return self

    def group(self, application: str, hosts: Sequence[Host], *, server: Host | None = None) -> Group:
        """Return the group of workers that run an `Aggregate` on these hosts, worker n on the n-th.

        `server` is the host that the requests are addressed to, by default the last that is not in the group. The
        switch that computes is the one nearest to the workers that all their requests pass and that has a port for
        each of them. An application has one group at a time, which lasts until it is closed: asked for again with the
        same hosts, it is the same. MidflightError where the program has no such application or the hosts do not fit it.
        """
        with self._lock:
            found, hosts = self._application(application), tuple(hosts)
            if not isinstance(found.primitive, Aggregate):
                raise MidflightError(
                    f"{application} is a {type(found.primitive).__name__}, and only an Aggregate has workers"
                )
            self._check(found.primitive, hosts, server)
            if application in self._groups:
                if self._groups[application].hosts != hosts:
                    raise MidflightError(
                        f"{application} has a group already, of other hosts", hint="close that, or add an application"
                    )
                return self._groups[application]
            server = self._server(found, hosts, server)
            try:
                workers = self._enlist(found, server, hosts)
                crew = self.fabric.crew(workers)
            except BaseException:
                self._leave(found)
                raise
            enlist, leave = partial(self._enlist, found, server), partial(self._leave, found)
            group = Group(found.primitive, hosts, crew, workers[0].job, enlist=enlist, leave=leave)
            self._groups[application] = group
            return group

    def change(self, program: Program) -> None:
        """Have all switches run another program, made of the present one by `extended`, `without` and `replaced`.

        Applications that stay keep their maps, groups, admissions and counters, and their state where that has the same
        shape; jobs that are under way go on. A switch drops packets while it is changed, for which hosts retransmit;
        one whose program stays the same is left alone. MidflightError, and nothing has changed, where the program does
        not compile, or where a group's application would go or become another.
        """
        with self._lock:
            for name in self._groups:
                if not stay(self.program, program, name):
                    raise MidflightError(
                        f"{name} has a group, and cannot go or become another",
                        hint="close it first, and make programs of `net.program`: extended, without, replaced",
                    )
            placements = {each: self._place(each, sheet, program) for each, sheet in self._sheets.items()}
            wanted = {each: self._compiled(each, program, placements[each]) for each in self.devices}
            self._dismiss(wanted)
            for switch, running in wanted.items():
                if switch not in self._off and running.source != self._loaded[switch].source:
                    self._change(switch, running)
                elif switch in self._off:
                    maps = Maps(self.sessions[switch], program, running.placed)
                    maps.adopt(self._maps[switch])
                    self._maps[switch] = maps
                self._loaded[switch] = running
            self.program, self.placements = program, placements
            self.fabric.adopt(program)
            moved = [
                each
                for each in self._jobs.values()
                if not all(self._computes(each.application, switch) for switch in each.receivers)
            ]
            if moved:
                self._epoch = (self._epoch + 1) % 2**16
                for job in moved:
                    self._arrange(job)

    def kill(self, switch: str) -> None:
        """Switch a switch off, or kill its process: what reaches it from now on is lost."""
        with self._lock:
            self._power(switch, on=False)

    def revive(self, switch: str) -> None:
        """Switch a switch on again, one that runs off and on: it has forgotten everything.

        It gets the program and its tables anew, and the new epoch tells the workers.
        """
        with self._lock:
            if switch not in self._off:
                self._power(switch, on=False)
            self._begin_anew(switch)
            self._given_up.discard(switch)
            self._avoid()
            self._rearrange()

    def give_up(self, switch: str) -> None:
        """Do without a switch for good, until it is revived: it computes nothing any more.

        Where the others can go on without it, they do, and one of them computes what it did. Where it is the only way
        between some of the hosts, one that only forwards takes its place. The server computes what no switch can, and
        without one the workers add up by themselves.
        """
        with self._lock:
            if switch not in self._off:
                self._power(switch, on=False)
            self._given_up.add(switch)
            if not self._avoid():
                self._begin_anew(switch)
            self._rearrange()

    def _begin_anew(self, switch: str) -> None:
        """Switch a switch on, with its program and the routes, and a session with it."""
        before = self.devices[switch]
        self._power(switch, on=True)
        if self.devices[switch] is not before:
            self.sessions[switch].close()
            self.sessions[switch] = self._stack.enter_context(self.devices[switch].session())
        self._load(switch)

    def _avoid(self) -> bool:
        """Have all ways lead around the switches that are given up and off, where all hosts can do without them."""
        whole = self.topology.graph()
        without = whole.without(self._given_up & self._off)
        if any(_reached(whole, each) != _reached(without, each) for each in self.hosts):
            return False
        self._graph = without
        return True

    def _rearrange(self) -> None:
        """Have every job computed where it is best now, and then change the routes, so that none passes in between."""
        self._epoch = (self._epoch + 1) % 2**16
        for job in self._jobs.values():
            self._arrange(job)
        for guest in self._guests.values():
            if guest.switch not in self._off:
                self._welcome(guest)
        for switch, those in routes(self._graph).items():
            if switch not in self._off:
                self.steering[switch].install(those)

    def _enlist(self, application: Application, server: Host | None, hosts: Sequence[Host]) -> list[Worker]:
        """Make everything ready for a new job, in place of the application's last, and return its workers."""
        with self._lock:
            assert isinstance(application.primitive, Aggregate)
            self._check(application.primitive, hosts, server)
            number = Job.after(self._numbers.get(application.name, 0))
            job = Job(application, hosts, server, number)
            before = self._jobs.get(application.name)
            if before is not None:
                job.receivers = before.receivers
            self._arrange(job, anew=True)
            self._jobs[application.name] = job
            self._numbers[application.name] = number
            return job.workers(self.topology.mtu)

    def _leave(self, application: Application) -> None:
        """Have nobody compute for an application any more."""
        with self._lock:
            job = self._jobs.pop(application.name, None)
            self._groups.pop(application.name, None)
            if job is not None:
                self._withdraw(application, job.receivers)

    def _arrange(self, job: Job, *, anew: bool = False) -> None:
        """Have a job computed where it is best now, in the present epoch; `anew` where its workers are others."""
        receivers = self._receivers(job) if self._offload else {}
        if job.server is not None and (anew or (job.receivers and not receivers)):
            self.fabric.serve(job.server.name, self.program, job.application.name, job.members, epoch=self._epoch)
        self._withdraw(job.application, [each for each in job.receivers if each not in receivers])
        job.receivers = receivers
        for switch, those in receivers.items():
            if switch not in self._off:
                self.steering[switch].admit(
                    job.application.id,
                    those,
                    epoch=self._epoch,
                    ports=self._entrances(job, switch),
                    rate=self._rates.get(job.application.name, 0),
                )

    def _entrances(self, job: Job, switch: str) -> set[int]:
        """Return the ports of a switch that a job's packets come by: its workers', other switches', the server's."""
        found = {each.port for each in job.receivers[switch]}
        for host in job.hosts if job.server else ():
            assert job.server is not None
            path = self._graph.path(host.name, job.server.name)
            nodes = path.nodes if path else ()
            if switch in nodes:
                place = nodes.index(switch)
                found |= {self._graph.port_towards(switch, nodes[near]) for near in (place - 1, place + 1)}
        return found

    def _withdraw(self, application: Application, switches: Iterable[str]) -> None:
        for switch in switches:
            if switch not in self._off:
                self.steering[switch].withdraw(application.id)

    def _computes(self, application: Application, switch: str) -> bool:
        """Say whether a switch has room for an application and can be counted on."""
        return application.name in self.placements[switch].on(switch) and switch not in self._given_up

    def _check(self, primitive: Aggregate, hosts: Sequence[Host], server: Host | None) -> None:
        """Raise MidflightError where these hosts cannot be a group's."""
        involved = hosts if server is None else (*hosts, server)
        strangers = [repr(each) for each in involved if self.fabric.hosts.get(getattr(each, "name", "")) is not each]
        if strangers or len(set(hosts)) != len(hosts):
            raise MidflightError(
                f"a group is of different hosts of its network; {', '.join(strangers) or 'one is twice in'}"
            )
        if server in hosts:
            raise MidflightError(f"{server} is a worker of {primitive.name} and cannot be its server")
        if len(hosts) != primitive.workers:
            raise MidflightError(
                f"{len(hosts)} hosts for {primitive.name}, which sums over {primitive.workers} workers",
                hint=f"pass {primitive.workers} hosts, or make it Aggregate({primitive.name!r}, workers={len(hosts)})",
            )

    def _server(self, application: Application, hosts: Sequence[Host], server: Host | None) -> Host | None:
        """Return the host that requests are addressed to, or None where none is left and none is needed."""
        spare = [each for each in self.hosts if each not in hosts]
        if server is None and not spare and (not self._offload or len(self.devices) > 1):
            raise MidflightError(
                f"no host is left to compute {application.name}", hint="give the network one host more"
            )
        return server or (spare[-1] if spare else None)

    def _receivers(self, job: Job) -> dict[str, tuple[Member | Child, ...]]:
        """Return the switches that are to compute, with those who get the results from each."""
        switch = self._computing(job)
        ports = {each.name: job.port for each in job.hosts}
        return {} if switch is None else {switch: members(self._graph, switch, ports)}

    def _computing(self, job: Job) -> str | None:
        """Return the switch that is to compute for these hosts, or None where the server is, or nobody."""
        application = job.application
        switch = self._nearest(application, job.hosts, job.server)
        sites = {job.server.name: SERVER} if job.server else {}
        if self._computes(application, switch):
            sites = {switch: self._sheets[switch], **sites}
        elif not sites and switch in self._given_up:
            return None
        if not sites:
            raise MidflightError(
                f"no switch has room for {application.name}, and no host is left to compute it",
                hint=f"{self.placements[switch].explain()}; give the network one host more",
            )
        ingress = self._neighbour(job.hosts[0])
        choice = self.choices[application.name] = choose(self._graph, ingress, sites, now=self.now)
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


def _reached(graph: Graph, host: Host) -> set[str]:
    """Return the hosts that have a way to this one."""
    return {each.name for each in graph.hosts} & graph.towards(host.name).keys()
