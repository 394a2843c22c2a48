"""Memory that this process shares with BPF programs: a BPF map of type arena, and the arrays in it.

An address in the arena is the same number for both sides. Arrays that no running program may still use become free
after the kernel has waited for all programs that were running (`membarrier`).
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midflight.errors import DeviceError
from midflight.runtime.engine.bpf.syscall import ARENA, MMAPABLE, create_map

__all__ = ["PAGE", "Arena"]

PAGE = mmap.PAGESIZE

# Free blocks that wait for programs to end are collected until they have this many bytes.
_RETIRED = 1 << 24
# The most bytes that are copied between two packets, which takes about 0.2 ms.
_AT_ONCE = 1 << 20
_GLOBAL = 1
_MEMBARRIER = {"x86_64": 324, "aarch64": 283, "riscv64": 283}


class Arena:
    """An arena of up to `size` bytes, a multiple of `PAGE`. Its memory is taken from the system as it is used.

    `root` is its first page; arrays come after it. `map` is the map's file descriptor. Raises DeviceError
    if the kernel refuses.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.map = create_map(ARENA, "arena", entries=size // PAGE, flags=MMAPABLE)
        try:
            self._pages = mmap.mmap(self.map, size)
        except OSError as error:
            os.close(self.map)
            raise DeviceError(f"cannot map {size} bytes of shared memory: {error.strerror}") from None
        self._bytes: NDArray[np.uint8] = np.frombuffer(self._pages, np.uint8)
        self.address = int(self._bytes.ctypes.data)
        self._bytes[:PAGE] = 0
        self.root: NDArray[np.uint64] = self._bytes[:PAGE].view(np.uint64)
        self._end = PAGE
        self._blocks: dict[int, int] = {}
        self._free: dict[int, list[int]] = {}
        self._retired: list[int] = []
        self._between: NDArray[np.uint8] | None = None
        self.copy: Callable[[int, int, int], None] | None = None
        """Copies memory to an address in the arena from another, with their number of bytes, while no packet is
        processed; None if no program excludes others."""
        self._waiting = 0

    def zeros(self, shape: int | tuple[int, ...], kind: Any) -> NDArray[Any]:
        """Return a new array of zeros in the arena. DeviceError if the arena is full."""
        dtype = np.dtype(kind)
        count = int(np.prod(shape))
        size = count * dtype.itemsize
        start = self._take(size)
        view = self._bytes[start : start + size]
        view[:] = 0  # which also lets the kernel allocate the pages: programs cannot
        array: NDArray[Any] = view.view(dtype).reshape(shape)
        return array

    def place(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the array itself if it is in the arena, or else a copy that is. DeviceError if the arena is full."""
        if self._inside(array):
            return array
        copy = self.zeros(array.shape, array.dtype)
        copy[...] = array
        return copy

    def exchange(self, target: NDArray[Any], source: NDArray[Any]) -> None:
        """Copy between two contiguous arrays of the same size, one of which is in the arena, between packets.

        A MiB at a time is copied between two packets. DeviceError if the program does not let go of it.
        """
        if self.copy is None or not target.nbytes:
            target[...] = source
            return
        if self._between is None:
            self._between = self.zeros(_AT_ONCE, np.uint8)
        to, given = (each.reshape(-1).view(np.uint8) for each in (target, source))
        between = self._between.__array_interface__["data"][0]
        into = self._inside(to)
        for start in range(0, len(to), _AT_ONCE):
            size = min(_AT_ONCE, len(to) - start)
            part = slice(start, start + size)
            if into:
                self._between[:size] = given[part]
                self.copy(to[part].__array_interface__["data"][0], between, size)
            else:
                self.copy(between, given[part].__array_interface__["data"][0], size)
                to[part] = self._between[:size]

    def _inside(self, array: NDArray[Any]) -> bool:
        return bool(self.address <= array.__array_interface__["data"][0] < self.address + self.size)

    def bytes_at(self, address: int, size: int) -> bytes:
        """Return a copy of `size` bytes at an address in the arena.

        Only the lower 32 bits of the address count, because a BPF program may report no more of it.
        """
        start = (address - self.address) % (1 << 32)
        return self._bytes[start : start + size].tobytes()

    def give(self, address: int) -> None:
        """Free the array at an address, as soon as all BPF programs that run now have ended.

        An address at which the arena has no array is ignored.
        """
        start = address - self.address
        if start in self._blocks:
            self._retired.append(start)
            self._waiting += self._blocks[start]
            if self._waiting > _RETIRED:
                self._reclaim()

    def close(self) -> None:
        """Release the file descriptor. The memory stays until the last array and program are gone. Idempotent."""
        self.copy = None
        if self.map >= 0:
            os.close(self.map)
            self.map = -1

    def _take(self, size: int) -> int:
        block = max(64, 1 << (size - 1).bit_length()) if size else 64
        free = self._free.get(block)
        if not free and self._retired and self._end + block > self.size:
            self._reclaim()
            free = self._free.get(block)
        if free:
            start = free.pop()
        elif self._end + block > self.size:
            raise DeviceError(f"no space for {size} bytes: the shared memory of {self.size} bytes is in use")
        else:
            start, self._end = self._end, self._end + block
        self._blocks[start] = block
        return start

    def _reclaim(self) -> None:
        _wait_for_programs()
        for start in self._retired:
            self._free.setdefault(self._blocks.pop(start), []).append(start)
        self._retired.clear()
        self._waiting = 0


def _wait_for_programs() -> None:
    """Wait until all BPF programs that run now have ended. Takes some milliseconds."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(_MEMBARRIER[os.uname().machine], _GLOBAL, 0, 0)
