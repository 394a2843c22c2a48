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

if TYPE_CHECKING:
    from midflight.runtime.devices.base import Device
    from midflight.testbed.sim.link import ChannelStatistics
    from midflight.testbed.topology import LinkQuality, Topology

__all__ = ["Card", "Crew", "Fabric", "Host", "Schedule", "Scheduled", "Switchable", "Taken"]

Taken = Callable[[int, bytes], None]
"""Receives the time at which a frame arrived, in nanoseconds of the network's clock, and the frame."""


class Host(controller.Host, Protocol):
    """A host of a network, on which commands may run."""

    def run(self, arguments: Sequence[str], *, timeout: float = 60.0, check: bool = True) -> str:
        """Run a command on the host and return its standard output and standard error, in the order of printing.

        DeviceError if the command is not found, takes more than `timeout` seconds, or exits with another status than 0;
        the status is ignored if `check` is False. MidflightError on a simulated host, which cannot run commands.
        """


class Card(Protocol):
    """A host's network card. It sees every frame that reaches the host, for any program on it."""

    def tap(self, taken: Taken) -> None:
        """Call `taken` for every frame that arrives from now on. Several taps may be in place."""

    def untap(self, taken: Taken) -> None:
        """Remove a tap."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Frames for a host to send, with times: `offsets` in nanoseconds from a common start, in ascending order."""

    host: str
    offsets: NDArray[np.int64]
    frames: Sequence[bytes]


class Crew(Protocol):
    """Workers that sum vectors together. Any of them may crash and be restarted during a sum."""

    @property
    def statistics(self) -> tuple[AllReduceStatistics, ...]:
        """The statistics of each worker since it was last started or assigned."""

    @property
    def ended(self) -> bool:
        """Whether the workers have stopped because a sum failed. `assign` starts them again."""

    def sum(self, vectors: Sequence[Numbers]) -> list[Sum]:
        """Submit the n-th vector to the n-th worker, wait for the sum, and return the result of each worker.

        MidflightError if the network does not answer, or if a worker is killed and not restarted. All workers are
        stopped then.
        """

    def kill(self, worker: int) -> None:
        """Stop a worker immediately. Its state is lost."""

    def restart(self, worker: int) -> None:
        """Start a worker again, killing it first if it runs. It starts at the beginning of the current sum."""

    def assign(self, workers: Sequence[Worker]) -> None:
        """Replace all workers, on the same hosts or on others. The current sum starts again as the new job."""

    def close(self) -> None:
        """Stop the workers. May be called more than once."""


@runtime_checkable
class Switchable(Protocol):
    """A fabric whose switches can fail."""

    def power(self, switch: str, *, on: bool) -> None:
        """Turn a switch off or on. Packets that reach a switch that is off are lost."""


@runtime_checkable
class Scheduled(Protocol):
    """A fabric in virtual time."""

    def after(self, delay: int, action: Callable[..., object], *arguments: object) -> None:
        """Call `action(*arguments)` after `delay` nanoseconds."""


class Fabric(controller.HostSoftware, Protocol):
    """A running network. A context manager: on exit it is closed, and everything that it created is removed.

    Its hosts can compute in place of a switch, as a `HostSoftware`.
    """

    @property
    def topology(self) -> Topology:
        """The topology of the network."""

    @property
    def hosts(self) -> Mapping[str, Host]:
        """The hosts by name, in the topology's order."""

    @property
    def devices(self) -> Mapping[str, Device]:
        """The switches by name, in the topology's order. They have no program until a controller loads one."""

    @property
    def now(self) -> int:
        """The time in nanoseconds of the network's clock."""

    def crew(self, workers: Sequence[Worker]) -> Crew:
        """Start workers on their hosts."""

    @property
    def timing(self) -> Timing:
        """The timers for endpoints that suit this network's round-trip times."""

    def listen(self, host: str, port: int, endpoint: Endpoint) -> None:
        """Run an endpoint on a UDP port of a host. It replaces an endpoint that `listen` has put there before."""

    def leave(self, host: str, port: int) -> None:
        """Remove the endpoint that `listen` has put on a UDP port of a host, if there is one."""

    def drive(self, until: Callable[[], bool], timeout: float | None = None) -> bool:
        """Drive the endpoints until `until()` returns True, and return whether it did.

        `until` is called after every event. The result is False after `timeout` seconds of the network's clock, or if
        no event is left in a simulated network. Exceptions of endpoints are raised here.
        """

    def card(self, host: str) -> Card:
        """Return a host's network card."""

    def play(self, schedules: Sequence[Schedule]) -> list[NDArray[np.int64]]:
        """Send the frames of each schedule. Return for each schedule when its frames were sent, in nanoseconds.

        Returns once the last frame was sent. If a host's link is busy when a frame is due, the frame is sent when the
        link is free.
        """

    def statistics(self, one: str, other: str) -> ChannelStatistics:
        """Return the statistics of the link from a node to its neighbour. MidflightError if there is no such link."""

    def impair(self, quality: LinkQuality) -> None:
        """Set the quality of all links. MidflightError if this network's links cannot be changed."""

    def settle(self, senders: Sequence[str] | None = None, timeout: float = 5.0) -> str:
        """Wait until all packets that `senders` have sent have passed the network; by default, those of all hosts.

        Returns a description of what has not passed within `timeout` seconds; it is empty if everything has.
        """

    def trace_hash(self) -> str:
        """Return a hash of all events on all links, equal for equal runs; empty for networks in real time."""

    def close(self) -> None:
        """Close the network and remove everything that it created. May be called more than once."""

    def __enter__(self) -> Fabric: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
