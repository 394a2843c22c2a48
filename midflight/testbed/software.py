"""`ServerHosts`: the hosts of a testbed that compute applications in place of a switch."""

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
    """The controller's access to the hosts that compute in place of a switch (a `HostSoftware`).

    Servers of groups belong to the fabric, and those of joined applications to this object. The latter share one UDP
    port on each host.
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
        """Start computing an application on the named host, for a group whose workers have the addresses `members`.

        epoch: the epoch that results carry. maps: the entries of maps, by map name; None for those that the primitive
        defines. token: the number that the group's packets carry.
        """
        self._fabric.serve(host, program, application, members, epoch=epoch, maps=maps, token=token)

    def write(self, application: str, name: str, entry: Entry, present: bool) -> None:
        """Add an entry to the map `name` on every host that computes the application.

        If `present` is False, remove it instead.
        """
        self._fabric.write(application, name, entry, present)
        for shared in self._shared.values():
            for each in shared.endpoints.values():
                if isinstance(each, SoftwareServer):
                    each.write(application, name, entry, present)

    def adopt(self, program: Program) -> None:
        """Continue with another program on the servers of groups. They stop computing applications that it does not
        have.
        """
        self._fabric.adopt(program)

    def put(self, host: Host, application: int, server: Endpoint) -> None:
        """Run the server of a joined application, given by its 16-bit id, on a host, in place of an earlier one."""
        shared = self._shared.get(host.name) or Shared()
        if host.name not in self._shared:
            self._fabric.listen(host.name, UDP_PORT, shared)
            self._shared[host.name] = shared
        shared.endpoints[application] = server

    def remove(self, application: int) -> None:
        """Remove the server of the joined application with this id from its host. Does nothing if there is none."""
        for shared in self._shared.values():
            shared.endpoints.pop(application, None)
