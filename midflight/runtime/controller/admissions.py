"""The part of a controller that admits applications and sets their rate limits and mirrors, except for groups' jobs.

A job, one run of an Aggregate by a group of workers, is admitted by `scheduler.JobScheduler` instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from midflight.errors import MidflightError
from midflight.primitives import Application
from midflight.runtime.controller.desired import AdmissionRequest
from midflight.runtime.controller.endpoints import Host, check_distinct
from midflight.runtime.controller.fleet import Fleet
from midflight.runtime.controller.jobs import WORKER_PORT
from midflight.runtime.p4runtime.client.link import RequestError
from midflight.runtime.p4runtime.client.results import Count
from midflight.runtime.p4runtime.status import Code
from midflight.runtime.steering import Sender, members, port_to
from midflight.runtime.steering.standing import check_rate, check_token

__all__ = ["Admissions"]


class Admissions:
    """The part of a `Controller` that admits applications, limits their rates and mirrors their packets.

    `fleet` is the state that the parts of the controller share. Each method acts on its switches and on its desired
    state.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.used: dict[tuple[str, str], None] = {}
        """The (application, switch) pairs that were ever admitted: their registers may have changed.

        A dict as an ordered set, with None as each value.
        """

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
        """Start computing on an application's requests on one switch, in place of an earlier admission there.

        The parameters are those of `Controller.admit`: the hosts that send requests and receive multicast results,
        hosts that only send, the switch, the UDP port of results, and who else is let in. MidflightError if the switch
        does not run the application, if a host is named twice, is out of reach, or shares a port with another, or if
        the port or the token is out of range. DeviceError if the switch refuses. After an error, nothing has changed.

        If the switch is full, and a deployment's plan moves the application to another, it is admitted there. If that
        refuses too, the application stays there, as it was admitted before.
        """
        check_distinct(hosts)
        check_distinct(senders)
        check_token(token)  # checked even if the switch is off, like the port and the paths to the hosts
        fleet = self._fleet
        with fleet.lock:
            found, switch = fleet.application(application), fleet.running(application, switch)
            behind = WORKER_PORT + found.id if port is None else port
            if not 0 < behind < 1 << 16:
                raise MidflightError(f"the UDP port must be 1 to 65535, not {behind}")
            request = AdmissionRequest(found, switch, tuple(hosts), behind, tuple(senders), token, tuple(members))
            try:
                self._apply(request)
            except RequestError as error:
                if error.code is not Code.RESOURCE_EXHAUSTED or not fleet.make_room(application, switch):
                    raise
                request = replace(request, switch=fleet.running(application))
                self._apply(request)
            self.used[application, request.switch] = None
            fleet.request(fleet.desired.admitting(request))

    def withdraw(self, application: str, switch: str = "") -> None:
        """Stop computing on an application's requests on one switch; for an application without a job.

        `Controller.withdraw` also ends jobs. `switch` may be empty if only one switch runs the application. If the
        switch is off, only the desired state changes. MidflightError if the named switch does not run it, or if none
        is named and not exactly one does; DeviceError if the switch refuses.
        """
        fleet = self._fleet
        with fleet.lock:
            switch = fleet.running(application, switch)
            if fleet.switches[switch].on:
                fleet.switches[switch].steering.withdraw(fleet.application(application).id)
            fleet.request(fleet.desired.withdrawing(application, switch))

    def limit(self, application: str, rate: int) -> None:
        """Compute on at most `rate` requests a second of an application from each port of a switch, on all switches.

        0 is no limit. MidflightError if there is no such application or the rate is out of range; DeviceError if a
        switch refuses. After an error, no switch has changed.
        """
        fleet = self._fleet
        with fleet.lock:
            number = fleet.application(application).id
            check_rate(rate)  # also if it is admitted nowhere yet
            with ExitStack() as undo:
                for switch in fleet.switches.values():
                    if switch.on and number in switch.steering.admitted:
                        undo.callback(switch.steering.limit, number, switch.steering.admitted[number].rate)
                        switch.steering.limit(number, rate)
                undo.pop_all()
            fleet.request(fleet.desired.limiting(application, rate))

    def mirror(self, application: str, hosts: Sequence[Host] = (), *, switch: str = "") -> None:
        """Send an application's mirrored packets to hosts, each by the port of the switch that leads to the host.

        Parameters and effects are those of `Controller.mirror`, and so are the errors: MidflightError if a name is
        wrong or nothing is mirrored, DeviceError if the switch refuses.
        """
        check_distinct(hosts)
        fleet = self._fleet
        with fleet.lock:
            found, switch = fleet.application(application), fleet.running(application, switch)
            if not found.primitive.kernel.mirrors:
                raise MidflightError(f"{application} mirrors nothing", hint="call `packet.mirror()` in its kernel")
            self._apply_mirror(found, switch, hosts)
            fleet.request(fleet.desired.mirroring(application, switch, tuple(hosts)))

    def counters(self, application: str, switch: str = "") -> dict[int | None, Count]:
        """Return the packets and bytes that arrived for an application on a switch, by switch port.

        The key is None if the application is admitted on all ports. `switch` may be empty if only one switch runs the
        application. MidflightError if the switch does not run it, if none is named and not exactly one does, or if it
        is not admitted there; DeviceError if the switch does not answer.
        """
        fleet = self._fleet
        with fleet.lock:
            running = fleet.switches[fleet.running(application, switch)]
            return running.steering.counters(fleet.application(application).id)

    def apply_all(self) -> None:
        """Write all admissions and mirrors of the desired state, with the current epoch, to the switches that are on.

        What a switch has already is not written again. MidflightError if a host is out of reach of its switch;
        DeviceError if a switch refuses an entry. What came before the error stays written.
        """
        for request in self._fleet.desired.admissions.values():
            self._apply(request)
        for (application, switch), hosts in self._fleet.desired.mirrors.items():
            self._apply_mirror(self._fleet.application(application), switch, hosts)

    def _apply(self, request: AdmissionRequest) -> None:
        fleet, of, switch = self._fleet, request.application, self._fleet.switches[request.switch]
        senders = [
            Sender(port_to(fleet.graph, request.switch, each.name), each.address, number, job)
            for each, number, job in request.members
        ]
        ports = {port_to(fleet.graph, request.switch, each.name) for each in (*request.hosts, *request.senders)}
        if senders:
            ports = {each.port for each in senders}
        receivers = members(fleet.graph, request.switch, {each.name: request.port for each in request.hosts})
        if switch.on:
            rate = fleet.desired.rates.get(of.name, 0)
            switch.admit(
                of,
                receivers,
                epoch=fleet.epoch,
                ports=ports or None,
                rate=rate,
                token=request.token,
                senders=senders or None,
            )

    def _apply_mirror(self, application: Application, switch: str, hosts: Sequence[Host]) -> None:
        ports = [self._fleet.graph.port_towards(switch, each.name) for each in hosts]
        if self._fleet.switches[switch].on:
            self._fleet.switches[switch].steering.mirror(application.id, ports)
