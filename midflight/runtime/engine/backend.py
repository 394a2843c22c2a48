"""The interface of what runs a program behind a P4Runtime server: the embedded switch, or XDP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from midflight.runtime.engine.counters import Counter
from midflight.runtime.engine.groups import Groups
from midflight.runtime.engine.memory import Budget
from midflight.runtime.engine.meters import Meter
from midflight.runtime.engine.packets import Packets
from midflight.runtime.engine.profiles import Profile
from midflight.runtime.engine.queues import QueueState
from midflight.runtime.engine.records import Digest
from midflight.runtime.engine.registers import Register
from midflight.runtime.engine.stats import Stats
from midflight.runtime.engine.tables import Table
from midflight.runtime.engine.traces import Trace

__all__ = ["Backend"]


class Backend(Protocol):
    """A running program with its state. `engine.Engine` describes what the members mean."""

    memory: Budget
    tables: Mapping[str, Table]
    value_sets: Mapping[str, Table]
    profiles: Mapping[str, Profile]
    registers: Mapping[str, Register]
    counters: Mapping[str, Counter]
    meters: Mapping[str, Meter]
    multicast: Groups
    clones: Groups

    def process(self, packets: Packets, now: int = 0, times: NDArray[np.uint64] | None = None) -> Packets:
        """Process a batch at time `now` in microseconds, and return the packets that leave, with their ports.

        times: uint64[n], when each packet arrives, in nanoseconds and ascending order; None if all arrive at `now`;
            ValueError for an array of another shape or type
        """

    def commit(self) -> None:
        """Make changes of tables and groups take effect, all at once."""

    def advance(self, time: int) -> Packets:
        """Return the packets that leave their queues by a time in nanoseconds, including that time."""

    @property
    def due(self) -> int | None:
        """The time in nanoseconds for the next `advance` that lets a packet leave its queue; None if none waits."""

    @property
    def queued(self) -> bool:
        """Whether there are queues between ingress and egress."""

    def apply_queueing(self, now: int | None = None) -> bool:
        """Apply changed settings of the queues, at a time in nanoseconds, or that of the last batch (None).

        Return whether this replaced the native code that processes a batch. DeviceError from a backend without queues
        if queues are configured.
        """

    def queue(self, port: int, queue: int = 0) -> QueueState:
        """Return the settings and packet counts of one queue of a port. DeviceError if there is no such port or
        queue.
        """

    def used_queues(self) -> set[tuple[int, int]]:
        """Return the queues, as (port, queue), that a packet has joined or been dropped at since the program
        started.
        """

    def discard(self) -> None:
        """Drop all packets that wait in queues, and count them as `waiting` in `stats`."""

    def trace(self, on: bool) -> None:
        """Start or stop recording a trace of every packet, for `traces`. DeviceError from a backend that cannot
        record any.
        """

    def traces(self) -> list[Trace]:
        """Return and remove the traces recorded since the last call, oldest first."""

    def digests(self) -> list[Digest]:
        """Return and remove the digests that the program has sent since the last call, oldest first."""

    def messages(self) -> list[str]:
        """Return and remove the program's log messages since the last call, oldest first.

        They come from `log_msg`, and from `assert` and `assume` whose condition did not hold.
        """

    @property
    def assertions(self) -> int:
        """The number of `assert` and `assume` calls that failed."""

    @property
    def stats(self) -> Stats:
        """The counts of received, sent and dropped packets since this backend was created."""

    def set_port(self, port: int, *, up: bool) -> None:
        """Record whether a port is up; at first, all are.

        While a port is down, the members of action selectors' groups that watch it are left out, and multicast replicas
        to it are replaced by their backups.
        """
