"""The native code of a program, and the memory layout that it expects.

The code gets its memory as an argument of each call, so any number of engines can run it, each with its own state.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from midflight.p4 import ir
from midflight.runtime.engine.jit import Native
from midflight.runtime.engine.noting import SLOTS
from midflight.runtime.engine.pipeline import lower_program
from midflight.runtime.engine.queue import Queue
from midflight.runtime.engine.trafficmanager import SLOTS as MANAGER_SLOTS

__all__ = ["Compiled", "Variant"]


class Compiled:
    """The native code of a checked program. Raises P4Error for a construct that the engine does not support.

    LLVM works in a thread of its own, so that the caller can do other things until it needs `native`. The function
    named `entry` of `native` processes a batch. `slots` is the layout of its context, the block of memory
    that it works on. `layouts` are the layouts of table entries by the fully qualified names of the tables, and
    `members` those of members of action profiles. `records` are the kinds of digest and log message that it sends, and
    `record` is the size in bytes of a packet that waits for another round. `queued` is whether the program asks for
    queues between ingress and egress; `native` then has them. `timed` is whether `native` uses the arrival times of
    packets. Can be pickled.

    With `plain_traces`, LLVM does not optimise code that records traces. It is slower, and there to be compared with.
    """

    def __init__(self, program: ir.Program, *, plain_traces: bool = False) -> None:
        lowered = lower_program(program)
        unit = lowered.unit
        for each in ("now", "received", "digests.used", *SLOTS):
            unit.slots.offset(each)
        for each, size in MANAGER_SLOTS.items():
            unit.slots.offset(each, size)
        self.program = program
        self.entry = lowered.entry
        self.slots = unit.slots
        tables = {**program.tables, **program.value_sets}
        self.layouts = {name: lowered.tables.layout(unit, table) for name, table in tables.items()}
        self.members = {
            each.name: lowered.tables.member_layout(unit, each)
            for each in program.instances.values()
            if each.kind in ("action_profile", "action_selector")
        }
        self.records = unit.records
        self.record = Queue(unit).record
        self.queued, self.timed = lowered.queued, lowered.timed
        self._plain_traces = plain_traces
        self._native = _generate(str(unit.module))
        self._variants: dict[tuple[bool, bool], Variant] = {}

    @property
    def native(self) -> Native:
        """The machine code; waits until LLVM has made it."""
        return self._native.result()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_native": self.native, "_variants": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        native: Future[Native] = Future()
        native.set_result(state["_native"])
        self.__dict__.update(state, _native=native)

    def variant(self, *, traced: bool = False, queued: bool = False) -> Variant:
        """Return the code of the same program, for the same memory, that records traces if `traced` and has queues if
        `queued`.

        The first call for a variant compiles it, which blocks; later ones return the same object. Without either, it is
        `native`. A program that asks for queues always has them. Raises P4Error for a construct that the engine does
        not support.
        """
        queued = queued or self.queued
        if not traced and queued == self.queued:
            return Variant(self.native, queued, self.timed, [])
        if (traced, queued) not in self._variants:
            size = self.slots.size
            lowered = lower_program(self.program, self.slots, traced=traced, queued=queued)
            assert self.slots.size == size, "all variants of a program need the same context"
            native = Native(str(lowered.unit.module), optimised=not (traced and self._plain_traces))
            self._variants[traced, queued] = Variant(native, queued, lowered.timed, lowered.unit.names or [])
        return self._variants[traced, queued]


@dataclass(frozen=True, slots=True)
class Variant:
    """One form of a compiled program: its native code, whether it has queues (`queued`), whether it uses the arrival
    times of packets (`timed`), and the `names` of parser states and tables, for trace records.
    """

    native: Native
    queued: bool
    timed: bool
    names: list[str]


def _generate(text: str) -> Future[Native]:
    """Compile an LLVM module in a thread, which releases the interpreter's lock for nearly all of its time."""
    made: Future[Native] = Future()

    def work() -> None:
        try:
            made.set_result(Native(text))
        except BaseException as error:
            made.set_exception(error)

    threading.Thread(target=work, name="LLVM").start()
    return made
