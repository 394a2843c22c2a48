"""A P4 program's registers as the control plane sees them."""

from __future__ import annotations

from operator import index

import numpy as np
from numpy.typing import ArrayLike, NDArray

from midflight.errors import DeviceError
from midflight.p4 import ir
from midflight.runtime.engine.context import Context
from midflight.runtime.engine.externs.registers import size_of
from midflight.runtime.engine.gate import Gate
from midflight.runtime.engine.layout import is_signed, scalar_width, stored_width

__all__ = ["Register"]


class Register:
    """A P4 register array: `size` elements of `width` bits, in the memory that native code uses.

    Values are signed if the element type is int<W>. Methods take the engine's lock, so they wait for the current batch.
    They raise DeviceError for an index that is not 0 to `size` - 1, for a value that does not fit `width` bits, and on
    XDP if packets keep the registers busy.
    """

    def __init__(self, instance: ir.Instance, context: Context, lock: Gate) -> None:
        self.name = instance.name
        self.size = size_of(instance)
        self.width = scalar_width(instance.type_arguments[0])
        self.signed = is_signed(instance.type_arguments[0])
        self._lock = lock
        self._context = context
        stored = stored_width(self.width)
        self._words = max(1, stored // 64)
        kind = np.dtype(f"{'i' if self.signed else 'u'}{min(stored, 64) // 8}")
        self._memory: NDArray[np.generic] = context.zeros((max(self.size, 1), self._words), kind)
        context.point(instance.name, self._memory)

    def __len__(self) -> int:
        return self.size

    def read(self, index: int) -> int:
        """Return the element at `index`, 0 to `size` - 1, as an int. DeviceError if the index is out of range."""
        self._check_index(index)
        with self._lock:
            return int.from_bytes(self._context.fetch(self._memory[index]).tobytes(), "little", signed=self.signed)

    def write(self, index: int, value: int) -> None:
        """Set the element at `index`, 0 to `size` - 1. DeviceError if the index is out of range or the value does not
        fit.
        """
        self._check_index(index)
        self._check_value(value)
        size = self._memory.itemsize * self._words
        with self._lock:
            packed = np.frombuffer(value.to_bytes(size, "little", signed=self.signed), self._memory.dtype)
            self._context.put(self._memory[index], packed)

    def read_all(self) -> NDArray[np.generic]:
        """Return a copy of all elements as an array, with shape (size,) for elements of at most 64 bits.

        For wider ones it has the shape (size, words), with 64-bit words, the lowest first. DeviceError on XDP if
        packets keep the registers busy.
        """
        with self._lock:
            whole = self._context.fetch(self._memory[: self.size])
        return whole[:, 0] if self._words == 1 else whole

    def write_all(self, values: ArrayLike) -> None:
        """Set all elements at once, from an array like that of `read_all` or any sequence of `size` ints.

        DeviceError if there are not `size` of them, or if one is not an integer or does not fit; then nothing is
        written. The words of an array with the shape (size, words) are not checked.
        """
        # NumPy would round a list with ints on both sides of 2**63 to floats.
        given = values if isinstance(values, np.ndarray) else np.array(values, dtype=object)
        if self._words > 1 and given.shape == (self.size, self._words):
            with self._lock:
                self._context.put(self._memory[: self.size], given.astype(self._memory.dtype))
            return
        if given.shape != (self.size,):
            raise DeviceError(f"{self.name} has {self.size} elements, not {'x'.join(map(str, given.shape))}")
        if given.dtype == self._memory.dtype and self.size:
            for extreme in (given.min(), given.max()):
                self._check_value(int(extreme))
            with self._lock:
                self._context.put(self._memory[: self.size], given.reshape(-1, 1))
            return
        try:
            numbers = [index(each) for each in given.tolist()]
        except TypeError:
            raise DeviceError(f"{self.name} holds integers") from None
        for each in (min(numbers, default=0), max(numbers, default=0)):
            self._check_value(each)
        size = self._memory.itemsize * self._words
        packed = b"".join(each.to_bytes(size, "little", signed=self.signed) for each in numbers)
        with self._lock:
            whole = np.frombuffer(packed, self._memory.dtype).reshape(self.size, self._words)
            self._context.put(self._memory[: self.size], whole)

    def clear(self) -> None:
        """Set all elements to zero, in one step. DeviceError on XDP if packets keep the registers busy."""
        with self._lock:
            self._context.put(self._memory, np.zeros(1, self._memory.dtype))

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self.size:
            raise DeviceError(f"{self.name} has elements 0 to {self.size - 1}, not {index}")

    def _check_value(self, value: int) -> None:
        low = -(1 << (self.width - 1)) if self.signed else 0
        if not low <= value < low + (1 << self.width):
            raise DeviceError(f"{self.name}: {value} does not fit {'int' if self.signed else 'bit'}<{self.width}>")
