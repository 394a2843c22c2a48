"""A P4 program's counters as the control plane sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from midflight.errors import DeviceError
from midflight.p4 import ir
from midflight.runtime.engine.context import Context
from midflight.runtime.engine.externs.registers import size_of
from midflight.runtime.engine.gate import Gate

__all__ = ["Counter", "CounterValue", "DirectCounter", "check_count"]


@dataclass(frozen=True, slots=True)
class CounterValue:
    """The number of packets, and of bytes in them, that were counted."""

    packets: int
    bytes: int


def check_count(name: str, value: CounterValue) -> None:
    """Raise DeviceError, with the counter's or meter's name, unless both counts are 0 to 2**64 - 1."""
    if not (0 <= value.packets < 1 << 64 and 0 <= value.bytes < 1 << 64):
        raise DeviceError(f"{name}: a count is 0 to 2**64 - 1, not {value.packets} packets, {value.bytes} bytes")


class _Counts:
    """The two arrays of a counter. Both are maintained for every type of counter."""

    def __init__(self, name: str, size: int, context: Context) -> None:
        self.name = name
        self._context = context
        self._packets: NDArray[np.uint64] = context.zeros(max(size, 1), np.uint64)
        self._bytes: NDArray[np.uint64] = context.zeros(max(size, 1), np.uint64)
        self._point()

    def _point(self) -> None:
        self._context.point(f"{self.name}.packets", self._packets)
        self._context.point(f"{self.name}.bytes", self._bytes)


class Counter(_Counts):
    """A P4 `counter` array of `size` cells, each with a number of packets and of bytes.

    Methods take the engine's lock, so they wait for the current batch.
    """

    def __init__(self, instance: ir.Instance, context: Context, lock: Gate) -> None:
        self.size = size_of(instance)
        self._lock = lock
        super().__init__(instance.name, self.size, context)

    def __len__(self) -> int:
        return self.size

    @property
    def packets(self) -> NDArray[np.uint64]:
        """A copy of all cells' packet counts, with shape (size,)."""
        with self._lock:
            return self._packets[: self.size].copy()

    @property
    def bytes(self) -> NDArray[np.uint64]:
        """A copy of all cells' byte counts, with shape (size,)."""
        with self._lock:
            return self._bytes[: self.size].copy()

    def read(self, index: int) -> CounterValue:
        """Return the counts of one cell. Raises DeviceError for an index out of range."""
        self._check(index)
        with self._lock:
            return CounterValue(int(self._packets[index]), int(self._bytes[index]))

    def write(self, index: int, value: CounterValue) -> None:
        """Set the counts of one cell. DeviceError for an index out of range, or a count that is not 0 to 2**64 - 1."""
        self._check(index)
        check_count(self.name, value)
        with self._lock:
            self._packets[index], self._bytes[index] = value.packets, value.bytes

    def clear(self) -> None:
        """Set the counts of all cells to zero."""
        with self._lock:
            self._packets[:] = 0
            self._bytes[:] = 0

    def _check(self, index: int) -> None:
        if not 0 <= index < self.size:
            raise DeviceError(f"{self.name} has cells 0 to {self.size - 1}, not {index}")


class DirectCounter(_Counts):
    """A P4 `direct_counter`: one cell for each entry of its table, by the entry's number.

    `most` is the largest number of entries that the table can have. The caller holds the engine's lock. Numbers are not
    checked: `grow` makes room for them.
    """

    def __init__(self, instance: ir.Instance, context: Context, most: int) -> None:
        super().__init__(instance.name, 8 if context.heap is None else most, context)

    def read(self, number: int) -> CounterValue:
        """Return the counts of the entry with this number, which is `Table.number(keys, priority)`."""
        return CounterValue(int(self._packets[number]), int(self._bytes[number]))

    def write(self, number: int, value: CounterValue) -> None:
        """Set the counts of the entry with this number, which is `Table.number(keys, priority)`.

        DeviceError for a count that is not 0 to 2**64 - 1.
        """
        check_count(self.name, value)
        self._packets[number], self._bytes[number] = value.packets, value.bytes

    def reset(self, number: int) -> None:
        """Set the counts of a new entry, by its number, to zero. `number` is `Table.number(keys, priority)`."""
        self.write(number, CounterValue(0, 0))

    def grow(self, size: int) -> None:
        """Make room for entries with the numbers 0 to `size` - 1; existing counts remain. Never shrinks."""
        if size > self._packets.size:
            packets, octets = (self._context.zeros(size, np.uint64) for _ in range(2))
            packets[: self._packets.size], octets[: self._bytes.size] = self._packets, self._bytes
            self._packets, self._bytes = packets, octets
            self._point()
