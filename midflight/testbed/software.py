"""The hosts of a testbed that compute in place of a switch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from midflight.primitives import Program
from midflight.primitives.kernel.map import Entry
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.endpoint import Address, Endpoint
from midflight.runtime.endpoint.shared import Shared
from midflight.runtime.endpoint.software import SoftwareServer
from midflight.testbed.fabric.base import Fabric, Host

__all__ = ["ServerHosts"]


class ServerHosts:
    """Servers on a fabric's hosts: the fabric's own, for groups, and those of joined applications (a `HostSoftware`).

    The servers of joined applications on one host share a UDP port.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._shared: dict[str, Shared] = {}  # by host

    def serve(
        self,
        host: str,
        program: Program,
        application: str,
        members: Sequence[Address],
        *,
        epoch: int = 0,
        maps: Mapping[str, Sequence[Entry]] | None = None,
        token: int = 0,
    ) -> None:
        """Start computing an application for a group on a host."""
        self._fabric.serve(host, program, application, members, epoch=epoch, maps=maps, token=token)

    def write(self, application: str, name: str, entry: Entry, there: bool) -> None:
        """Add an entry to a map on every host that computes the application, or remove it."""
        self._fabric.write(application, name, entry, there)
        for shared in self._shared.values():
            for each in shared.endpoints.values():
                if isinstance(each, SoftwareServer):
                    each.write(application, name, entry, there)

    def adopt(self, program: Program) -> None:
        """Continue with another program."""
        self._fabric.adopt(program)

    def put(self, host: Host, application: int, server: Endpoint) -> None:
        """Put the server of a joined application, given by id, on a host."""
        shared = self._shared.get(host.name) or Shared()
        if host.name not in self._shared:
            self._fabric.listen(host.name, UDP_PORT, shared)
            self._shared[host.name] = shared
        shared.endpoints[application] = server

    def remove(self, application: int) -> None:
        """Remove the servers of a joined application."""
        for shared in self._shared.values():
            shared.endpoints.pop(application, None)
