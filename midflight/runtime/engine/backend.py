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
        """Process a batch at time `now` in microseconds, and return the packets that leave, with their ports."""

    def commit(self) -> None:
        """Make changes of tables and groups take effect, all at once."""

    def advance(self, time: int) -> Packets:
        """Return the packets that leave their queues by a time in nanoseconds."""

    @property
    def due(self) -> int | None:
        """The time in nanoseconds for the next `advance` that lets a packet leave its queue; None if none waits."""

    @property
    def queued(self) -> bool:
        """Whether there are queues between ingress and egress."""

    def apply_queueing(self, now: int | None = None) -> bool:
        """Apply the settings of queues at a time in nanoseconds. Return whether native code changed."""

    def queue(self, port: int, queue: int = 0) -> QueueState:
        """Return the settings and packet counts of one queue of a port."""

    def used_queues(self) -> set[tuple[int, int]]:
        """Return the queues, as port and queue, that a packet has reached."""

    def discard(self) -> None:
        """Drop all packets that wait in queues."""

    def trace(self, on: bool) -> None:
        """Start or stop recording a trace of every packet, for `traces`."""

    def traces(self) -> list[Trace]:
        """Return and remove the traces recorded since the last call, oldest first."""

    def digests(self) -> list[Digest]:
        """Return and remove the digests that the program has sent since the last call, oldest first."""

    def messages(self) -> list[str]:
        """Return and remove the program's log messages since the last call, oldest first."""

    @property
    def assertions(self) -> int:
        """The number of `assert` and `assume` calls that failed."""

    @property
    def stats(self) -> Stats:
        """The packet counts so far."""

    def set_port(self, port: int, *, up: bool) -> None:
        """Leave out the members of groups that watch a port while it is down."""
