"""Digests as the control plane receives them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from midflight.runtime.engine.code import DigestKind
from midflight.runtime.engine.context import Context
from midflight.runtime.engine.externs.digests import HEAD
from midflight.runtime.engine.layout import stored_width

__all__ = ["CAPACITY", "Digest", "Ring"]

CAPACITY = 1 << 20
"""The maximum bytes of digests that wait to be read."""


@dataclass(frozen=True, slots=True)
class Digest:
    """One digest: the name of its type and its values in order."""

    name: str
    values: tuple[int, ...]


class Ring:
    """The memory that native code writes digests to. `take` empties it."""

    def __init__(self, kinds: list[DigestKind], context: Context) -> None:
        self._kinds = kinds
        self._context = context
        self._memory: NDArray[np.uint8] = np.zeros(CAPACITY if kinds else 0, np.uint8)
        context.point("digests", self._memory)
        context.set("digests.capacity", self._memory.size)

    def take(self) -> bytes:
        """Remove and return the bytes that were written since the last call."""
        used = self._context.get("digests.used")
        if not used:
            return b""
        self._context.set("digests.used", 0)
        return self._memory[:used].tobytes()

    def read(self, taken: bytes) -> list[Digest]:
        """Return the digests in bytes from `take`, oldest first."""
        at, found = 0, []
        while at < len(taken):
            number, size = (int.from_bytes(taken[at + each : at + each + 8], "little") for each in (0, 8))
            found.append(self._read(self._kinds[number], taken[at + HEAD : at + size]))
            at += size
        return found

    def _read(self, kind: DigestKind, record: bytes) -> Digest:
        values, at = [], 0
        for width, signed in zip(kind.widths, kind.signed, strict=True):
            size = max(stored_width(width), 64) // 8
            value = int.from_bytes(record[at : at + size], "little")
            values.append(value - (1 << width) if signed and value >> (width - 1) else value)
            at += size
        return Digest(kind.name, tuple(values))
