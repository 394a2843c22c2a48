"""A network whose hosts take part in applications: their endpoints, where those run, and what drives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Unpack

from midflight.errors import MidflightError
from midflight.primitives import Program
from midflight.primitives.kernel.map import Entry
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.endpoint import Endpoint
from midflight.runtime.endpoint.shared import Shared
from midflight.runtime.endpoint.software import SoftwareServer
from midflight.testbed.changing import Changing
from midflight.testbed.controlled import Opening
from midflight.testbed.fabric.base import Host
from midflight.testbed.jobs import WORKER_PORT
from midflight.testbed.joined import Joined, Places, joined
from midflight.testbed.topology import Topology

__all__ = ["Joining"]


class Joining(Changing):
    """A network with endpoints on its hosts, other than a group's workers. See `Net`."""

    def __init__(
        self, topology: Topology, *, program: Program, offload: bool = True, **opening: Unpack[Opening]
    ) -> None:
        self._joined: dict[str, list[tuple[str, int]]] = {}  # by application, hosts and ports of its endpoints
        self._servers: dict[str, Shared] = {}  # by host, the servers of those applications
        super().__init__(topology, program=program, offload=offload, **opening)

    def join(
        self,
        application: str,
        hosts: Sequence[Host],
        *,
        clients: Sequence[Host] = (),
        server: Host | None = None,
        switch: str = "",
    ) -> Joined:
        """Have hosts take part in a Barrier, Cache, GroupBy, Lock, Quorum or Sequencer, and return their endpoints.

            parties = net.join("steps", net.hosts[:4])
            for party in parties:
                party.arrive()
            net.run(lambda: not any(party.waiting() for party in parties))

        The n-th endpoint is on the n-th host; a Sequencer's are replicas, which `clients` send requests to. `server` is
        where requests are addressed to, by default the last host that is left; it computes what a switch leaves to it,
        or everything where no switch does. What it asks of the switch itself has to pass that: take one of its hosts.
        State and endpoints of those who joined before are gone. MidflightError where the hosts do not fit.
        """
        with self._lock:
            found, hosts = self._application(application), tuple(hosts)
            server = server or next((each for each in self.hosts[::-1] if each not in (*hosts, *clients)), None)
            involved = (*hosts, *clients, *([] if server is None else [server]))
            if server is None or len({each.name for each in involved}) != len(involved):
                raise MidflightError(
                    f"{application} needs different hosts, and one more as its server", hint="give the network one more"
                )
            computes = self._offload and any(application in each.on(name) for name, each in self.placements.items())
            switch = self._running(application, switch) if computes else ""
            port, epoch = WORKER_PORT + found.id, (self._epoch + 1) % 2**16
            members, asking = ([(str(each.address), port) for each in those] for those in (hosts, clients))
            places, timing = Places(members, asking, (str(server.address), UDP_PORT)), self.fabric.timing
            software = None if computes else self._book.of(application)
            made = joined(self.program, application, places, epoch=epoch, timing=timing, software=software)
            self.leave(application)
            self._epoch = epoch
            if computes:
                if (application, switch) in self._used:  # a packet for each element of each register
                    self.state(application, switch).clear()
                self.admit(application, hosts, senders=(*clients, server), switch=switch)
            self._joined[application] = []
            if made.server is not None:
                shared = self._servers.get(server.name) or Shared()
                if server.name not in self._servers:
                    self.listen(server, shared, UDP_PORT)
                    self._servers[server.name] = shared
                shared.endpoints[found.id] = made.server
            for host, endpoint in zip((*hosts, *clients), (*made, *made.clients), strict=True):
                self.listen(host, endpoint, port)
                self._joined[application].append((host.name, port))
            return made

    def leave(self, application: str) -> None:
        """End the endpoints of an application that hosts have joined; the switch only forwards its requests again."""
        with self._lock:
            number = self._application(application).id
            for name, switch in [*self._guests]:
                if name == application and application in self._joined:
                    self.withdraw(application, switch)
            for place in self._joined.pop(application, ()):
                self.fabric.leave(*place)
            for shared in self._servers.values():
                shared.endpoints.pop(number, None)

    def listen(self, host: Host, endpoint: Endpoint, port: int) -> None:
        """Put an endpoint of your own behind a UDP port of a host, in place of one that was put there before."""
        self.fabric.listen(host.name, port, endpoint)

    def run(self, until: Callable[[], bool]) -> None:
        """Drive the endpoints that were put on hosts, by `join` or `listen`, until `until()` holds.

        It is asked whenever anything has happened, and may tell endpoints what to do next. What an endpoint raises ends
        it. MidflightError where nothing more happens in a simulated network.
        """
        self.fabric.drive(until)

    def _write(self, application: str, name: str, entry: Entry, there: bool) -> None:
        super()._write(application, name, entry, there)
        for shared in self._servers.values():
            for each in shared.endpoints.values():
                if isinstance(each, SoftwareServer):
                    each.write(application, name, entry, there)
