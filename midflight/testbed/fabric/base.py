"""What every fabric offers: a topology brought to life, with devices for switches and endpoints on hosts."""

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
"""Is handed a frame that came in, after the time at which it did, in nanoseconds of the network's clock."""


class Host(controller.Host, Protocol):
    """A host of a network, on which commands may run."""

    def run(self, arguments: Sequence[str], *, timeout: float = 60.0, check: bool = True) -> str:
        """Run a command on the host and return what it prints, errors included.

        DeviceError where it does not run, is not done within `timeout` seconds, or, unless told not to `check`, ends
        with another status than 0. MidflightError on a simulated host, which runs no commands.
        """


class Card(Protocol):
    """A host's network card: every frame that reaches the host, whichever program it is for."""

    def tap(self, taken: Taken) -> None:
        """Hand every frame that comes in from now on to this as well."""

    def untap(self, taken: Taken) -> None:
        """Hand no more frames to this."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Frames that a host is to send, and when: `offsets` in nanoseconds from a common start, in ascending order."""

    host: str
    offsets: NDArray[np.int64]
    frames: Sequence[bytes]


class Crew(Protocol):
    """Workers that sum vectors together, wherever they run. Any of them may die and come back while they do."""

    @property
    def statistics(self) -> tuple[AllReduceStatistics, ...]:
        """What each worker has counted since it was last set up."""

    @property
    def ended(self) -> bool:
        """Whether a sum has failed and the workers with it: they have to be assigned anew."""

    def sum(self, vectors: Sequence[Numbers]) -> list[Sum]:
        """Have each worker sum its vector with the others' and return what each of them received.

        MidflightError where the network does not answer, or where a worker is dead and stays so; then all have ended.
        """

    def kill(self, worker: int) -> None:
        """End a worker at once, with all that it knows."""

    def restart(self, worker: int) -> None:
        """Set a worker up once more, at the beginning of the sum that is under way."""

    def assign(self, workers: Sequence[Worker]) -> None:
        """Have all workers be these from now on, and the sum that is under way begin again as a job of theirs."""

    def close(self) -> None:
        """End the workers. May be called more than once."""


@runtime_checkable
class Switchable(Protocol):
    """A fabric whose switches can fail."""

    def power(self, switch: str, *, on: bool) -> None:
        """Switch a switch off or on. What reaches one that is off is lost."""


@runtime_checkable
class Scheduled(Protocol):
    """A fabric in virtual time."""

    def after(self, delay: int, action: Callable[..., object], *arguments: object) -> None:
        """Call `action(*arguments)` once `delay` nanoseconds have passed."""


class Fabric(controller.HostSoftware, Protocol):
    """A topology brought to life. A context manager: leaving closes it and removes everything that it made.

    Its hosts can compute in place of a switch, as a `HostSoftware`.
    """

    @property
    def topology(self) -> Topology:
        """Its shape."""

    @property
    def hosts(self) -> Mapping[str, Host]:
        """The hosts by name, in the topology's order."""

    @property
    def devices(self) -> Mapping[str, Device]:
        """The switches by name, in the topology's order; without a program until a controller loads one."""

    @property
    def now(self) -> int:
        """The time in nanoseconds, of this network's own clock."""

    def crew(self, workers: Sequence[Worker]) -> Crew:
        """Set workers up on their hosts."""

    @property
    def timing(self) -> Timing:
        """The timers that suit this network."""

    def listen(self, host: str, port: int, endpoint: Endpoint) -> None:
        """Put an endpoint behind a UDP port of a host, in place of one that was put there before."""

    def leave(self, host: str, port: int) -> None:
        """Take an endpoint away that was put behind a UDP port of a host, if there is one."""

    def drive(self, until: Callable[[], bool], timeout: float | None = None) -> bool:
        """Drive the endpoints that were put on hosts until `until()` holds, asked whenever anything has happened.

        Return whether it does: not where `timeout` seconds of the network's clock have passed, or where nothing more
        will happen. What an endpoint raises ends it.
        """

    def card(self, host: str) -> Card:
        """Return a host's network card."""

    def play(self, schedules: Sequence[Schedule]) -> list[NDArray[np.int64]]:
        """Send frames, each host its own, and return the times at which they were sent, once the last was.

        A frame whose time comes while its host's link is busy is sent when the link is free.
        """

    def statistics(self, one: str, other: str) -> ChannelStatistics:
        """Return what has happened on the way from a node to its neighbour."""

    def impair(self, quality: LinkQuality) -> None:
        """Have all links be of this quality from now on. MidflightError where this network's cannot be."""

    def settle(self, senders: Sequence[str] | None = None, timeout: float = 5.0) -> str:
        """Let what is under way arrive, as far as this network can tell: what these hosts have sent, or all.

        Return what has not, within `timeout` seconds; nothing where all has.
        """

    def trace_hash(self) -> str:
        """Return a hash of all that has happened on all links, where that is the same for the same run; else empty."""

    def close(self) -> None:
        """Take everything down. May be called more than once."""

    def __enter__(self) -> Fabric: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
