"""A program made native: its code, and what that assumes of memory.

The code is given its memory each time it is called, so that any number of engines may run it, each on its own state.
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
    """A checked program's native code; P4Error names a construct that the engine does not support.

    The function `entry` of `native` works off a batch. `layouts` are those of the tables' entries, by the tables'
    fully qualified names, and `record` the bytes of a packet that waits to go round again.
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
        self.digests = unit.digests
        self.record = Queue(unit).record
        self.native = Native(str(unit.module))

    def __getstate__(self) -> dict[str, object]:
        return {name: each for name, each in self.__dict__.items() if name != "traced"}

    @cached_property
    def traced(self) -> Traced:
        """The same program on the same memory, noting down every packet's way; compiled when first asked for."""
        return Traced(self)


class Traced:
    """A program's code that takes notes, and the `names` that those tell."""

    def __init__(self, of: Compiled) -> None:
        size = of.slots.size
        lowered = lower_program(of.program, of.slots)
        assert of.slots.size == size, "a traced program asks for what its context does not have"
        self.names = lowered.unit.names or []
        self.native = Native(str(lowered.unit.module))
