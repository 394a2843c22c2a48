"""The applications of a network that hosts have joined with `Net.join`, with their endpoints and servers."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.errors import MidflightError
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.controller import Controller
from midflight.runtime.controller.jobs import WORKER_PORT
from midflight.runtime.endpoint.membership import Joined, Places, joined, senders
from midflight.testbed.fabric.base import Fabric, Host
from midflight.testbed.software import ServerHosts

__all__ = ["Memberships"]


class Memberships:
    """The part of a `Net` that runs `join` and `leave`: which hosts run the endpoints of which application."""

    def __init__(self, fabric: Fabric, controller: Controller, servers: ServerHosts) -> None:
        self._fabric = fabric
        self._controller = controller
        self._servers = servers
        self._joined: dict[str, list[tuple[str, int]]] = {}  # hosts and UDP ports of endpoints, by application
        self._server: dict[str, Host] = {}  # by application

    def join(
        self,
        application: str,
        hosts: Sequence[Host],
        *,
        clients: Sequence[Host] = (),
        server: Host | None = None,
        switch: str = "",
    ) -> Joined:
        """Run new endpoints of an application on hosts, admit it on a switch, and return the endpoints.

        Replaces earlier endpoints of the application and clears its registers. server: None selects the last host that
        does not take part. See `Net.join` for the parameters. MidflightError if the application is unknown, if the
        hosts do not fit it, or if several switches run it and `switch` names none; nothing has changed then.
        """
        controller, fleet = self._controller, self._controller.fleet
        with fleet.lock:
            found, hosts = fleet.application(application), tuple(hosts)
            others = [*self._fabric.hosts.values()]
            server = server or next((each for each in others[::-1] if each not in (*hosts, *clients)), None)
            involved = (*hosts, *clients, *([] if server is None else [server]))
            if server is None or len({each.name for each in involved}) != len(involved):
                raise MidflightError(
                    f"{application} needs different hosts, and one more as its server",
                    hint="add a host to the network",
                )
            computes = fleet.offload and any(application in each.running.placed for each in fleet.switches.values())
            switch = fleet.running(application, switch) if computes else ""
            port, epoch = WORKER_PORT + found.id, (fleet.epoch + 1) % 2**16
            members, asking = ([(str(each.address), port) for each in those] for those in (hosts, clients))
            token = controller.new_token()
            places, timing = Places(members, asking, (str(server.address), UDP_PORT)), self._fabric.timing
            software = None if computes else fleet.desired.maps.of(application)
            made = joined(
                fleet.program, application, places, epoch=epoch, timing=timing, token=token, software=software
            )
            self.leave(application)
            fleet.next_epoch()
            if computes:
                if (application, switch) in controller.admissions.used:  # clearing needs a packet for each element
                    controller.state(application, switch).clear()
                named = {str(each.address): each for each in involved}
                who = senders(found.primitive, places)
                numbered = [(named[address], number, job) for (address, _), number, job in who]
                controller.admit(application, hosts, switch=switch, token=token, members=numbered)
            self._joined[application] = []
            self._server[application] = server
            if made.server is not None:
                self._servers.put(server, found.id, made.server)
            for host, endpoint in zip((*hosts, *clients), (*made, *made.clients), strict=True):
                self._fabric.listen(host.name, port, endpoint)
                self._joined[application].append((host.name, port))
            return made

    def server(self, application: str) -> Host | None:
        """Return the host that requests of an application are addressed to, or None if no hosts have joined it."""
        return self._server.get(application)

    def leave(self, application: str) -> None:
        """Remove the endpoints and the server of an application from their hosts, and withdraw it from its switches.

        Does nothing else if no hosts have joined it. MidflightError if the program has no such application.
        """
        fleet = self._controller.fleet
        with fleet.lock:
            number = fleet.application(application).id
            for name, switch in [*fleet.desired.admissions]:
                if name == application and application in self._joined:
                    self._controller.withdraw(application, switch)
            self._server.pop(application, None)
            for place in self._joined.pop(application, ()):
                self._fabric.leave(*place)
            self._servers.remove(number)
