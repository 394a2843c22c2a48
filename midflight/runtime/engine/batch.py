"""The output of a batch of packets: arrays that native code fills and that grow on demand."""

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

COLUMNS: dict[str, type[np.generic]] = {
    "offsets": np.uint32,
    "lengths": np.uint32,
    "ports": np.uint16,
    "sources": np.uint32,
    "times": np.uint64,
}


MOST_GROWTH = 1024.0
"""The limit of the factor between input and output for which memory is reserved. Packets may leave queues together."""


class Output:
    """Arrays for the output of successive batches, which native code fills through its context (named slots of memory).

    They are sized a little above the needs of previous batches. They are reused as soon as nobody holds the packets in
    them, because allocating memory can cost more than running a program. If they become full, native code calls back
    for larger ones; the old arrays remain valid until the batch ends.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._outgrown: list[NDArray[np.uint8]] = []
        self._bytes_factor, self._count_factor = 1.25, 1.25
        self._grow = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_uint64)(self._more)
        self._make(4096, 16)

    def collect(self, packets: Packets, run: Callable[[], None], *, timed: bool = False) -> Packets:
        """Call `run`, which executes native code on a batch, and return the packets that it wrote.

        `packets` is the input batch; only its size is used, to size the arrays. The result has `times` if `timed` (the
        code has queues). It is a view of this object's arrays, which are not reused while the result exists.
        """
        context = self._context
        given = packets.bytes + 64 * len(packets)
        size, count = int(given * self._bytes_factor) + 4096, int(len(packets) * self._count_factor) + 16
        fits = size <= self._arrays["data"].size and count <= self._arrays["ports"].size
        if not fits or self._references() != self._unshared:
            self._make(size, count)
        elif context.get("out.data") != self._place:  # a native packet loop has set its own arrays since
            self._point()
        context.set("out.used", 0)
        context.set("out.count", 0)
        run()
        self._outgrown.clear()
        used, count = context.get("out.used"), context.get("out.count")
        if given:
            self._bytes_factor = min(max(self._bytes_factor, 1.25 * used / given), MOST_GROWTH)
            self._count_factor = min(max(self._count_factor, 1.25 * count / len(packets)), MOST_GROWTH)
        return Packets.unchecked(
            self._arrays["data"][:used],
            self._arrays["offsets"][:count],
            self._arrays["lengths"][:count],
            self._arrays["ports"][:count],
            self._arrays["sources"][:count],
            self._arrays["times"][:count] if timed else None,
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
        """Return the reference count of each array, which includes its views."""
        return [sys.getrefcount(array) for array in self._arrays.values()]

    def _more(self, need: int) -> int:
        """Double the arrays that are too small; called from native code. Returns 1, or 0 if memory is exhausted."""
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
