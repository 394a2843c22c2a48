"""The oracle of Cache: the entry of each key after a history of operations, and the number of misses of each key."""

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
    """The outcome of an operation on a key: its status, and the number of hits of the entry so far, this one included.

    `hits` is None if the key is not cached. `held` is the version and value returned, or None; `hot` is whether this
    operation reports the key as hot.
    """

    status: Status
    hits: int | None = None
    held: tuple[int, tuple[int, ...]] | None = None
    hot: bool = False


@dataclass(slots=True)
class _Entry:
    updates: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    """The stored updates, the latest last."""
    written: bool = False
    """Whether a client's write followed the latest update, or that update was a deletion."""
    hits: int = 0


class Store:
    """A cache of a fixed set of keys, each with an entry of its own that can be removed and added again.

    `bits` is the width of a key. `hot`, `rows` and `columns` are the parameters of `Cache`.
    """

    def __init__(self, keys: Sequence[int], *, bits: int, hot: int, rows: int, columns: int) -> None:
        self._entries = {key: _Entry() for key in keys}
        self._parted: dict[int, _Entry] = {}
        self._bits = bits
        self._hot = hot
        self._columns = columns
        self._seeds = range(rows), range(rows, 2 * rows)
        self._missed: Counter[tuple[int, int]] = Counter()
        self._reported: set[tuple[int, int]] = set()

    def part(self, key: int) -> None:
        """Remove a key's entry from the cache, keeping its contents. Ignored if the key is not cached."""
        if key in self._entries:
            self._parted[key] = self._entries.pop(key)

    def rejoin(self, key: int) -> None:
        """Add an entry that `part` removed again, with its contents. Ignored for other keys."""
        if key in self._parted:
            self._entries[key] = self._parted.pop(key)

    def get(self, key: int) -> Answer:
        """Process a read of a key: `hit` with the contents, `invalid`, or `miss`.

        A cached key is `invalid` before its first update, and from a write or deletion to the next update. A `miss`
        reports the key as hot if the estimate of its misses has reached `hot` and it was not reported before.
        """
        entry = self._entries.get(key)
        if entry is None:
            return Answer("miss", hot=self._becomes_hot(key))
        if entry.written or not entry.updates:
            return Answer("invalid", entry.hits)
        entry.hits += 1
        return Answer("hit", entry.hits, entry.updates[-1])

    def put(self, key: int) -> Answer:
        """Process a client's write or deletion, which invalidates the key's entry: `invalid`, or `miss`."""
        if key not in self._entries:
            return Answer("miss")
        self._entries[key].written = True
        return Answer("invalid", self._entries[key].hits)

    def update(self, key: int, version: int, value: tuple[int, ...], *, removed: bool = False) -> Answer:
        """Process a value from the server, or with `removed` a deletion.

        `miss` if the key is not cached, `older` if the entry has a newer version (RFC 1982), otherwise `stored`.
        """
        entry = self._entries.get(key)
        if entry is None:
            return Answer("miss")
        if entry.updates and is_older(version, entry.updates[-1][0]):
            return Answer("older", entry.hits, entry.updates[-1])
        entry.updates.append((version, value))
        entry.written = removed
        return Answer("stored", entry.hits, entry.updates[-1])

    def _becomes_hot(self, key: int) -> bool:
        """Count a miss. Return whether the key is hot and was not reported before."""
        counters, marks = (
            {(seed, positions([key], self._bits, seed, self._columns)[0]) for seed in seeds} for seeds in self._seeds
        )
        self._missed.update(counters)
        if min(self._missed[each] for each in counters) < self._hot:
            return False
        new = not marks <= self._reported
        self._reported |= marks
        return new
