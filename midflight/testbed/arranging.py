"""A network that has its applications' jobs computed: on which switch, for which hosts, and by whom otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Unpack

from midflight.errors import MidflightError
from midflight.primitives import Aggregate, Application, Program
from midflight.runtime.placement import Placement
from midflight.runtime.steering import Child, Choice, Member, members, routes
from midflight.testbed.admitting import Admitting
from midflight.testbed.controlled import Opening
from midflight.testbed.fabric.base import Host, Worker
from midflight.testbed.group import Group
from midflight.testbed.instances import SERVER, choose
from midflight.testbed.jobs import Job
from midflight.testbed.topology import Topology

__all__ = ["Arranging"]


class Arranging(Admitting):
    """A controlled network in which jobs are computed where it is best. See `Net`."""

    def __init__(
        self, topology: Topology, *, program: Program, offload: bool = True, **opening: Unpack[Opening]
    ) -> None:
        self._offload = offload
        self.choices: dict[str, Choice] = {}
        """Which instance computes for each group, by application, and why. None where there was no choice."""
        self._jobs: dict[str, Job] = {}  # by application
        self._numbers: dict[str, int] = {}  # of the latest job of each application
        self._given_up: set[str] = set()
        self._groups: dict[str, Group] = {}  # by application
        super().__init__(topology, program=program, **opening)

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

    def _rearrange(self) -> None:
        """Have every job computed where it is best now, and then change the routes, so that none passes in between."""
        self._epoch = (self._epoch + 1) % 2**16
        for job in self._jobs.values():
            self._arrange(job)
        for guest in self._guests.values():
            self._welcome(guest)
        for (application, switch), hosts in self._mirrors.items():
            self._reflect(self._application(application), switch, hosts)
        for name, those in routes(self._graph).items():
            if self.switches[name].on:
                self.switches[name].steering.install(those)

    def _arrange(self, job: Job, *, anew: bool = False) -> None:
        """Have a job computed where it is best now, in the present epoch; `anew` where its workers are others."""
        receivers = self._receivers(job) if self._offload else {}
        if job.server is not None and (anew or (job.receivers and not receivers)):
            name, entries = job.application.name, self._book.of(job.application.name)
            self.fabric.serve(job.server.name, self.program, name, job.members, epoch=self._epoch, maps=entries)
        self._withdraw(job.application, [each for each in job.receivers if each not in receivers])
        job.receivers = receivers
        for name, those in receivers.items():
            switch, rate = self.switches[name], self._rates.get(job.application.name, 0)
            if switch.on:
                ports = self._entrances(job, name)
                switch.steering.admit(job.application.id, those, epoch=self._epoch, ports=ports, rate=rate)

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
        for name in switches:
            if self.switches[name].on:
                self.switches[name].steering.withdraw(application.id)

    def _computes(self, application: Application, switch: str) -> bool:
        """Say whether a switch has room for an application and can be counted on."""
        return application.name in self.switches[switch].running.placed and switch not in self._given_up

    def _check(self, primitive: Aggregate, hosts: Sequence[Host], server: Host | None) -> None:
        """Raise MidflightError where these hosts cannot be a group's."""
        involved = hosts if server is None else (*hosts, server)
        strangers = [repr(each) for each in involved if self.fabric.hosts.get(getattr(each, "name", "")) is not each]
        if strangers or len(set(hosts)) != len(hosts):
            raise MidflightError(
                f"a group is of different hosts of its network; {', '.join(strangers) or 'one is twice in'}"
            )
        if other := next((each for each in involved if each.address.version != hosts[0].address.version), None):
            raise MidflightError(
                f"{hosts[0].name} is {hosts[0].address} and {other.name} is {other.address}",
                hint="the hosts of a group are all of IPv4, or all of IPv6",
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
        version = hosts[0].address.version
        spare = [each for each in self.hosts if each not in hosts and each.address.version == version]
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
            sites = {switch: self.switches[switch].sheet, **sites}
        elif not sites and switch in self._given_up:
            return None
        if not sites:
            raise self._homeless(application, self.placements[switch])
        ingress = self._neighbour(job.hosts[0])
        choice = self.choices[application.name] = choose(self._graph, ingress, sites, now=self.now)
        return switch if choice.candidate.csci_id == switch else None

    def _homeless(self, application: Application, placement: Placement) -> MidflightError:
        return MidflightError(
            f"no switch has room for {application.name}, and no host is left to compute it",
            hint=f"{placement.explain()}; give the network one host more",
        )

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
