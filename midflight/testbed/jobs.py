"""Jobs: what runs an application on a network at a time, and what its workers have to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from midflight.primitives import Aggregate, Application
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.endpoint import Address
from midflight.runtime.steering import Child, Member
from midflight.testbed.fabric.base import Host, Worker

__all__ = ["WORKER_PORT", "Job"]

WORKER_PORT = 49152
"""Plus the application's id: each application has a socket of its own on every host."""
_NOWHERE = {4: "10.0.255.254", 6: "64:ff9b:1::a00:fffe"}  # where no host is left to be the server
_NUMBERS = 2**16


@dataclass(slots=True)
class Job:
    """The workers of an application: the n-th is on the n-th of `hosts`.

    `number` tells a job from those of the same application before it: what belongs to another is dropped by all.
    `receivers` are, by the switches that compute for it, those who get the results from each; where there are none,
    the server computes, if there is one.
    """

    application: Application
    hosts: Sequence[Host]
    server: Host | None
    number: int
    receivers: Mapping[str, tuple[Member | Child, ...]] = field(default_factory=dict)

    @property
    def port(self) -> int:
        """The UDP port of the workers."""
        return WORKER_PORT + self.application.id

    @property
    def members(self) -> list[Address]:
        """Where the workers are."""
        return [(str(each.address), self.port) for each in self.hosts]

    @staticmethod
    def after(number: int) -> int:
        """Return the number that is newer than this one and all before it."""
        return (number + 1) % _NUMBERS

    def workers(self, mtu: int) -> list[Worker]:
        """Return the workers, whose packets are no larger than `mtu` bytes."""
        primitive = self.application.primitive
        assert isinstance(primitive, Aggregate)
        server = str(self.server.address) if self.server else _NOWHERE[self.hosts[0].address.version]
        return [
            Worker(
                host=host.name,
                port=self.port,
                application=self.application.id,
                worker=number,
                workers=primitive.workers,
                lanes=primitive.lanes,
                slots=primitive.slots,
                server=(server, UDP_PORT),
                peers=tuple(self.members),
                job=self.number,
                headroom=primitive.overflow != "detect",
                mtu=mtu,
                operation=primitive.operation,
                number=primitive.number,
            )
            for number, host in enumerate(self.hosts)
        ]
