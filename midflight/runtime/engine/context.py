"""The context of native code: one block of memory with every pointer and number that it needs, in named slots.

Lowering requests a slot by name and emits loads from it. The control side writes a pointer or number to the slot with
the same name. Code contains no addresses, so one compiled program can run with many contexts, and a target without
pointers into the host (BPF) can resolve slots in its own way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from midflight.runtime.engine.layout import align

__all__ = ["Context", "Heap", "Slots"]


class Slots:
    """The names of a context's slots with their offsets in bytes, assigned in the order of first use.

    `size` is the number of bytes of all slots.
    """

    def __init__(self) -> None:
        self._offsets: dict[str, int] = {}
        self.size = 0

    def offset(self, name: str, size: int = 8) -> int:
        """Return the offset of a slot in bytes.

        A new name gets a slot of `size` bytes, rounded up to a multiple of 8.
        """
        if name not in self._offsets:
            self._offsets[name] = self.size
            self.size += align(size, 8)
        return self._offsets[name]

    @property
    def offsets(self) -> Mapping[str, int]:
        """The offsets of all slots so far, by name."""
        return self._offsets


class Heap(Protocol):
    """The allocator of the arrays that a context points to, if native code cannot use this process's own memory."""

    def zeros(self, shape: int | tuple[int, ...], kind: Any) -> NDArray[Any]:
        """Return a new array of zeros in the heap. DeviceError if the heap is full."""

    def place(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the array itself if it is in the heap, or else a copy that is. DeviceError if the heap is full."""

    def give(self, address: int) -> None:
        """Free the array at an address once native code no longer uses it. Other addresses are ignored."""

    def exchange(self, target: NDArray[Any], source: NDArray[Any]) -> None:
        """Copy between two arrays of the same size, one of which is in the heap, while native code uses neither.

        DeviceError if native code does not let go of them.
        """


class Context:
    """A block of memory with a value for each slot, at `address` and initially zero.

    It keeps the arrays alive that its slots point to. With a `heap`, these arrays are there, and native code that runs
    at any time may write to arrays from `zeros`.
    """

    def __init__(self, slots: Slots, heap: Heap | None = None) -> None:
        self.heap = heap
        self._offsets = dict(slots.offsets)
        self.memory: NDArray[np.uint8] = np.zeros(max(slots.size, 8), np.uint8)
        self._words: NDArray[np.uint64] = self.memory.view(np.uint64)
        self._alive: dict[str, NDArray[np.generic]] = {}
        self.address = self.memory.ctypes.data

    def zeros(self, shape: int | tuple[int, ...], kind: Any) -> NDArray[Any]:
        """Return a new array of zeros for `point`, through which both sides see what the other one writes."""
        return np.zeros(shape, kind) if self.heap is None else self.heap.zeros(shape, kind)

    def fetch(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a copy of a contiguous part of an array from `zeros`, between packets.

        DeviceError if packets in the kernel do not let go of it.
        """
        if self.heap is None:
            return array.copy()
        copy = np.empty_like(array)
        self.heap.exchange(copy, array)
        return copy

    def put(self, array: NDArray[Any], values: NDArray[Any]) -> None:
        """Overwrite a contiguous part of an array from `zeros`, between packets.

        DeviceError if packets in the kernel do not let go of it.
        """
        if self.heap is None:
            array[...] = values
        else:
            self.heap.exchange(array, np.ascontiguousarray(np.broadcast_to(values, array.shape), array.dtype))

    def has(self, name: str) -> bool:
        """Return whether native code uses the slot of this name."""
        return name in self._offsets

    def offset(self, name: str) -> int:
        """Return the offset of a slot in bytes. Raises KeyError for a slot that native code does not use."""
        return self._offsets[name]

    def set(self, name: str, value: int) -> None:
        """Write a number to a 64-bit slot. Does nothing for a slot that native code does not use."""
        if (offset := self._offsets.get(name)) is not None:
            self._words[offset >> 3] = value

    def get(self, name: str) -> int:
        """Return the number in a 64-bit slot, unsigned; 0 for a slot that native code does not use."""
        offset = self._offsets.get(name)
        return 0 if offset is None else int(self._words[offset >> 3])

    def point(self, name: str, array: NDArray[np.generic]) -> None:
        """Set a slot to the address of an array's first element, and keep the array alive."""
        if self.heap is not None:
            array = self._in_heap(name, array)
        self._alive[name] = array
        # Ten times as fast as array.ctypes.data, which matters for batches of one packet.
        self.set(name, array.__array_interface__["data"][0])

    def _in_heap(self, name: str, array: NDArray[np.generic]) -> NDArray[np.generic]:
        assert self.heap is not None
        placed = self.heap.place(array)
        before = self._alive.get(name)
        if before is not None and before is not placed:
            self.heap.give(before.__array_interface__["data"][0])
        return placed
