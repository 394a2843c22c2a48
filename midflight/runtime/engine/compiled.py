"""Native code of a program, and the memory layout that it expects.

The code gets its memory as an argument of each call, so any number of engines can run it, each with its own state.
"""

from __future__ import annotations

from functools import cached_property

from midflight.p4 import ir
from midflight.runtime.engine.jit import Native
from midflight.runtime.engine.noting import SLOTS
from midflight.runtime.engine.pipeline import lower_program
from midflight.runtime.engine.queue import Queue

__all__ = ["Compiled", "Traced"]


class Compiled:
    """The native code of a checked program. Raises P4Error for a construct that the engine does not support.

    The function `entry` of `native` processes a batch. `slots` is the layout of its context. `layouts` are the layouts
    of table entries by the fully qualified names of the tables. `records` are the kinds of digest and log message that
    it sends, and `record` is the size in bytes of a packet that waits for another round.
    """

    def __init__(self, program: ir.Program) -> None:
        lowered = lower_program(program)
        unit = lowered.unit
        for each in ("now", "received", "digests.used", *SLOTS):
            unit.slots.offset(each)
        self.program = program
        self.entry = lowered.entry
        self.slots = unit.slots
        self.layouts = {name: lowered.tables.layout(unit, table) for name, table in program.tables.items()}
        self.records = unit.records
        self.record = Queue(unit).record
        self.native = Native(str(unit.module))

    def __getstate__(self) -> dict[str, object]:
        return {name: each for name, each in self.__dict__.items() if name != "traced"}

    @cached_property
    def traced(self) -> Traced:
        """The same program for the same memory, which also records traces. Compiled on first use."""
        return Traced(self)


class Traced:
    """The code of a program that records traces, and the `names` that they refer to."""

    def __init__(self, of: Compiled) -> None:
        size = of.slots.size
        lowered = lower_program(of.program, of.slots)
        assert of.slots.size == size, "a traced program needs the same context"
        self.names = lowered.unit.names or []
        self.native = Native(str(lowered.unit.module))
