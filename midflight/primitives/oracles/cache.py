"""The oracle of Cache: what each key's entry is after a history of operations, and how often each key was missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from midflight.primitives.oracles.hashes import positions
from midflight.primitives.oracles.serial import is_older

__all__ = ["Answer", "Store"]

Status = Literal["hit", "miss", "invalid", "stored", "older"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of an operation: with `held`, the version and value that are told; `hot` tells of a key that is."""

    status: Status
    hits: int | None = None
    held: tuple[int, tuple[int, ...]] | None = None
    hot: bool = False


@dataclass(slots=True)
class _Entry:
    updates: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    """Those that were stored, the latest last."""
    written: bool = False
    """Whether there was a write since then, or the last one was that there is no value."""
    hits: int = 0


class Store:
    """A cache of a fixed set of keys, each with an entry of its own, that it may lose and have again."""

    def __init__(self, keys: Sequence[int], *, bits: int, hot: int, rows: int, columns: int) -> None:
        self._entries = {key: _Entry() for key in keys}
        self._parted: dict[int, _Entry] = {}
        self._bits = bits
        self._hot = hot
        self._columns = columns
        self._seeds = range(rows), range(rows, 2 * rows)
        self._missed: Counter[tuple[int, int]] = Counter()
        self._told: set[tuple[int, int]] = set()

    def part(self, key: int) -> None:
        """Take a key's entry from it, which stays as it is."""
        if key in self._entries:
            self._parted[key] = self._entries.pop(key)

    def rejoin(self, key: int) -> None:
        """Give a key its entry back."""
        if key in self._parted:
            self._entries[key] = self._parted.pop(key)

    def get(self, key: int) -> Answer:
        """Read a key."""
        entry = self._entries.get(key)
        if entry is None:
            return Answer("miss", hot=self._becomes_hot(key))
        if entry.written or not entry.updates:
            return Answer("invalid", entry.hits)
        entry.hits += 1
        return Answer("hit", entry.hits, entry.updates[-1])

    def put(self, key: int) -> Answer:
        """Write or delete a key."""
        if key not in self._entries:
            return Answer("miss")
        self._entries[key].written = True
        return Answer("invalid", self._entries[key].hits)

    def update(self, key: int, version: int, value: tuple[int, ...], *, removed: bool = False) -> Answer:
        """Learn a value from the server, or that there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return Answer("miss")
        if entry.updates and is_older(version, entry.updates[-1][0]):
            return Answer("older", entry.hits, entry.updates[-1])
        entry.updates.append((version, value))
        entry.written = removed
        return Answer("stored", entry.hits, entry.updates[-1])

    def _becomes_hot(self, key: int) -> bool:
        """Count a miss; tell whether the key is hot and was not told."""
        counters, marks = (
            {(seed, positions([key], self._bits, seed, self._columns)[0]) for seed in seeds} for seeds in self._seeds
        )
        self._missed.update(counters)
        if min(self._missed[each] for each in counters) < self._hot:
            return False
        new = not marks <= self._told
        self._told |= marks
        return new
