"""The engine: a checked program, running natively, with everything that a control plane changes and reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from midflight.p4 import ir
from midflight.runtime.engine.batch import Output
from midflight.runtime.engine.compiled import Compiled
from midflight.runtime.engine.context import Context
from midflight.runtime.engine.counters import Counter
from midflight.runtime.engine.digests import Digest, Ring
from midflight.runtime.engine.externs.traffic import SESSION_MASK
from midflight.runtime.engine.gate import Gate
from midflight.runtime.engine.groups import Groups
from midflight.runtime.engine.memory import DEFAULT, Budget, demand
from midflight.runtime.engine.meters import Meter
from midflight.runtime.engine.packets import Packets
from midflight.runtime.engine.pipeline import DROPS
from midflight.runtime.engine.queue import QUEUE_LENGTH
from midflight.runtime.engine.registers import Register
from midflight.runtime.engine.tables import Table
from midflight.runtime.engine.traces import Trace, Traces

__all__ = ["Engine", "Stats"]


@dataclass(frozen=True, slots=True)
class Stats:
    """What has happened since the engine was made.

    `dropped` counts by reason: `ingress` and `egress` (by the program), `replicas` (a group without members), `memory`,
    `queue` and `rounds` (packets going round again beyond the bounds). `assertions` counts `assert` and `assume` that
    did not hold, `digests_lost` digests for which there was no room.
    """

    received: int
    sent: int
    dropped: Mapping[str, int]
    digests_lost: int
    assertions: int


class Engine:
    """A v1model program made native.

    `tables`, `registers`, `counters` and `meters` go by fully qualified name. Changes take effect between two batches.
    P4Error names a construct that the engine does not support. `cpu_port` is only kept for those around the engine.
    `gate` is the lock to hold while anything changes, one of its own by default. `compiled` is the program's code where
    another engine has it already: each has a state of its own. `memory` is how many bytes registers, counters, meters,
    table entries and the like may take; BudgetError where the program needs more from the start.
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
        assert compiled.program is program, "that is another program's code"
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
        self._ring = Ring(compiled.digests, context)
        self._output = Output(context)
        context.point("queue", np.zeros(compiled.record * QUEUE_LENGTH if context.has("queue") else 0, np.uint8))
        # Any state but zero will do for the generator; neighbouring seeds must not give neighbouring states.
        context.set("random", (seed * 0x9E37_79B9_7F4A_7C15 + 0xD1B5_4A32_D192_ED03) % (1 << 64) or 1)

    def process(self, packets: Packets, now: int = 0) -> Packets:
        """Run a batch through the program at time `now` (microseconds); return what goes out, with its ports."""
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
        """Bring native memory up to date with tables and groups: every batch needs that, `process` does it."""
        with self._lock:
            for each in self._dirty.values():
                each.flush()
            self._dirty.clear()

    @property
    def native(self) -> tuple[int, Context]:
        """The address of the function that works off a batch, and the context it takes: for native loops."""
        return self._running.address(self.compiled.entry), self._context

    def trace(self, on: bool) -> None:
        """Note down every packet's way from now on, for `traces`, or no more. `native` is another function then.

        It is the same program on the same memory, compiled once more when this is first asked for.
        """
        compiled = self.compiled
        if on and self._traces is None:
            self._traces = Traces(self.program, compiled.traced.names, compiled.digests, self._context)
        with self._lock:
            self._running = compiled.traced.native if on else compiled.native
            self._process = self._running.function(compiled.entry)

    def traces(self) -> list[Trace]:
        """Return the ways of the packets since the last call, where they were traced."""
        if self._traces is None:
            return []
        with self._lock:
            return self._traces.take()

    def digests(self) -> list[Digest]:
        """Return the digests sent since the last call."""
        with self._lock:
            taken = self._ring.take()
        return self._ring.read(taken)

    @property
    def stats(self) -> Stats:
        """The engine's own counts."""
        with self._lock:
            context = self._context
            return Stats(
                received=context.get("received"),
                sent=context.get("sent"),
                dropped={reason: context.get(f"dropped.{reason}") for reason in DROPS},
                digests_lost=context.get("digests.lost"),
                assertions=context.get("assertions"),
            )

    def _note(self, changed: Table | Groups) -> None:
        self._dirty[changed.name] = changed
