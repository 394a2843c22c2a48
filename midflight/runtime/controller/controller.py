"""The controller: makes the switches of an existing network run a program, and keeps them doing so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from random import SystemRandom
from types import TracebackType

from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Program
from midflight.primitives.kernel.packet import Randomness
from midflight.primitives.state import State
from midflight.runtime.checked import Programs, user_programs
from midflight.runtime.controller.admissions import Admissions
from midflight.runtime.controller.alerts import Alerts
from midflight.runtime.controller.desired import DesiredState
from midflight.runtime.controller.endpoints import Host, HostSoftware, NoSoftware, SwitchEndpoint
from midflight.runtime.controller.fleet import Fleet
from midflight.runtime.controller.maps import ControlledMap
from midflight.runtime.controller.plan_change import Move, change_plan
from midflight.runtime.controller.program_change import change_program
from midflight.runtime.controller.recovery import Recovery
from midflight.runtime.controller.saved import SavedState
from midflight.runtime.controller.scheduler import JobScheduler
from midflight.runtime.controller.services import Services
from midflight.runtime.controller.strategy import Flat, Strategy
from midflight.runtime.controller.switch import ManagedSwitch, SwitchedOn
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.p4runtime.client.entities import Difference
from midflight.runtime.p4runtime.client.maps import MapWriter
from midflight.runtime.p4runtime.client.results import Count
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.placement import Placement
from midflight.runtime.placement.planner import Plan
from midflight.runtime.steering import Choice, Graph, Offload

__all__ = ["Controller"]


class Controller:
    """Runs a program on switches: sessions, placement, admission, routes, maps, mirrors, limits and recovery.

        endpoints = [FixedEndpoint("s1", RemoteDevice(address="127.0.0.1:9559"))]
        with Controller(program, endpoints, graph) as controller:
            controller.admit("pressure")
            print(controller.state("pressure").armed.read())

    A context manager; leaving it closes the sessions and does not change the switches. Methods may be called from any
    thread.

    * endpoints: the switches, one for each switch of `graph`.
    * strategy: how the work of a group is spread over switches; None is `Flat`, one switch for each group.
    * software: computes on hosts where no switch does; None if only switches compute.
    * offload: whether switches may compute for groups, or only forward to the server.
    * capabilities: by switch name, overrides of what its device reports; None for no overrides.
    * now: returns the time in nanoseconds, for the age of metrics.
    * random: draws tokens; None is the operating system's source of randomness.
    * mtu: the largest IP packet, in bytes.
    * programs: the cache of compiled programs, shared with devices that compile in this process; None for a new one
      that uses the code which this user's processes have compiled (`user_programs`).
    * changed: called with this controller after each change of the desired state, and before a new epoch is written.
    * saved: the desired state of a previous controller, or None to start with empty registers and tables. With it,
      switches that still run its program only get the entries that differ, and switches that do not answer count as
      off.

    A switch runs the applications that it has room for: see `placements`. MidflightError if the program or a parameter
    is wrong, if the endpoints are not those of the graph's switches, or if neither a switch nor a host can compute a
    saved job. DeviceError if a switch does not answer or rejects the program, or if its compiler is missing. After an
    error, all sessions are closed, and switches that the program was loaded into keep it.
    """

    def __init__(
        self,
        program: Program,
        endpoints: Iterable[SwitchEndpoint],
        graph: Graph,
        *,
        strategy: Strategy | None = None,
        software: HostSoftware | None = None,
        offload: bool = True,
        capabilities: Mapping[str, Capabilities] | None = None,
        now: Callable[[], int] = lambda: 0,
        random: Randomness | None = None,
        mtu: int = 1500,
        programs: Programs | None = None,
        changed: Callable[[Controller], None] = lambda _: None,
        saved: SavedState | None = None,
    ) -> None:
        switches: dict[str, ManagedSwitch] = {}
        given = [*endpoints]
        if sorted(each.name for each in given) != sorted(each.name for each in graph.switches):
            names = ", ".join(each.name for each in graph.switches)
            raise MidflightError(
                "the endpoints are not those of the graph's switches", hint=f"pass one each for {names}"
            )
        with ExitStack() as stack:
            for each in given:
                switches[each.name] = ManagedSwitch(each, (capabilities or {}).get(each.name))
                stack.callback(switches[each.name].close)
                try:
                    switches[each.name].connect()
                except DeviceError as error:
                    if saved is None:
                        raise
                    switches[each.name].lose(error.message)
            self.fleet = Fleet(
                switches=switches,
                whole=graph,
                strategy=strategy or Flat(),
                software=software or NoSoftware(),
                desired=DesiredState.of(program),
                programs=programs or user_programs(),
                now=now,
                random=random or SystemRandom(),
                offload=offload,
                mtu=mtu,
                changed=partial(changed, self),
            )
            self.jobs = JobScheduler(self.fleet)
            """The scheduler: which switches or server compute for each group of workers."""
            self.admissions = Admissions(self.fleet)
            """Admissions, rate limits and mirrors of the applications without a group."""
            self.services = Services(self.fleet, self.map)
            """The services to whose instances the switches steer requests, if the program has a `Steering`."""
            self.recovery = Recovery(self.fleet, self.jobs, self.admissions, self.services)
            """Power-off, restart, reconnection and removal of switches."""
            self.alerts = Alerts(
                program,
                SwitchedOn(switches),
                prompt=lambda name: switches[name].device.capabilities.prompt_digests,
                lock=self.fleet.lock,
            )
            """The alerts of all applications, from their admission on, on the switches that are on."""
            for name, configuration in self.fleet.configurations(program).items():
                switches[name].expect(configuration)
            self.resumed: Mapping[str, Difference] = {}
            """By switch name, how the switch's entries differed from the desired state when the controller started.

            Contains the switches that still ran their program; empty without `saved`.
            """
            if saved is None:
                self.recovery.start()
            else:
                saved.restore(self.fleet, self.jobs)
                self.resumed = self.recovery.resume()
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Close the sessions with all switches. The switches keep their program, entries and state. Idempotent."""
        self._stack.close()

    def __enter__(self) -> Controller:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def program(self) -> Program:
        """The program of the desired state, which the switches that are on run."""
        return self.fleet.program

    @property
    def switches(self) -> Mapping[str, ManagedSwitch]:
        """The switches by name, including those that are off."""
        return self.fleet.switches

    @property
    def sessions(self) -> Mapping[str, Session]:
        """By switch name, the controller's P4Runtime session with it; of a switch that is off, the last one.

        DeviceError if there has never been a session with a switch.
        """
        return {name: each.session for name, each in self.switches.items()}

    @property
    def steering(self) -> Mapping[str, Offload]:
        """By switch name, the object that writes the switch's routes and admissions.

        DeviceError if there has never been a session with a switch.
        """
        return {name: each.steering for name, each in self.switches.items()}

    @property
    def placements(self) -> Mapping[str, Placement]:
        """By switch name, the applications that the switch has room for, and why it does not run the others."""
        return {name: each.running.placement for name, each in self.switches.items()}

    @property
    def choices(self) -> Mapping[str, Choice]:
        """By application name, the switch or server that was last chosen to compute for its group, and why.

        Contains each `Aggregate` for whose group a choice has been made. An entry stays when the group is closed.
        """
        return self.jobs.choices

    def admit(
        self,
        application: str,
        hosts: Sequence[Host] = (),
        *,
        senders: Sequence[Host] = (),
        switch: str = "",
        port: int | None = None,
        token: int = 0,
        members: Sequence[tuple[Host, int, int]] = (),
    ) -> None:
        """Start computing on an application's requests from `hosts` and `senders`, or from all hosts if both are empty.

        What the kernel multicasts goes to `hosts`, to UDP port `port`, by default 49152 plus the application's id; it
        does not go to `senders`. `switch` names the switch that computes; it may be empty if only one runs the
        application. Only requests that carry `token` are computed on: a number from `new_token` that only the members
        know, or 0. `members` further restricts them: it contains hosts, each with the numbers of member and job that
        its requests carry (`Primitive.MEMBER` and `JOB`; 0 where the primitive has none). A request then also has to
        come from the address of its member, by the switch's port towards it.

        Replaces an earlier admission on the same switch; idempotent. If the switch is off, it is admitted when the
        switch is on again. MidflightError if the switch does not run the application, if none is named and not exactly
        one does, if a host is named twice or out of reach, if two of `hosts` are behind the same port of the switch, if
        `port` is not 1 to 65535, or if `token` is not 0 to 2**64 - 1. DeviceError if the switch refuses. After an
        error, the earlier admission, if there is one, still holds.
        """
        self.admissions.admit(
            application, hosts, senders=senders, switch=switch, port=port, token=token, members=members
        )

    def new_token(self) -> int:
        """Draw an unguessable number for `admit`, from 1 to 2**64 - 1, by which a switch recognises an application's
        members.
        """
        return self.fleet.new_token()

    def token(self, application: str) -> int:
        """Return the token that the application's requests must carry: that of its job, or of its first admission.

        Admissions on several switches may have different tokens. Return 0 if it is admitted without a token or not at
        all, or if there is no such application.
        """
        job = self.jobs.jobs.get(application)
        return self.fleet.token(application) if job is None else job.token

    def withdraw(self, application: str, switch: str = "") -> None:
        """Stop computing on an application's requests: the switch forwards them to the server. Its registers stay.
        Idempotent.

        If the application has a job, the job ends on all switches. `switch` may be empty if only one switch runs the
        application, or if it has a job. MidflightError if the named switch does not run it, or if none is named, there
        is no job, and not exactly one does. DeviceError if a switch refuses: an application without a job then stays
        admitted; a job has ended, but that switch and those after it still hold its entries.
        """
        with self.fleet.lock:
            if application in self.jobs.jobs:
                if switch:
                    self.fleet.running(application, switch)
                self.jobs.leave(application)
            else:
                self.admissions.withdraw(application, switch)

    def limit(self, application: str, rate: int) -> None:
        """Compute on at most `rate` requests a second of an application from each port of a switch; 0 means no limit.

        Requests beyond the limit are forwarded to the host that they are addressed to. The limit holds on all switches,
        also for later admissions. MidflightError if there is no such application, or if the rate is not in 0 to
        2**31 - 1. DeviceError if a switch refuses; then no switch has changed.
        """
        self.admissions.limit(application, rate)

    def mirror(self, application: str, hosts: Sequence[Host] = (), *, switch: str = "") -> None:
        """Send copies of the packets that an application's kernel mirrors to `hosts`, or stop that if there are none.

        Replaces earlier hosts. The hosts must be connected to the switch itself, since a copy keeps the destination of
        the original packet. `switch` may be empty if only one switch runs the application. A switch that is off mirrors
        when it is on again. MidflightError if the named switch does not run it, if none is named and not exactly one
        does, if the kernel mirrors nothing, or if a host is named twice or not connected to the switch. DeviceError if
        the switch refuses. After an error, nothing has changed.
        """
        self.admissions.mirror(application, hosts, switch=switch)

    def counters(self, application: str, switch: str = "") -> dict[int | None, Count]:
        """Return the packets and bytes of an application's requests that arrived at a switch, by the port that it is
        admitted on.

        The key is None if the application is admitted on all ports. Counting starts at the admission and includes
        requests beyond the rate limit. `switch` may be empty if only one switch runs the application. Sends requests to
        the switch. MidflightError if the named switch does not run it, if none is named and not exactly one does, or if
        it is not admitted there. DeviceError if the switch does not answer.
        """
        return self.admissions.counters(application, switch)

    def map(self, application: str, name: str, switch: str = "") -> ControlledMap:
        """Return a map of an application, to be used like a dict: `controller.map("cache", "owner")[key] = value`.

        `name` is the attribute of the primitive that holds the map. `switch` may be empty if only one switch runs the
        application. A switch that is off gets its entries when it is on again. Hosts that compute in software get every
        entry that is written to any switch. If no switch has room for the application, entries are written to those
        hosts only. MidflightError if there is no such application or map, if the named switch does not run it, or if
        several switches run it and none is named.
        """
        fleet = self.fleet
        held = fleet.desired.maps.map(fleet.application(application), name)
        placed = any(application in each.running.placed for each in self.switches.values())
        it = self.switches[fleet.running(application, switch)] if switch or placed else None

        def full() -> MapWriter | None:
            nonlocal it
            if it is None or not fleet.make_room(application, it.name):
                return None
            it = self.switches[fleet.running(application)]
            return it.maps[application, name]

        return ControlledMap(
            held,
            None if it is None else it.maps[application, name],
            on=lambda: it is None or it.on,
            written=partial(fleet.software.write, application, name),
            changed=fleet.changed,
            lock=fleet.lock,
            full=full,
        )

    def state(self, application: str, switch: str = "") -> State:
        """Return an application's registers on a switch: `controller.state("gradients").total.read()` is an array.

        Packets between controller and switch carry the values, so this works on every device. `switch` may be empty if
        only one switch runs the application. MidflightError if the named switch does not run it, or if none is named
        and not exactly one does. DeviceError if there has never been a session with the switch. Reading and writing
        raise DeviceError if it does not answer.
        """
        return self.switches[self.fleet.running(application, switch)].state(application)

    def change(self, program: Program) -> None:
        """Change the program of all switches, in one transaction.

        Applications that `program` keeps keep their maps, groups, admissions and counters, and their registers if the
        shape of these stays the same. Jobs of groups continue. A switch drops packets while it changes, and hosts
        retransmit them; a switch whose P4 stays the same is left alone.

        MidflightError, before anything has changed, if the program does not compile, if an application that has a group
        would be removed or changed, if the `Steering` would change while there are services, or if neither a switch nor
        a server could compute for a group. DeviceError if a switch rejects the program or its compiler is missing; then
        all switches are rolled back to their current state. A switch that dies and cannot be rolled back is off until
        it is revived.
        """
        change_program(self.fleet, self.jobs, self.recovery, program)
        self.alerts.adopt(program)

    def follow(self, plan: Plan) -> tuple[Move, ...]:
        """Make the switches follow another plan, in one transaction, and return the steps that have moved.

        The controller must have been created with `strategy=Planned(...)`. Admissions, registers and map entries move
        with their steps; if the registers of one are lost, because its device is off, a new epoch begins. Requests of a
        step that moves are forwarded to their hosts meanwhile. MidflightError if the controller follows no plan, or if
        neither a switch nor a server could compute for a group. DeviceError if a switch rejects its program; then all
        follow the old plan.
        """
        return change_plan(self.fleet, self.jobs, self.recovery, self.admissions, plan.solution)

    def power_off(self, switch: str) -> None:
        """Turn a switch off. It loses its state, and packets that reach it are lost; routes and jobs stay as they are.

        MidflightError if there is no such switch, or if its endpoint cannot turn it off.
        """
        self.recovery.power_off(switch)

    def revive(self, switch: str) -> None:
        """Turn a switch on, or restart it if it is on, with its program and table entries and with empty registers.

        Begins a new epoch, from which workers notice that state was lost. MidflightError if there is no such switch, or
        if its endpoint cannot turn it on; DeviceError if it does not start or refuses its program, which leaves it off.
        Once it is on, MidflightError if neither a switch nor a host can compute a job, and DeviceError if any switch
        refuses an entry.
        """
        self.recovery.revive(switch)

    def give_up(self, switch: str) -> None:
        """Turn a switch off and compute without it until it is revived.

        Routes avoid it, and another switch takes over its jobs. If it is the only path between some hosts, it is
        restarted and only forwards. If no switch can compute a job, the server does; without a server, the workers sum
        among themselves. MidflightError if there is no such switch, or if its endpoint cannot turn it off; DeviceError
        if it does not start again, or if another switch refuses an entry.
        """
        self.recovery.give_up(switch)
