"""The one block of memory that native code is given: every pointer and number it needs, in named slots.

Lowering asks for a slot by name and loads from it; the control side finds the same name and writes the pointer there.
No address is ever built into code, so one compiled program could serve many contexts, and a target without pointers
into a host (BPF) can resolve a slot in its own way.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from midflight.runtime.engine.layout import align

__all__ = ["Context", "Slots"]


class Slots:
    """Names and offsets, handed out in the order of asking."""

    def __init__(self) -> None:
        self._offsets: dict[str, int] = {}
        self.size = 0

    def offset(self, name: str, size: int = 8) -> int:
        """Return the offset of a slot, making it 8-aligned and `size` bytes long when the name is new."""
        if name not in self._offsets:
            self._offsets[name] = self.size
            self.size += align(size, 8)
        return self._offsets[name]

    @property
    def offsets(self) -> Mapping[str, int]:
        """Every slot made so far."""
        return self._offsets


class Context:
    """The block itself, at `address` and zero at first. It keeps alive whatever its slots point at."""

    def __init__(self, slots: Slots) -> None:
        self._offsets = dict(slots.offsets)
        self.memory: NDArray[np.uint8] = np.zeros(max(slots.size, 8), np.uint8)
        self._words: NDArray[np.uint64] = self.memory.view(np.uint64)
        self._alive: dict[str, NDArray[np.generic]] = {}
        self.address = self.memory.ctypes.data

    def has(self, name: str) -> bool:
        """Tell whether native code uses this slot."""
        return name in self._offsets

    def offset(self, name: str) -> int:
        """Return where a slot lies. KeyError for one that native code never asked for."""
        return self._offsets[name]

    def set(self, name: str, value: int) -> None:
        """Write a 64-bit slot; a name that native code never asked for is ignored."""
        if (offset := self._offsets.get(name)) is not None:
            self._words[offset >> 3] = value

    def get(self, name: str) -> int:
        """Read a 64-bit slot, 0 for one that native code never asked for."""
        offset = self._offsets.get(name)
        return 0 if offset is None else int(self._words[offset >> 3])

    def point(self, name: str, array: NDArray[np.generic]) -> None:
        """Let a slot hold the address of an array's first element."""
        self._alive[name] = array
        # Ten times as fast as array.ctypes.data, which matters to batches of one packet.
        self.set(name, array.__array_interface__["data"][0])
