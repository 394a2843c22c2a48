"""Engine: a checked program running as native code, with all state that a control plane reads and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from midflight.p4 import ir
from midflight.runtime.engine.batch import Output
from midflight.runtime.engine.compiled import Compiled
from midflight.runtime.engine.context import Context
from midflight.runtime.engine.counters import Counter
from midflight.runtime.engine.externs.traffic import SESSION_MASK
from midflight.runtime.engine.gate import Gate
from midflight.runtime.engine.groups import Groups
from midflight.runtime.engine.memory import DEFAULT, Budget, demand
from midflight.runtime.engine.meters import Meter
from midflight.runtime.engine.packets import Packets
from midflight.runtime.engine.pipeline import DROPS
from midflight.runtime.engine.queue import QUEUE_LENGTH
from midflight.runtime.engine.records import Digest, Records
from midflight.runtime.engine.registers import Register
from midflight.runtime.engine.tables import Table
from midflight.runtime.engine.traces import Trace, Traces

__all__ = ["Engine", "Stats"]


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the engine was created.

    `received` and `sent` count packets. `dropped` counts dropped packets by reason: `ingress` and `egress` (by the
    program), `replicas` (a multicast group or clone session without members), `memory` (no memory for the output),
    `queue` (the queue for another round was full) and `rounds` (too many rounds). `assertions` counts `assert` and
    `assume` calls that failed. `digests_lost` and `messages_lost` count digests and log messages that were lost because
    their buffer was full.
    """

    received: int
    sent: int
    dropped: Mapping[str, int]
    digests_lost: int
    messages_lost: int
    assertions: int


class Engine:
    """A v1model program as native code, with its own state.

    `tables`, `registers`, `counters` and `meters` are by fully qualified name. Changes take effect between two batches.

    cpu_port: the controller's port, which the engine only stores for its users
    seed: of the program's random numbers
    gate: the lock that is held during batches and changes; by default, a new one
    compiled: the code of the same program if it is compiled already; engines can share code, but not state
    memory: the limit in bytes for registers, counters, meters, table entries and similar state

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
    ) -> None:
        self.memory = Budget(memory, demand(program, memory))
        compiled = self.compiled = compiled or Compiled(program)
        assert compiled.program is program, "this is the code of another program"
        self.program = program
        self.cpu_port = cpu_port
        self._running = compiled.native
        self._process = self._running.function(compiled.entry)
        self._lock = gate or Gate()
        context = self._context = Context(compiled.slots)
        self._traces: Traces | None = None
        instances = program.instances.values()
        self._dirty: dict[str, Table | Groups] = {}
        self.tables: Mapping[str, Table] = {
            name: Table(table, compiled.layouts[name], context, self._lock, self._note, self.memory)
            for name, table in program.tables.items()
        }
        self.registers: Mapping[str, Register] = {
            each.name: Register(each, context, self._lock) for each in instances if each.kind == "register"
        }
        self.counters: Mapping[str, Counter] = {
            each.name: Counter(each, context, self._lock) for each in instances if each.kind == "counter"
        }
        self.meters: Mapping[str, Meter] = {
            each.name: Meter(each, context, self._lock) for each in instances if each.kind == "meter"
        }
        self.multicast = Groups("groups", 1 << 16, context, self._lock, self._note)
        self.clones = Groups("clones", SESSION_MASK + 1, context, self._lock, self._note)
        self._records = Records(compiled.records, context)
        self._output = Output(context)
        context.point("queue", np.zeros(compiled.record * QUEUE_LENGTH if context.has("queue") else 0, np.uint8))
        # The generator's state must not be zero, and similar seeds must not give similar states.
        context.set("random", (seed * 0x9E37_79B9_7F4A_7C15 + 0xD1B5_4A32_D192_ED03) % (1 << 64) or 1)

    def process(self, packets: Packets, now: int = 0) -> Packets:
        """Process a batch at time `now` in microseconds, and return the packets that leave, with their ports."""
        with self._lock:
            self.flush()
            context = self._context
            for name in ("data", "offsets", "lengths", "ports"):
                context.point(f"in.{name}", getattr(packets, name))
            context.set("in.count", len(packets))
            context.set("now", now)
            context.set("received", context.get("received") + len(packets))
            return self._output.collect(packets, lambda: self._process(context.address))

    def flush(self) -> None:
        """Write changes of tables and groups to native memory. Required before a batch; `process` does it itself."""
        with self._lock:
            for each in self._dirty.values():
                each.flush()
            self._dirty.clear()

    @property
    def native(self) -> tuple[int, Context]:
        """The address of the function that processes a batch, and its context, for native packet loops."""
        return self._running.address(self.compiled.entry), self._context

    def trace(self, on: bool) -> None:
        """Start or stop recording a trace of every packet for `traces`. This changes the function of `native`.

        The first start compiles the program once more, with tracing. State is shared by both versions.
        """
        compiled = self.compiled
        if on and self._traces is None:
            self._traces = Traces(self.program, compiled.traced.names, compiled.records, self._context)
        with self._lock:
            self._running = compiled.traced.native if on else compiled.native
            self._process = self._running.function(compiled.entry)

    def traces(self) -> list[Trace]:
        """Return the traces recorded since the last call, oldest first; empty if tracing was never started."""
        if self._traces is None:
            return []
        with self._lock:
            return self._traces.take()

    def digests(self) -> list[Digest]:
        """Return the digests sent since the last call."""
        with self._lock:
            taken = self._records.take()
        return self._records.digests(taken)

    def messages(self) -> list[str]:
        """Return what `log_msg`, `assert` and `assume` logged since the last call."""
        with self._lock:
            taken = self._records.take()
        return self._records.messages(taken)

    @property
    def assertions(self) -> int:
        """The number of `assert` and `assume` calls that failed."""
        return self._context.get("assertions")

    @property
    def stats(self) -> Stats:
        """The current counts."""
        with self._lock:
            context = self._context
            return Stats(
                received=context.get("received"),
                sent=context.get("sent"),
                dropped={reason: context.get(f"dropped.{reason}") for reason in DROPS},
                digests_lost=context.get("digests.lost"),
                messages_lost=context.get("log.lost"),
                assertions=context.get("assertions"),
            )

    def _note(self, changed: Table | Groups) -> None:
        self._dirty[changed.name] = changed
