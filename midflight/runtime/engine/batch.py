"""Where a batch's output goes: arrays that native code fills, and that grow when it asks."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midflight.runtime.engine.context import Context
from midflight.runtime.engine.output import MAX_OUTPUT
from midflight.runtime.engine.packets import Packets

__all__ = ["Output"]

COLUMNS = {"offsets": np.uint32, "lengths": np.uint32, "ports": np.uint16, "sources": np.uint32}


class Output:
    """Arrays for one batch after the other.

    They are made a little larger than the last batches needed, and used again once nobody holds the packets that lie in
    them: fresh memory costs more than many a program. When they are too small after all, native code calls back and
    gets larger ones; what it still reads from the old ones stays alive until the batch has ended.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._outgrown: list[NDArray[np.uint8]] = []
        self._bytes_factor, self._count_factor = 1.25, 1.25
        self._grow = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_uint64)(self._more)
        self._make(4096, 16)

    def collect(self, packets: Packets, run: Callable[[], None]) -> Packets:
        """Run native code on a batch and return what it put out."""
        context = self._context
        given = packets.bytes + 64 * len(packets)
        size, count = int(given * self._bytes_factor) + 4096, int(len(packets) * self._count_factor) + 16
        fits = size <= self._arrays["data"].size and count <= self._arrays["ports"].size
        if not fits or self._references() != self._unshared:
            self._make(size, count)
        elif context.get("out.data") != self._place:  # a carrier has had its own batches there meanwhile
            self._point()
        context.set("out.used", 0)
        context.set("out.count", 0)
        run()
        self._outgrown.clear()
        used, count = context.get("out.used"), context.get("out.count")
        if given:
            self._bytes_factor = max(self._bytes_factor, 1.25 * used / given)
            self._count_factor = max(self._count_factor, 1.25 * count / len(packets))
        return Packets.unchecked(
            self._arrays["data"][:used],
            self._arrays["offsets"][:count],
            self._arrays["lengths"][:count],
            self._arrays["ports"][:count],
            self._arrays["sources"][:count],
        )

    def _make(self, size: int, count: int) -> None:
        self._arrays: dict[str, NDArray[Any]] = {"data": np.empty(size, np.uint8)}
        self._arrays.update((name, np.empty(count, kind)) for name, kind in COLUMNS.items())
        self._point()

    def _point(self) -> None:
        for name, array in self._arrays.items():
            self._context.point(f"out.{name}", array)
        address = ctypes.cast(self._grow, ctypes.c_void_p).value
        assert address is not None
        self._place = self._context.get("out.data")
        self._context.set("out.grow", address)
        self._context.set("out.capacity", self._arrays["data"].size)
        self._context.set("out.packets", self._arrays["ports"].size)
        del array
        self._unshared = self._references()

    def _references(self) -> list[int]:
        """Return how often each array is referred to; a view of one counts."""
        return [sys.getrefcount(array) for array in self._arrays.values()]

    def _more(self, need: int) -> int:
        """Double what is too small; called from native code. 0 means that there is no more."""
        try:
            used, count = self._context.get("out.used"), self._context.get("out.count")
            if need > MAX_OUTPUT:
                return 0
            old = self._arrays["data"]
            if need > old.size:
                self._arrays["data"] = np.empty(min(max(2 * old.size, need), MAX_OUTPUT), np.uint8)
                self._arrays["data"][:used] = old[:used]
                self._outgrown.append(old)
            if count >= self._arrays["ports"].size:
                for name in COLUMNS:
                    self._arrays[name] = np.concatenate([self._arrays[name], np.empty_like(self._arrays[name])])
            del old
            self._point()
        except MemoryError:
            return 0
        return 1
