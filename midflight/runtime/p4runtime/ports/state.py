"""The state of a program as plain values: counters, registers and the entries' counters, without what is zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from midflight.runtime.engine import Backend, Entry
from midflight.runtime.engine.counters import CounterValue

__all__ = ["EntryCount", "ProgramState", "state_of"]


@dataclass(frozen=True, slots=True)
class EntryCount:
    """The packets and bytes that the direct counter of a table entry has counted."""

    counter: str
    table: str
    entry: Entry
    value: CounterValue


@dataclass(frozen=True, slots=True)
class ProgramState:
    """The counters and registers of a program, without cells that are zero: by name, then by index of the cell."""

    counters: dict[str, dict[int, CounterValue]]
    entries: list[EntryCount]
    registers: dict[str, dict[int, int]]


def state_of(engine: Backend) -> ProgramState:
    """Return the state of the program that an engine runs, as it is now."""
    counters = {}
    for name, counter in engine.counters.items():
        cells = np.flatnonzero(counter.packets | counter.bytes).tolist()
        if cells:
            counters[name] = {cell: counter.read(cell) for cell in cells}
    entries = []
    for name, table in engine.tables.items():
        for direct, counts in table.direct_counters.items():
            for entry in table.entries():
                value = counts.read(table.number(entry.keys, entry.priority))
                if value.packets or value.bytes:
                    entries.append(EntryCount(direct, name, entry, value))
    registers = {}
    for name, register in engine.registers.items():
        whole = np.atleast_1d(register.read_all()).reshape(len(register), -1)
        cells = np.flatnonzero(whole.any(axis=1)).tolist() if len(register) else []
        if cells:
            registers[name] = {cell: register.read(cell) for cell in cells}
    return ProgramState(counters, entries, registers)
