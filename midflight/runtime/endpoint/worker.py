"""`Worker`: a worker of an all-reduce as plain data, created by a controller, and turned into an endpoint by a host."""

from __future__ import annotations

from dataclasses import dataclass, field

from midflight.primitives.library.aggregate import Number, Operation
from midflight.runtime.endpoint.allreduce import AllReduce
from midflight.runtime.endpoint.reliable import Address, Timing

__all__ = ["Worker"]


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker of an all-reduce: the host and UDP port that it runs on, and the parameters of its `AllReduce`.

    `worker` is its number, 0 to `workers` - 1. `server` is the address that requests are sent to, and `peers` are the
    addresses of all workers in the order of their numbers. `application` is the 16-bit id. `lanes`, `slots`,
    `operation` and `number` are those of the `Aggregate`. `job` (16 bits) distinguishes this run of the application
    from earlier ones, and `token` (64 bits) its packets from those of others: keep it secret. `first` is the chunk at
    which it begins. `headroom` leaves enough room in each number that the sum over all workers cannot overflow. `mtu`
    is the largest IP packet in bytes.
    """

    host: str
    port: int
    application: int
    worker: int
    workers: int
    lanes: int
    slots: int
    server: Address
    peers: tuple[Address, ...] = ()
    job: int = 1
    first: int = 1
    headroom: bool = True
    mtu: int = 1500
    operation: Operation = "sum"
    number: Number = "int32"
    token: int = field(default=0, repr=False)

    def endpoint(self, timing: Timing) -> AllReduce:
        """Return a new endpoint for the worker, which begins at chunk `first` of its job.

        `timing` are the retransmission timers. MidflightError if the worker's number is out of range, if there are
        `peers` but not one for each worker, if `slots` is below 1, or if the lanes do not fit the MTU.
        """
        return AllReduce(
            application=self.application,
            worker=self.worker,
            workers=self.workers,
            lanes=self.lanes,
            slots=self.slots,
            server=self.server,
            timing=timing,
            peers=self.peers,
            job=self.job,
            first=self.first,
            headroom=self.headroom,
            mtu=self.mtu,
            operation=self.operation,
            number=self.number,
            token=self.token,
        )
