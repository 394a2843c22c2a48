"""The engine: a checked program running as native code, with all state that a control plane reads and writes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from midflight.p4 import ir
from midflight.runtime.engine.batch import Output
from midflight.runtime.engine.compiled import Compiled
from midflight.runtime.engine.context import Context
from midflight.runtime.engine.gate import Gate
from midflight.runtime.engine.memory import DEFAULT, Budget, demand
from midflight.runtime.engine.packets import Packets
from midflight.runtime.engine.passes import DROPS
from midflight.runtime.engine.queue import QUEUE_LENGTH
from midflight.runtime.engine.queuememory import QueueMemory
from midflight.runtime.engine.queues import Queueing, QueueState
from midflight.runtime.engine.records import Digest, Records
from midflight.runtime.engine.state import State, generator
from midflight.runtime.engine.stats import Stats
from midflight.runtime.engine.traces import Trace, Traces
from midflight.runtime.engine.trafficmanager import NEVER

__all__ = ["LATENCY", "SPACING", "Engine"]

LATENCY, SPACING = 1000, 1000
"""In virtual time, with queues: nanoseconds from arrival to the queue, and between two packets in ingress."""


class Engine:
    """A v1model program as native code, with its own state.

    `tables`, `value_sets`, `profiles`, `registers`, `counters` and `meters` are by fully qualified name. Changes take
    effect between two batches.

    cpu_port: the controller's port, which the engine only stores for its users
    seed: the first state of the program's random numbers is derived from it
    gate: the lock that is held during batches and changes; by default, a new one
    compiled: the code of the same program if it is compiled already; engines can share code, but not state
    memory: the limit in bytes for registers, counters, meters, table entries and similar state
    queueing: the settings of the queues between ingress and egress; call `apply_queueing` after changes

    Raises P4Error for a construct that the engine does not support, and BudgetError if the program needs more than
    `memory` even without table entries.
    """

    def __init__(
        self,
        program: ir.Program,
        *,
        cpu_port: int = 510,
        seed: int = 0,
        gate: Gate | None = None,
        compiled: Compiled | None = None,
        memory: int = DEFAULT,
        queueing: Queueing | None = None,
    ) -> None:
        self.memory = Budget(memory, demand(program, memory))
        compiled = self.compiled = compiled or Compiled(program)
        assert compiled.program is program, "this is the code of another program"
        self.program = program
        self.cpu_port = cpu_port
        self._lock = gate or Gate()
        context = self._context = Context(compiled.slots)
        self._tracing = False
        self.queueing = queueing or Queueing()
        self._queues = QueueMemory(context)
        self._live = False
        context.set("in.latency", LATENCY)
        context.set("in.spacing", SPACING)
        self._traces: Traces | None = None
        state = self._state = State(program, compiled.layouts, compiled.members, context, self._lock, self.memory)
        self.tables, self.profiles, self.registers = state.tables, state.profiles, state.registers
        self.value_sets = state.value_sets
        self.counters, self.meters = state.counters, state.meters
        self.multicast, self.clones = state.multicast, state.clones
        self._records = Records(compiled.records, context)
        self._output = Output(context)
        context.point("queue", np.zeros(compiled.record * QUEUE_LENGTH if context.has("queue") else 0, np.uint8))
        context.set("random", generator(seed))
        self._select()
        self.apply_queueing()

    def process(self, packets: Packets, now: int = 0, times: NDArray[np.uint64] | None = None) -> Packets:
        """Process a batch at time `now` in microseconds, and return the packets that leave, with their ports.

        times: uint64[n], when each packet arrives, in nanoseconds, in ascending order; the last is the time of the
            batch. None if all arrive at `now`. ValueError for an array of another shape or type

        With queues, a packet enters ingress at least a microsecond after the one before it, and its queue a microsecond
        later, unless the engine is `live`. It waits there until a later batch, which may be empty, reaches the time at
        which it leaves: see `due`. Changes of tables and groups take effect before the batch. Malformed packets raise
        nothing.
        """
        with self._lock:
            return self._run(packets, now, now * 1000, times)

    def _run(self, packets: Packets, now: int, nanoseconds: int, times: NDArray[np.uint64] | None) -> Packets:
        self.flush()
        context = self._context
        for name in ("data", "offsets", "lengths", "ports"):
            context.point(f"in.{name}", getattr(packets, name))
        context.set("in.count", len(packets))
        context.set("now", now)
        if times is None:
            context.set("in.times", 0)
        else:
            packets.check_times(times)
            context.point("in.times", times)
            nanoseconds = max(nanoseconds, int(times[-1]) if len(times) else 0)
        context.set("in.now", nanoseconds)
        context.set("in.floor", nanoseconds if self._live else 0)
        received = context.get("received")
        context.set("source.base", received)
        context.set("received", received + len(packets))
        return self._output.collect(packets, lambda: self._process(context.address), timed=self._running.queued)

    def advance(self, time: int) -> Packets:
        """Process an empty batch at `time` in nanoseconds, and return the packets that leave their queues by then."""
        with self._lock:
            return self._run(Packets.from_list([]), time // 1000, time, None)

    @property
    def due(self) -> int | None:
        """The time in nanoseconds for the next `advance` that lets a packet leave; None if no packet is in a queue."""
        with self._lock:
            if not self._running.queued:
                return None
            due = self._context.get("tm.due")
            return None if due == NEVER else max(0, due - self._context.get("in.latency"))

    @property
    def queued(self) -> bool:
        """Whether there are queues between ingress and egress."""
        return self._running.queued

    @property
    def timed(self) -> bool:
        """Whether the code that runs uses the arrival times of packets, and not only the time of their batch."""
        return self._running.timed

    def live(self) -> None:
        """Use real time from now on, where `process` otherwise sets the time: packets enter ingress at the time of
        their batch.
        """
        with self._lock:
            self._live = True
            self._context.set("in.latency", 0)
            self._context.set("in.spacing", 0)

    def apply_queueing(self, now: int | None = None) -> bool:
        """Apply the settings in `queueing` to the queues, at a time in nanoseconds, or at that of the last batch
        (None).

        Return whether this changed the function that `native` returns. The first settings compile the program again,
        which blocks, unless it asks for queues itself.
        """
        variant = self.compiled.variant(traced=self._tracing, queued=self.queueing.configured)
        with self._lock:
            changed = variant.native is not self._running.native
            self._select()
            if self._running.queued:
                if now is not None:
                    self._queues.pass_time(now)
                self._queues.apply(self.queueing, self._running.native)
            return changed

    def queue(self, port: int, queue: int = 0) -> QueueState:
        """Return the settings and packet counts of one queue of a port.

        DeviceError if the port is not 0 to 511, or the queue not one of its 1 to 8 queues, counted from 0.
        """
        with self._lock:
            return self._queues.state(self.queueing, port, queue)

    def used_queues(self) -> set[tuple[int, int]]:
        """Return the queues, as (port, queue), that a packet has joined or been dropped at since the engine was
        created.
        """
        with self._lock:
            return self._queues.used()

    def discard(self) -> None:
        """Drop all packets that wait in queues, and count them as `waiting` in `stats`."""
        with self._lock:
            self._queues.discard()

    def flush(self) -> None:
        """Write pending changes of tables and groups to native memory.

        `process` does it itself; native packet loops need it.
        """
        with self._lock:
            self._state.flush()

    def commit(self) -> None:
        """Do nothing: changes of tables and groups take effect before the next batch."""

    @property
    def native(self) -> tuple[int, Context]:
        """The address of the function that processes a batch, and its argument, the context, for native loops."""
        return self._running.native.address(self.compiled.entry), self._context

    def set_port(self, port: int, *, up: bool) -> None:
        """Record whether a port is up; at first, all are.

        While a port is down, the members of action selectors' groups that watch it are left out, and multicast or clone
        replicas to it are replaced by their backups; replicas without backups are sent nevertheless.
        """
        self._state.set_port(port, up=up)

    def trace(self, on: bool) -> None:
        """Start or stop recording a trace of every packet, for `traces`.

        This changes the function that `native` returns. The first start compiles the program once more, with tracing,
        which blocks. State is shared by both versions.
        """
        compiled = self.compiled
        if on and self._traces is None:
            self._traces = Traces(
                self.program, compiled.records, self._context, lambda name: self.tables[name].entries()
            )
        compiled.variant(traced=on, queued=self.queueing.configured)
        with self._lock:
            self._tracing = on
            self._select()

    def traces(self) -> list[Trace]:
        """Return and remove the traces recorded since the last call, oldest first; [] if tracing was never started."""
        if self._traces is None:
            return []
        with self._lock:
            return self._traces.take()

    def digests(self) -> list[Digest]:
        """Return and remove the digests that the program has sent since the last call, oldest first."""
        with self._lock:
            taken = self._records.take()
        return self._records.digests(taken)

    def messages(self) -> list[str]:
        """Return and remove the program's log messages since the last call, oldest first.

        They come from `log_msg`, and from conditions of `assert` and `assume` that did not hold.
        """
        with self._lock:
            taken = self._records.take()
        return self._records.messages(taken)

    @property
    def assertions(self) -> int:
        """The number of `assert` and `assume` calls that failed since the engine was created."""
        return self._context.get("assertions")

    @property
    def stats(self) -> Stats:
        """A snapshot of the engine's packet counters since it was created."""
        with self._lock:
            context = self._context
            return Stats(
                received=context.get("received"),
                sent=context.get("sent"),
                dropped={reason: context.get(f"dropped.{reason}") for reason in DROPS},
                digests_lost=context.get("digests.lost"),
                messages_lost=context.get("log.lost") + self._records.lost,
                assertions=context.get("assertions"),
            )

    def _select(self) -> None:
        """Run the variant of the program that tracing and queues require."""
        self._running = self.compiled.variant(traced=self._tracing, queued=self.queueing.configured)
        self._process = self._running.native.function(self.compiled.entry)
        if self._traces is not None and self._tracing:
            self._traces.names = self._running.names
