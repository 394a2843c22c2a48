"""Jobs: runs of an `Aggregate` by a group of workers, and the parameters of each worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from midflight.primitives import Aggregate, Application
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.controller.endpoints import Host
from midflight.runtime.endpoint import Address
from midflight.runtime.endpoint.worker import Worker
from midflight.runtime.steering import Child, Member

__all__ = ["WORKER_PORT", "Job"]

WORKER_PORT = 49152
"""The first UDP port of workers: an application's port is this plus its id, so that no two share a socket on a host."""
# The address that requests go to if no host is left to be the server. No packet ever arrives there.
_NOWHERE = {4: "10.0.255.254", 6: "64:ff9b:1::a00:fffe"}
_NUMBERS = 2**16


@dataclass(slots=True)
class Job:
    """One run of an `Aggregate` by a group of workers. Worker n, from 0, runs on the n-th of `hosts`.

    `server` is the host that requests are addressed to and that computes if no switch does; None if there is none.
    `number` is a 16-bit serial number that distinguishes the job from earlier ones of the application; switches and
    workers drop packets of other jobs. All its packets carry `token`, a 64-bit number that only its switches, its
    workers and its server know. `receivers` maps the name of each switch that computes for the job to the receivers of
    its results. If it is empty, no switch computes.
    """

    application: Application
    hosts: Sequence[Host]
    server: Host | None
    number: int
    token: int = field(repr=False)
    receivers: Mapping[str, tuple[Member | Child, ...]] = field(default_factory=dict)

    @property
    def port(self) -> int:
        """The UDP port on which the workers receive: 49152 plus the application's id."""
        return WORKER_PORT + self.application.id

    @property
    def members(self) -> list[Address]:
        """The addresses of the workers in order, as pairs of IP address and UDP port."""
        return [(str(each.address), self.port) for each in self.hosts]

    @property
    def destination(self) -> Address:
        """The IP address and UDP port that requests are sent to: the server's.

        Without a server, an address that no host has: a switch has to compute.
        """
        return str(self.server.address) if self.server else _NOWHERE[self.hosts[0].address.version], UDP_PORT

    @staticmethod
    def after(number: int) -> int:
        """Return the job number that follows `number`: 16 bits, so 0 follows 65535."""
        return (number + 1) % _NUMBERS

    def workers(self, mtu: int) -> list[Worker]:
        """Return, for each worker in order, the parameters with which a host takes part in the job.

        `mtu` is the largest IP packet that they send, in bytes.
        """
        primitive = self.application.primitive
        assert isinstance(primitive, Aggregate)
        return [
            Worker(
                host=host.name,
                port=self.port,
                application=self.application.id,
                worker=number,
                workers=primitive.workers,
                lanes=primitive.lanes,
                slots=primitive.slots,
                server=self.destination,
                peers=tuple(self.members),
                job=self.number,
                headroom=primitive.overflow != "detect",
                mtu=mtu,
                operation=primitive.operation,
                number=primitive.number,
                token=self.token,
            )
            for number, host in enumerate(self.hosts)
        ]
