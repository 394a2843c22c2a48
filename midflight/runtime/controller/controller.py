"""The controller: makes the switches of an existing network run a program, and keeps them doing so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from random import SystemRandom
from types import TracebackType

from midflight.errors import DeviceError
from midflight.primitives import Program
from midflight.primitives.kernel.map import Entry
from midflight.primitives.kernel.packet import Randomness
from midflight.primitives.state import State
from midflight.runtime.checked import Programs
from midflight.runtime.controller.admissions import Admissions
from midflight.runtime.controller.alerts import Alerts
from midflight.runtime.controller.desired import DesiredState
from midflight.runtime.controller.endpoints import Host, HostSoftware, NoSoftware, SwitchEndpoint
from midflight.runtime.controller.fleet import Fleet
from midflight.runtime.controller.maps import ControlledMap
from midflight.runtime.controller.program_change import change_program
from midflight.runtime.controller.recovery import Recovery
from midflight.runtime.controller.saved import SavedState
from midflight.runtime.controller.scheduler import JobScheduler
from midflight.runtime.controller.strategy import Flat, Strategy
from midflight.runtime.controller.switch import ManagedSwitch, SwitchedOn
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.p4runtime.client.entities import Difference
from midflight.runtime.p4runtime.client.results import Count
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.placement import Placement
from midflight.runtime.steering import Choice, Graph, Offload

__all__ = ["Controller"]


class Controller:
    """Runs a program on switches: sessions, placement, admission, routes, maps, mirrors, limits and recovery.

        endpoints = [FixedEndpoint("s1", RemoteDevice(address="127.0.0.1:9559"))]
        with Controller(program, endpoints, graph) as controller:
            controller.admit("pressure")
            print(controller.state("pressure").armed.read())

    A context manager; leaving it closes the sessions and does not change the switches. Methods may be called from
    any thread.

    endpoints: the switches, one for each switch of `graph`. strategy: how the work of a group is spread over them.
    software: the hosts that compute where no switch does. offload: whether switches may compute, or only forward to
    those hosts. capabilities: by switch, overrides of what its device reports. now: the time in nanoseconds, for
    metrics. random: draws tokens; by default the operating system's source of randomness. mtu: the largest IP packet,
    in bytes. programs: shared with devices that compile in this process, so that
    each text is compiled once. changed: called with this controller after each change of the desired state. saved: the
    desired state of a previous controller. Switches that still run its program only get the entries that differ, and
    switches that do not answer count as off.

    A switch runs the applications that it has room for: see `placements`. MidflightError if the program or a parameter
    is wrong, and DeviceError if a switch does not answer or rejects the program; then all sessions are closed again.
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
        with ExitStack() as stack:
            for each in endpoints:
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
                programs=programs or Programs(),
                now=now,
                random=random or SystemRandom(),
                offload=offload,
                mtu=mtu,
                changed=partial(changed, self),
            )
            self.jobs = JobScheduler(self.fleet)
            """The jobs of groups of workers."""
            self.admissions = Admissions(self.fleet)
            """Admissions, limits and mirrors of all other applications."""
            self.recovery = Recovery(self.fleet, self.jobs, self.admissions)
            """Handling of failed switches."""
            self.alerts = Alerts(
                program,
                SwitchedOn(switches),
                prompt=lambda name: switches[name].device.capabilities.prompt_digests,
                lock=self.fleet.lock,
            )
            """The alerts of applications, from their admission on."""
            for name, configuration in self.fleet.configurations(program).items():
                switches[name].expect(configuration)
            self.resumed: Mapping[str, Difference] = {}
            """With `saved`: how each switch that still ran its program differed from the desired state, by name."""
            if saved is None:
                self.recovery.start()
            else:
                saved.restore(self.fleet, self.jobs)
                self.resumed = self.recovery.resume()
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Close the sessions. The switches stay unchanged. May be called more than once."""
        self._stack.close()

    def __enter__(self) -> Controller:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def program(self) -> Program:
        """The program that the switches run."""
        return self.fleet.program

    @property
    def switches(self) -> Mapping[str, ManagedSwitch]:
        """The switches by name."""
        return self.fleet.switches

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
        """By switch, the applications that it has room for, and why it does not run the others."""
        return {name: each.running.placement for name, each in self.switches.items()}

    @property
    def choices(self) -> Mapping[str, Choice]:
        """By application, the instance that was chosen to compute for its group, and why."""
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
        """Start computing on an application's requests from these hosts, or from all hosts if none are named.

        What the kernel multicasts goes to UDP port `port` of the hosts, by default 49152 plus the application's id. The
        requests of `senders` are computed on, but they receive no multicasts. `switch` is required if several switches
        run the application. Requests are computed on if they carry `token`: one from `new_token` that only the members
        know, or 0. With `members`, hosts and the numbers of member and job that their requests carry
        (`Primitive.MEMBER` and `JOB`; 0 where there is none), a request also has to come from the address and by the
        port of its member. Idempotent. MidflightError if no switch runs it, or a host is out of reach.
        """
        self.admissions.admit(
            application, hosts, senders=senders, switch=switch, port=port, token=token, members=members
        )

    def new_token(self) -> int:
        """Draw an unguessable token for the members of an application, for `admit`: 64 bits, not 0."""
        return self.fleet.new_token()

    def token(self, application: str) -> int:
        """Return the token that an application's requests carry: its job's, or that of its admission; 0 without one."""
        job = self.jobs.jobs.get(application)
        return self.fleet.token(application) if job is None else job.token

    def withdraw(self, application: str, switch: str = "") -> None:
        """Stop computing on an application's requests, which are forwarded from now on. Its state stays. Idempotent."""
        self.admissions.withdraw(application, switch)

    def limit(self, application: str, rate: int) -> None:
        """Compute on at most `rate` requests a second of an application from each port; 0 is no limit.

        Requests beyond the limit are forwarded to the host that they are addressed to. DeviceError if a switch refuses;
        then no switch has changed.
        """
        self.admissions.limit(application, rate)

    def mirror(self, application: str, hosts: Sequence[Host] = (), *, switch: str = "") -> None:
        """Send the packets that an application's kernel mirrors to these hosts; without hosts, to nobody.

        The hosts are on the switch itself, since a copy keeps the address of the original packet. `switch` is required
        if several switches run the application. MidflightError if none does, or if the kernel mirrors nothing.
        """
        self.admissions.mirror(application, hosts, switch=switch)

    def counters(self, application: str, switch: str = "") -> dict[int | None, Count]:
        """Return the packets and bytes that arrived for an application, by the port that it is admitted on.

        The key is None if the application is admitted on all ports. Requests beyond the limit are counted, too.
        `switch` is required if several switches run the application. MidflightError if it is not admitted.
        """
        return self.admissions.counters(application, switch)

    def map(self, application: str, name: str, switch: str = "") -> ControlledMap:
        """Return a map of an application, to be used like a dict: `controller.map("cache", "owner")[key] = value`.

        `switch` is required if several switches run the application. A switch that is revived gets the entries again.
        Hosts that compute in software get every entry that is written to any switch. If no switch has room for the
        application, entries are written to those hosts only. MidflightError if there is no such map.
        """
        fleet = self.fleet
        found, writer = fleet.application(application), None
        if switch or any(application in each.running.placed for each in self.switches.values()):
            writer = self.switches[fleet.running(application, switch)].maps[application, name]
        return ControlledMap(fleet.desired.maps.map(found, name), partial(self._written, application, name), writer)

    def state(self, application: str, switch: str = "") -> State:
        """Return an application's registers on a switch: `controller.state("gradients").total.read()` is an array.

        Packets carry the values, so this works on every device. `switch` is required if several switches run the
        application. MidflightError if none does.
        """
        return self.switches[self.fleet.running(application, switch)].state(application)

    def change(self, program: Program) -> None:
        """Change the program of all switches, in one transaction.

        Applications that stay keep their maps, groups, admissions and counters, and their state if its shape stays the
        same. Jobs go on. A switch drops packets while it changes, and hosts retransmit them; a switch whose P4 stays
        the same is left alone.

        MidflightError, before anything has changed, if the program does not compile, if an application that has a group
        would be removed or changed, or if nothing could compute it then. DeviceError if a switch rejects the program;
        then all switches are rolled back and keep their current state. A switch that dies and cannot be rolled back is
        off until it is revived.
        """
        change_program(self.fleet, self.jobs, self.recovery, program)
        self.alerts.adopt(program)

    def power_off(self, switch: str) -> None:
        """Turn a switch off. Packets that reach it are lost."""
        self.recovery.power_off(switch)

    def revive(self, switch: str) -> None:
        """Turn a switch on, or restart it, with its program and tables and with empty registers.

        A new epoch begins, from which workers notice that state was lost.
        """
        self.recovery.revive(switch)

    def give_up(self, switch: str) -> None:
        """Remove a switch from the computation until it is revived.

        Routes avoid it, and another switch takes over its jobs. If it is the only path between some hosts, it is
        restarted and only forwards. If no switch can compute a job, the server does; without a server, the workers sum
        among themselves.
        """
        self.recovery.give_up(switch)

    def _written(self, application: str, name: str, entry: Entry, there: bool) -> None:
        """Pass an added (`there` True) or removed map entry on to the hosts that compute in software."""
        self.fleet.software.write(application, name, entry, there)
        self.fleet.changed()
