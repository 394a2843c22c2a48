"""Where a batch's output goes: arrays that native code fills, and that grow when it asks."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from midflight.runtime.engine.context import Context
from midflight.runtime.engine.output import MAX_OUTPUT
from midflight.runtime.engine.packets import Packets

__all__ = ["Output"]

COLUMNS = {"offsets": np.uint32, "lengths": np.uint32, "ports": np.uint16, "sources": np.uint32}


class Output:
    """Arrays for one batch after the other.

    They are made a little larger than the last batches needed. When they are too small after all, native code calls
    back and gets larger ones; what it still reads from the old ones stays alive until the batch has ended.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._outgrown: list[NDArray[np.uint8]] = []
        self._bytes_factor, self._count_factor = 1.25, 1.25
        self._grow = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_uint64)(self._more)
        address = ctypes.cast(self._grow, ctypes.c_void_p).value
        assert address is not None
        context.set("out.grow", address)

    def collect(self, packets: Packets, run: Callable[[], None]) -> Packets:
        """Run native code on a batch and return what it put out."""
        context = self._context
        given = packets.bytes + 64 * len(packets)
        self._make(int(given * self._bytes_factor) + 4096, int(len(packets) * self._count_factor) + 16)
        context.set("out.used", 0)
        context.set("out.count", 0)
        run()
        self._outgrown.clear()
        used, count = context.get("out.used"), context.get("out.count")
        if given:
            self._bytes_factor = max(self._bytes_factor, 1.25 * used / given)
            self._count_factor = max(self._count_factor, 1.25 * count / len(packets))
        columns = {name: array[:count] for name, array in self._columns.items()}
        return Packets(self._data[:used], **columns)

    def _make(self, size: int, count: int) -> None:
        self._data: NDArray[np.uint8] = np.empty(size, np.uint8)
        self._columns = {name: np.empty(count, kind) for name, kind in COLUMNS.items()}
        self._point()

    def _point(self) -> None:
        context = self._context
        context.point("out.data", self._data)
        context.set("out.capacity", self._data.size)
        for name, array in self._columns.items():
            context.point(f"out.{name}", array)
        context.set("out.packets", self._columns["ports"].size)

    def _more(self, need: int) -> int:
        """Double what is too small; called from native code. 0 means that there is no more."""
        try:
            used, count = self._context.get("out.used"), self._context.get("out.count")
            if need > MAX_OUTPUT:
                return 0
            old = self._data
            if need > old.size:
                self._data = np.empty(min(max(2 * old.size, need), MAX_OUTPUT), np.uint8)
                self._data[:used] = old[:used]
                self._outgrown.append(old)
            if count >= self._columns["ports"].size:
                for name, array in self._columns.items():
                    self._columns[name] = np.concatenate([array, np.empty_like(array)])
            self._point()
        except MemoryError:
            return 0
        return 1
