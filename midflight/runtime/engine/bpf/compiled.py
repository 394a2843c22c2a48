"""A checked program as an object file for BPF, with the memory layout that it expects."""

from __future__ import annotations

from contextlib import suppress

from midflight.errors import P4Error, Place
from midflight.p4 import ir
from midflight.runtime.engine.bpf.codegen import CodegenError, emit_apart
from midflight.runtime.engine.bpf.elf import ObjectFile, read_object
from midflight.runtime.engine.bpf.lines import line_of, lines
from midflight.runtime.engine.bpf.pipeline import lower_program
from midflight.runtime.engine.bpf.target import Bpf
from midflight.runtime.engine.pipeline import QUEUE_FIELDS
from midflight.runtime.engine.queue import Queue

__all__ = ["BpfCompiled"]

# The longest LLVM code, in characters, of which a second version is made that is a single function.
_SHORT = 200_000
_STATEFUL = ("register", "meter", "direct_meter")


class BpfCompiled:
    """A checked program, compiled for BPF.

    `files` are the object files to try, the faster one first. `slots` is the layout of the settings and `locals` that
    of a processor's block of `block` bytes. `layouts`, `members` and `records` are as in the native `Compiled`;
    `constants` are the constant arrays by name, as their width in bits and their numbers. `queued` is the bytes of a
    packet that waits for another round, or 0 if there is none.

    A program with registers or meters is `exclusive`: one processor at a time runs it, so that packets see each other's
    changes in whole.

    Raises P4Error for a construct that the engine does not support, for fields that only queues determine, and for idle
    timeouts; CodegenError for code that BPF cannot express.
    """

    def __init__(self, program: ir.Program) -> None:
        self.program = program
        self.exclusive = any(each.kind in _STATEFUL for each in program.instances.values())
        target = Bpf(exclusive=self.exclusive)
        lowered = lower_program(program, target)
        unit = lowered.unit
        if queued := unit.touched & QUEUE_FIELDS:
            raise P4Error(
                f"an XDP program has no queues between ingress and egress, which determine {', '.join(sorted(queued))}",
                hint="Run the program on the embedded switch.",
            )
        if timed := [name for name, each in program.tables.items() if each.idle_timeout]:
            raise P4Error(
                f"an XDP program does not store when entries are hit, as the idle timeouts of {timed[0]} need",
                hint="Run the program on the embedded switch.",
            )
        for name in target.constants:
            unit.slots.offset(f"constant.{name}")
        self.slots, self.locals, self.constants = unit.slots, target.locals, target.constants
        tables = {**program.tables, **program.value_sets}
        self.layouts = {name: lowered.tables.layout(unit, table) for name, table in tables.items()}
        self.members = {
            each.name: lowered.tables.member_layout(unit, each)
            for each in program.instances.values()
            if each.kind in ("action_profile", "action_selector")
        }
        self.records = unit.records
        self.queued = Queue(unit).record if "queue" in target.used else 0
        text, faster = str(unit.module), ""
        if not self.queued and len(text) < _SHORT:
            direct = Bpf(direct=True, exclusive=self.exclusive, locals=target.locals, constants=target.constants)
            faster = str(lower_program(program, direct, unit.slots).unit.module)
        start = target.locals.size
        data, scratch = emit_apart(text, start)
        self.files = [read_object(data, "xdp")]
        if faster:
            with suppress(CodegenError):
                data, more = emit_apart(faster, start, inline=True)
                self.files.insert(0, read_object(data, "xdp"))
                scratch = max(scratch, more)
        self.block = start + scratch
        self._places = target.places

    def place(self, file: ObjectFile, offset: int) -> Place | None:
        """Return the place in the P4 from which an instruction of an object file comes, or None if it is unknown.

        `offset` is the instruction's offset in bytes in the file's code.
        """
        line = line_of(lines(file.others.get(".BTF.ext", b"")), offset)
        return self._places[line - 1] if line else None
