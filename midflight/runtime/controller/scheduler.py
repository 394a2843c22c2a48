"""The scheduler of jobs: assigns each run of an `Aggregate` by a group of workers to switches, or to a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from midflight.errors import MidflightError
from midflight.primitives import Aggregate, Application
from midflight.runtime.controller.endpoints import Host, check_distinct
from midflight.runtime.controller.fleet import Fleet
from midflight.runtime.controller.jobs import Job
from midflight.runtime.controller.sites import SERVER, choose
from midflight.runtime.endpoint.worker import Worker
from midflight.runtime.placement import Placement
from midflight.runtime.steering import Child, Choice, Member

__all__ = ["JobScheduler"]


class JobScheduler:
    """The part of a `Controller` that runs the jobs of groups: one for each `Aggregate` that has a group of workers.

    `fleet` is the state that the parts of the controller share: its switches, graph, desired state and epoch.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.jobs: dict[str, Job] = {}
        """By application name, the current job; only the applications that have one."""
        self.numbers: dict[str, int] = {}
        """By application name, the serial number (16 bits) of its latest job, also if that has ended."""
        self.choices: dict[str, Choice] = {}
        """By application name, the switch or server that was last chosen to compute for its group, and why.

        Entries are never removed, not even when the group's job ends.
        """

    def check(self, application: str, hosts: Sequence[Host], server: Host | None = None) -> Aggregate:
        """Return the `Aggregate` of that name, if `hosts` can be its workers and `server`, unless None, its server.

        MidflightError if it is not an Aggregate, if there are not as many hosts as it has workers, if they are not
        distinct hosts of the network, if IPv4 and IPv6 are mixed, or if the server is a worker. Writes nothing.
        """
        primitive = self._fleet.application(application).primitive
        if not isinstance(primitive, Aggregate):
            raise MidflightError(f"{application} is a {type(primitive).__name__}, and only an Aggregate has workers")
        involved = hosts if server is None else (*hosts, server)
        known = {each.name: each.address for each in self._fleet.whole.hosts}
        strangers = [
            repr(each)
            for each in involved
            if (name := getattr(each, "name", None)) not in known or known[name] != each.address
        ]
        if strangers:
            raise MidflightError(
                f"a group needs distinct hosts of its network; not of this network: {', '.join(strangers)}"
            )
        check_distinct(hosts)
        for other in involved if hosts else ():
            if other.address.version != hosts[0].address.version:
                raise MidflightError(
                    f"{hosts[0].name} is {hosts[0].address} and {other.name} is {other.address}",
                    hint="the hosts of a group must all have IPv4 or all IPv6 addresses",
                )
        if server is not None and server.name in {each.name for each in hosts}:
            raise MidflightError(f"{server.name} is a worker of {primitive.name} and cannot be its server")
        if len(hosts) != primitive.workers:
            raise MidflightError(
                f"{primitive.name} sums over {primitive.workers} workers; hosts passed: {len(hosts)}",
                hint=f"pass {primitive.workers} hosts"
                + (f", or make it Aggregate({primitive.name!r}, workers={len(hosts)})" if hosts else ""),
            )
        return primitive

    def enlist(self, application: str, hosts: Sequence[Host], server: Host | None = None) -> list[Worker]:
        """Start a new job of an application in place of its current one, and return its workers' parameters in order.

        Worker n, from 0, runs on the n-th host. Requests are addressed to `server`, which computes if no switch does;
        None for no server. MidflightError if the application is not an Aggregate, the hosts do not fit it (see `check`)
        or the strategy, or neither a switch nor a host can compute the job; the current job then continues. DeviceError
        if a switch refuses; the current job then stays, but some of its switches may compute for the new one or be
        withdrawn.
        """
        fleet = self._fleet
        with fleet.lock:
            hosts = tuple(hosts)
            self.check(application, hosts, server)
            number = Job.after(self.numbers.get(application, 0))
            job = Job(fleet.application(application), hosts, server, number, fleet.new_token())
            fleet.strategy.check(fleet.whole, job)
            if (before := self.jobs.get(application)) is not None:
                job.receivers = before.receivers
            self.arrange(job, restart=True)
            self.jobs[application] = job
            self.numbers[application] = number
            fleet.changed()
            return job.workers(fleet.mtu)

    def leave(self, application: str) -> None:
        """End the current job of an application and withdraw it from all switches that are on. Does nothing without a
        job.

        DeviceError if a switch refuses; the job has ended all the same, but that switch and those after it still hold
        its entries.
        """
        with self._fleet.lock:
            job = self.jobs.pop(application, None)
            if job is not None:
                try:
                    self._withdraw(job.application, job.receivers)
                finally:
                    self._fleet.changed()

    def arrange(self, job: Job, *, restart: bool = False) -> None:
        """Assign a job to the best switches or to its server, with the current epoch, and write that to the switches
        that are on.

        The server starts from the initial state if `restart` is True or if it takes over from switches. Switches that
        no longer compute are withdrawn. Changes `job.receivers`. A job without a server gets no receivers, and no
        error, if switches may not compute or one of its switches was given up: its workers then sum among themselves.
        MidflightError if neither a switch nor a host can compute the job; nothing is written then. DeviceError if a
        switch refuses; what came before stays written.
        """
        fleet, application = self._fleet, job.application
        receivers = self._receivers(job) if fleet.offload else {}
        if job.server is not None and (restart or (job.receivers and not receivers)):
            entries = fleet.desired.maps.of(application.name)
            fleet.software.serve(
                job.server.name,
                fleet.program,
                application.name,
                job.members,
                epoch=fleet.epoch,
                maps=entries,
                token=job.token,
            )
        self._withdraw(application, [each for each in job.receivers if each not in receivers])
        job.receivers = receivers
        rate = fleet.desired.rates.get(application.name, 0)
        for name, those in receivers.items():
            switch = fleet.switches[name]
            if switch.on:
                senders = fleet.strategy.senders(fleet.graph, job, name)
                switch.admit(
                    application,
                    those,
                    epoch=fleet.epoch,
                    ports={each.port for each in senders},
                    rate=rate,
                    token=job.token,
                    senders=senders,
                )

    def arrange_all(self) -> None:
        """Assign every current job to the best switches or to its server, with the current epoch, and write that to the
        switches that are on.

        MidflightError for the first job that neither a switch nor a host can compute, DeviceError if a switch refuses;
        the jobs before that one are arranged.
        """
        for job in self.jobs.values():
            self.arrange(job)

    def no_room(self, application: Application, placement: Placement) -> MidflightError:
        """Return, without raising it, the error for an application that neither a switch nor a host can compute.

        `placement` is that of the switch which was tried; it gives the reasons.
        """
        return MidflightError(
            f"no switch has room for {application.name}, and no host is left to compute it",
            hint=f"{placement.explain()}; add a host to the network",
        )

    def _receivers(self, job: Job) -> dict[str, tuple[Member | Child, ...]]:
        """Choose the switches to compute a job, and return the receivers of each. Empty if the server computes."""
        fleet, application = self._fleet, job.application
        switches = fleet.strategy.switches(fleet.graph if job.server else fleet.whole, job)
        able = bool(switches) and all(fleet.computes(application, each) for each in switches)
        sites = {job.server.name: SERVER} if job.server else {}
        if able:
            sites = {switches[0]: fleet.switches[switches[0]].sheet, **sites}
        elif not sites and any(each in fleet.given_up for each in switches):
            return {}
        if not sites:
            nearest = switches[0] if switches else next(iter(fleet.switches))
            raise self.no_room(application, fleet.switches[nearest].running.placement)
        ingress = fleet.neighbour(job.hosts[0])
        choice = self.choices[application.name] = choose(fleet.graph, ingress, sites, now=fleet.now())
        if not able or choice.candidate.csci_id != switches[0]:
            return {}
        return {each: fleet.strategy.receivers(fleet.graph, job, each) for each in switches}

    def _withdraw(self, application: Application, switches: Iterable[str]) -> None:
        for name in switches:
            if self._fleet.switches[name].on:
                self._fleet.switches[name].steering.withdraw(application.id)
