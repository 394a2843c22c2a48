"""The interface of fabrics: running networks, with devices for switches and endpoints on hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from midflight.runtime.controller import endpoints as controller
from midflight.runtime.endpoint import Endpoint
from midflight.runtime.endpoint.allreduce import AllReduceStatistics, Numbers, Sum
from midflight.runtime.endpoint.reliable import Timing
from midflight.runtime.endpoint.worker import Worker
from midflight.runtime.steering import IPAddress

if TYPE_CHECKING:
    from midflight.runtime.devices.base import Device
    from midflight.testbed.sim.link import ChannelStatistics
    from midflight.testbed.topology import LinkQuality, Topology

__all__ = ["Card", "Crew", "Fabric", "Host", "Schedule", "Scheduled", "Switchable", "Taken"]

Taken = Callable[[int, bytes], None]
"""A receiver of frames, called with a frame's arrival time, in nanoseconds of the network's clock, and the frame."""


class Host(controller.Host, Protocol):
    """A host of a network: its `name`, `mac` and IP `address`, on which commands may be run."""

    def run(self, arguments: Sequence[str], *, timeout: float = 60.0, check: bool = True) -> str:
        """Run a command on the host, wait until it ends, and return its output: standard output and error, interleaved.

        `arguments` are the program and its arguments; there is no shell. DeviceError if the command is not found, takes
        more than `timeout` seconds, or exits with another status than 0; the status is ignored if `check` is False.
        MidflightError on a simulated host, which cannot run commands.
        """

    def accept(self, address: IPAddress) -> None:
        """Also receive packets for another address, such as that of a service. Idempotent.

        DeviceError if the host does not take the address; a simulated host takes any.
        """

    def reject(self, address: IPAddress) -> None:
        """No longer receive packets for an address that `accept` has added. Idempotent."""


class Card(Protocol):
    """A host's network card. It sees every frame that reaches the host, for any program on it."""

    def tap(self, taken: Taken) -> None:
        """Call `taken` with the time and content of every frame that arrives from now on. A card may have
        several taps.
        """

    def untap(self, taken: Taken) -> None:
        """Stop calling `taken` for arriving frames. ValueError if it is not a tap of this card."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Frames for the host named `host` to send: frame n is due `offsets[n]` nanoseconds after `Fabric.play` is called.

    `offsets` has one element for each frame, in ascending order.
    """

    host: str
    offsets: NDArray[np.int64]
    frames: Sequence[bytes]


class Crew(Protocol):
    """The running workers of an all-reduce, numbered from 0, which sum vectors together.

    Any of them may crash and be restarted during a sum. Once a sum has failed or `close` was called, all have stopped
    (`ended`); only `assign` starts workers again.
    """

    @property
    def statistics(self) -> tuple[AllReduceStatistics, ...]:
        """The statistics of each worker, in the order of their numbers, since it was last started or assigned."""

    @property
    def ended(self) -> bool:
        """Whether the workers have stopped, because a sum failed or the crew was closed. `assign` starts them again."""

    def sum(self, vectors: Sequence[Numbers]) -> list[Sum]:
        """Submit the n-th vector to worker n, wait until every worker has the sum, and return each worker's result.

        MidflightError if the network does not answer, or if a worker was killed and is not restarted; all workers are
        then stopped. Other threads may meanwhile call `kill` and `restart` on a fabric of processes; on a simulated
        one, events do.
        """

    def kill(self, worker: int) -> None:
        """Stop worker number `worker` immediately, as if it crashed: its state is lost. Idempotent.

        A sum that is under way does not end until the worker is restarted.
        """

    def restart(self, worker: int) -> None:
        """Start worker number `worker` with empty state, killing it first if it runs.

        If a sum is under way, the worker takes part in it from its beginning, with the same vector. DeviceError if its
        process does not start; all workers are then stopped.
        """

    def assign(self, workers: Sequence[Worker]) -> None:
        """Stop all workers and start `workers` instead, in the order of their numbers, on the same hosts or on others.

        They carry a new job number (`Worker.job`). A sum that is under way starts again from its beginning with the new
        workers, which must then be as many as before. DeviceError if a process does not start; all workers are then
        stopped.
        """

    def close(self) -> None:
        """Stop all workers. May be called more than once."""


@runtime_checkable
class Switchable(Protocol):
    """A fabric whose switches can be turned off and on, to test failures."""

    def power(self, switch: str, *, on: bool) -> None:
        """Turn the switch of this name off (`on` False) or on. Packets that reach a switch that is off are lost.

        MidflightError if there is no such switch.
        """


@runtime_checkable
class Scheduled(Protocol):
    """A fabric in virtual time, which can call functions at given times."""

    def after(self, delay: int, action: Callable[..., object], *arguments: object) -> None:
        """Call `action(*arguments)` once, `delay` nanoseconds of virtual time from now, while the fabric is driven."""


class Fabric(controller.HostSoftware, Protocol):
    """A running network. A context manager: on exit it is closed, and everything that it created is removed.

    Hosts can compute in place of a switch, by the methods of `HostSoftware`. Times are those of the network's clock:
    virtual time in a simulated network, otherwise the system's monotonic clock.
    """

    @property
    def topology(self) -> Topology:
        """The description that the network was built from."""

    @property
    def hosts(self) -> Mapping[str, Host]:
        """The hosts by name, in the topology's order."""

    @property
    def devices(self) -> Mapping[str, Device]:
        """The switches by name, in the topology's order. They have no program until a controller loads one."""

    @property
    def now(self) -> int:
        """The current time of the network's clock, in nanoseconds."""

    def crew(self, workers: Sequence[Worker]) -> Crew:
        """Start workers of an all-reduce, each on the host that it names, wait until they run, and return them.

        `workers` are in the order of their numbers. DeviceError if a worker's process does not start. Closing the crew,
        or the fabric, stops them.
        """

    @property
    def timing(self) -> Timing:
        """The retransmission timers for this network's endpoints, chosen for its round-trip times."""

    def listen(self, host: str, port: int, endpoint: Endpoint) -> None:
        """Run an endpoint on a UDP port of a host, while the fabric is driven.

        It replaces an endpoint that an earlier call has put on this port. MidflightError if another program uses the
        port.
        """

    def leave(self, host: str, port: int) -> None:
        """Remove the endpoint that `listen` has put on a UDP port of a host. Does nothing if there is none."""

    def drive(self, until: Callable[[], bool], timeout: float | None = None) -> bool:
        """Run the endpoints of `listen` until `until()` returns True, and return whether it did.

        `until` is called first and after every event. The result is False after `timeout` seconds of the network's
        clock (None: no limit), or if no event is left in a simulated network. Exceptions of endpoints are raised here.
        DeviceError if a process of the network has ended by itself.
        """

    def card(self, host: str) -> Card:
        """Return the network card of the host of this name. KeyError if there is no such host."""

    def play(self, schedules: Sequence[Schedule]) -> list[NDArray[np.int64]]:
        """Send the frames of each schedule at their times, and return the times at which they were sent.

        The result has an array for each schedule, with nanoseconds of the network's clock for each frame. Offsets count
        from the call, which returns once the last frame was sent. If a host's link is busy when a frame is due, the
        frame is sent when the link is free.
        """

    def statistics(self, one: str, other: str) -> ChannelStatistics:
        """Return the counters of the link from node `one` to its neighbour `other`, in that direction only.

        MidflightError if there is no such link.
        """

    def impair(self, quality: LinkQuality) -> None:
        """Change the quality of all links from now on: delay, rate, loss and so on. Frames in flight keep the old one.

        MidflightError if this network's links cannot be changed.
        """

    def connect(self, one: str, other: str, *, up: bool) -> None:
        """Cut the link between two nodes (`up` False), so that it loses all frames, or join it again.

        MidflightError if there is no such link.
        """

    def settle(self, senders: Sequence[str] | None = None, timeout: float = 5.0) -> str:
        """Wait until all packets that hosts have sent have passed the network: been delivered, dropped or lost.

        `senders` are the names of the hosts; None means all. Returns a description of what has not passed within
        `timeout` seconds of the network's clock; it is empty if everything has.
        """

    def trace_hash(self) -> str:
        """Return a hash of all events on all links so far, as hexadecimal text; empty for networks in real time.

        Two simulated runs with the same seed, program and calls have equal hashes.
        """

    def close(self) -> None:
        """Close the network and remove everything that it created. May be called more than once."""

    def __enter__(self) -> Fabric: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
