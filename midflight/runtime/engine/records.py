"""A P4 program's digests and log messages as the control plane receives them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from midflight.runtime.engine.code import RecordKind
from midflight.runtime.engine.context import Context
from midflight.runtime.engine.externs.records import HEAD
from midflight.runtime.engine.layout import stored_width

__all__ = ["CAPACITY", "LOG", "Digest", "Records", "logged"]

CAPACITY = 1 << 20
"""The maximum bytes of digests and log messages that wait to be read."""

LOG = 1 << 14
"""The maximum number of log messages that wait after the digests between them were read. The oldest are dropped."""


@dataclass(frozen=True, slots=True)
class Digest:
    """One digest that the program sent: the name of its type, and its values in order, which may be negative."""

    name: str
    values: tuple[int, ...]


class Records:
    """The buffer that native code writes digests and log messages to.

    `take` empties it; the others decode what was taken. `kinds` are the program's kinds of digest and message. Reading
    digests keeps the messages for later, and vice versa; `lost` counts the messages beyond LOG that were dropped.
    """

    def __init__(self, kinds: list[RecordKind], context: Context) -> None:
        self._kinds = kinds
        self._context = context
        self._memory: NDArray[np.uint8] = np.zeros(CAPACITY if kinds else 0, np.uint8)
        self._digests: list[Digest] = []
        self._messages: deque[str] = deque(maxlen=LOG)
        self.lost = 0
        context.point("digests", self._memory)
        context.set("digests.capacity", self._memory.size)

    def take(self) -> bytes:
        """Remove and return the bytes that were written since the last call. The caller holds the engine's lock."""
        used = self._context.get("digests.used")
        if not used:
            return b""
        self._context.set("digests.used", 0)
        return self._memory[:used].tobytes()

    def digests(self, taken: bytes) -> list[Digest]:
        """Return the digests in bytes from `take`, and earlier ones that were not returned yet, oldest first."""
        self._sort(taken)
        found, self._digests = self._digests, []
        return found

    def messages(self, taken: bytes) -> list[str]:
        """Return the log messages in bytes from `take`, and earlier ones that were not returned yet, oldest first."""
        self._sort(taken)
        found = list(self._messages)
        self._messages.clear()
        return found

    def _sort(self, taken: bytes) -> None:
        at = 0
        while at < len(taken):
            number, size = (int.from_bytes(taken[at + each : at + each + 8], "little") for each in (0, 8))
            kind, values = self._kinds[number], self._values(self._kinds[number], taken[at + HEAD : at + size])
            if kind.log:
                self.lost += len(self._messages) == LOG
                self._messages.append(logged(kind, values))
            else:
                self._digests.append(Digest(kind.name, values))
            at += size

    @staticmethod
    def _values(kind: RecordKind, record: bytes) -> tuple[int, ...]:
        values, at = [], 0
        for width, signed in zip(kind.widths, kind.signed, strict=True):
            size = max(stored_width(width), 64) // 8
            value = int.from_bytes(record[at : at + size], "little")
            values.append(value - (1 << width) if signed and value >> (width - 1) else value)
            at += size
        return tuple(values)


def logged(kind: RecordKind, values: Sequence[int]) -> str:
    """Return the text of a log message: each `{}` in the kind's text is replaced by the next value, in decimal.

    A `{}` without a value remains.
    """
    first, *rest = kind.name.split("{}")
    shown = [str(each) for each in values]
    for number, part in enumerate(rest):
        first += (shown[number] if number < len(shown) else "{}") + part
    return first
