"""A P4 program's meters as the control plane sees them: rates and bursts of two-rate three-colour meters (RFC 2698)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from midflight.errors import DeviceError
from midflight.p4 import ir
from midflight.runtime.engine.context import Context
from midflight.runtime.engine.counters import CounterValue, check_count
from midflight.runtime.engine.externs.meters import (
    CBURST,
    CIR,
    COLOURS,
    COUNTS,
    CTOKENS,
    PBURST,
    PIR,
    PTOKENS,
    SET,
    WORDS,
)
from midflight.runtime.engine.externs.registers import size_of
from midflight.runtime.engine.gate import Gate

__all__ = ["DirectMeter", "Meter", "MeterConfig", "MeterCounts"]

MILLION = 1_000_000
LIMIT = 1 << 43


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """Committed (`cir`) and peak rate (`pir`) in units per second, and their bursts (`cburst`, `pburst`) in units.

    A unit is a byte or a packet, as the program declares the meter. All four are 0 to 2**43 - 1, which `Meter.write`
    checks.
    """

    cir: int
    cburst: int
    pir: int
    pburst: int


@dataclass(frozen=True, slots=True)
class MeterCounts:
    """The packets and bytes that a meter marked with each colour: `green`, `yellow` and `red`.

    A cell without a configuration marks every packet green.
    """

    green: CounterValue
    yellow: CounterValue
    red: CounterValue


class _Cells:
    """The array of a meter's cells."""

    def __init__(self, name: str, size: int, context: Context) -> None:
        self.name = name
        self._context = context
        self._memory: NDArray[np.uint64] = context.zeros((max(size, 1), WORDS), np.uint64)
        context.point(name, self._memory)

    def _set(self, index: int, config: MeterConfig | None) -> None:
        cell = self._memory[index]
        if config is None:
            cell[:COUNTS] = 0
            return
        for each in (config.cir, config.cburst, config.pir, config.pburst):
            if not 0 <= each < LIMIT:
                raise DeviceError(f"{self.name}: rates and bursts are 0 to {LIMIT - 1}")
        cell[:COUNTS] = 0
        for at, number in ((CIR, config.cir), (CBURST, config.cburst), (PIR, config.pir), (PBURST, config.pburst)):
            cell[at] = number
        cell[CTOKENS], cell[PTOKENS], cell[SET] = config.cburst * MILLION, config.pburst * MILLION, 1

    def _get(self, index: int) -> MeterConfig | None:
        cell = self._memory[index]
        return MeterConfig(*(int(cell[at]) for at in (CIR, CBURST, PIR, PBURST))) if cell[SET] else None

    def _counts(self, index: int) -> MeterCounts:
        counts = self._memory[index, COUNTS : COUNTS + 2 * COLOURS].tolist()
        return MeterCounts(*(CounterValue(*counts[at : at + 2]) for at in range(0, 2 * COLOURS, 2)))

    def _set_counts(self, index: int, counts: MeterCounts) -> None:
        for each in (counts.green, counts.yellow, counts.red):
            check_count(self.name, each)
        values = [number for each in (counts.green, counts.yellow, counts.red) for number in (each.packets, each.bytes)]
        self._memory[index, COUNTS : COUNTS + 2 * COLOURS] = values


class Meter(_Cells):
    """A P4 `meter` array of `size` cells. A cell without a configuration marks every packet green.

    Methods take the engine's lock, so they wait for the current batch.
    """

    def __init__(self, instance: ir.Instance, context: Context, lock: Gate) -> None:
        self.size = size_of(instance)
        self._lock = lock
        super().__init__(instance.name, self.size, context)

    def read(self, index: int) -> MeterConfig | None:
        """Return the configuration of a cell, or None if it has none. Raises DeviceError for an index out of range."""
        self._check(index)
        with self._lock:
            return self._get(index)

    def write(self, index: int, config: MeterConfig | None) -> None:
        """Configure a cell, with full token buckets, or remove its configuration with None.

        DeviceError if the index is not 0 to `size` - 1, or a rate or burst not 0 to 2**43 - 1.
        """
        self._check(index)
        with self._lock:
            self._set(index, config)

    def counts(self, index: int) -> MeterCounts:
        """Return the packets and bytes of a cell by colour. Raises DeviceError for an index out of range."""
        self._check(index)
        with self._lock:
            return self._counts(index)

    def set_counts(self, index: int, counts: MeterCounts) -> None:
        """Set the packets and bytes of a cell by colour.

        DeviceError for an index out of range, or a count that is not 0 to 2**64 - 1.
        """
        self._check(index)
        with self._lock:
            self._set_counts(index, counts)

    def _check(self, index: int) -> None:
        if not 0 <= index < self.size:
            raise DeviceError(f"{self.name} has cells 0 to {self.size - 1}, not {index}")


class DirectMeter(_Cells):
    """A P4 `direct_meter`: one cell for each entry of its table, by the entry's number.

    `most` is the largest number of entries that the table can have. The caller holds the engine's lock. Numbers are not
    checked: `grow` makes room for them.
    """

    def __init__(self, instance: ir.Instance, context: Context, most: int) -> None:
        super().__init__(instance.name, 8 if context.heap is None else most, context)

    def read(self, number: int) -> MeterConfig | None:
        """Return the configuration of an entry, or None if it has none. `number` is `Table.number(keys, priority)`."""
        return self._get(number)

    def write(self, number: int, config: MeterConfig | None) -> None:
        """Configure the meter of an entry, with full token buckets, or remove its configuration with None.

        DeviceError if a rate or burst is not 0 to 2**43 - 1.
        """
        self._set(number, config)

    def counts(self, number: int) -> MeterCounts:
        """Return the packets and bytes of an entry by colour. `number` is `Table.number(keys, priority)`."""
        return self._counts(number)

    def set_counts(self, number: int, counts: MeterCounts) -> None:
        """Set the packets and bytes of an entry by colour. `number` is `Table.number(keys, priority)`.

        DeviceError for a count that is not 0 to 2**64 - 1.
        """
        self._set_counts(number, counts)

    def reset(self, number: int) -> None:
        """Remove the meter configuration and the counts of the entry with this number, which is new."""
        self._memory[number] = 0

    def grow(self, size: int) -> None:
        """Make room for entries with the numbers 0 to `size` - 1; existing configurations remain. Never shrinks."""
        if size > len(self._memory):
            memory = self._context.zeros((size, WORDS), np.uint64)
            memory[: len(self._memory)] = self._memory
            self._memory = memory
            self._context.point(self.name, self._memory)
