"""The control side of table lookups: the data structures that the native searches of `lookup` read, as NumPy arrays.

An index identifies entries by number. `flush`, between batches, writes what native code needs to the context. In
memory, a number is stored plus one, and 0 stands for no entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from midflight.runtime.engine.context import Context
from midflight.runtime.engine.entrylayout import EntryLayout
from midflight.runtime.engine.layout import align
from midflight.runtime.engine.lookup import HASH_FACTOR

__all__ = ["DirectIndex", "ExactIndex", "Index", "IntervalIndex", "MaskedIndex", "Match", "hash_key", "index_for"]

WORD = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Match:
    """The packets that an entry matches, and its priority.

    `key` and `mask` are the packed key fields of the table as one number. A packet matches if its key, under the mask,
    equals `key`; `key` must be 0 wherever the mask is. `ranges` are (lowest, highest), both included, of the range
    fields in order. Of several matching entries in a `MaskedIndex`, the one with the largest `priority` wins; the other
    indexes ignore it.
    """

    key: int
    mask: int
    ranges: tuple[tuple[int, int], ...]
    priority: int


class Index(Protocol):
    """The interface of a data structure that finds a table's entries. Entries are identified by numbers from 0."""

    def add(self, number: int, match: Match) -> None:
        """Add the entry with this number, which is not in the index."""

    def remove(self, number: int) -> None:
        """Remove the entry with this number, which is in the index."""

    def flush(self, context: Context) -> dict[int, int]:
        """Write the index to native memory, and return links between entries: from a number to the next one plus 1.

        Entries without a next one are left out.
        """


def index_for(name: str, layout: EntryLayout) -> Index | None:
    """Return an empty index for a table's kind of search, or None for a table without keys. `name` is the table's."""
    match layout.search:
        case "exact":
            return DirectIndex(name) if layout.direct else ExactIndex(name, layout)
        case "lpm":
            return IntervalIndex(name, layout)
        case "masked":
            return MaskedIndex(name, layout)
        case _:
            return None


def hash_key(key: int, stored: int) -> int:
    """Return the 64-bit hash of a packed key that takes `stored` bits in memory, as native code computes it."""
    state = 0
    for shift in range(0, stored, 64):
        state = (state ^ (key >> shift & WORD)) * HASH_FACTOR & WORD
        state ^= state >> 32
    return state


class DirectIndex:
    """An index for short exact keys: an array of entry numbers by key, as long as the largest key so far needs."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._keys: dict[int, int] = {}
        self._numbers: NDArray[np.uint32] = np.zeros(8, np.uint32)

    def add(self, number: int, match: Match) -> None:
        """Add the entry with this number. Enlarges the array if the key is beyond its end."""
        if match.key >= self._numbers.size:
            larger = np.zeros(1 << match.key.bit_length(), np.uint32)
            larger[: self._numbers.size] = self._numbers
            self._numbers = larger
        self._keys[number] = match.key
        self._numbers[match.key] = number + 1

    def remove(self, number: int) -> None:
        """Remove the entry with this number. KeyError if it is not in the index."""
        self._numbers[self._keys.pop(number)] = 0

    def flush(self, context: Context) -> dict[int, int]:
        """Write the array's address, and its size minus one as a mask, to the context. There are no links."""
        context.point(f"{self._name}.buckets", self._numbers)
        context.set(f"{self._name}.mask", self._numbers.size - 1)
        return {}


class ExactIndex:
    """An index for exact keys: one hash table with open addressing, at most half full.

    Insertion and deletion take constant time on average.
    """

    def __init__(self, name: str, layout: EntryLayout) -> None:
        self._name = name
        self._stored = layout.stored
        self._hashes: dict[int, int] = {}
        self._buckets: NDArray[np.uint32] = np.zeros(8, np.uint32)

    def add(self, number: int, match: Match) -> None:
        """Add the entry with this number. Doubles the hash table if it would be more than half full."""
        self._hashes[number] = hash_key(match.key, self._stored)
        if 2 * len(self._hashes) > self._buckets.size:
            self._buckets = np.zeros(self._buckets.size * 2, np.uint32)
            for each in self._hashes:
                self._place(each)
        else:
            self._place(number)

    def remove(self, number: int) -> None:
        """Remove the entry with this number, and move back entries that it had displaced."""
        buckets, mask = self._buckets, self._buckets.size - 1
        hole = self._hashes.pop(number) & mask
        while buckets[hole] != number + 1:
            hole = hole + 1 & mask
        at = hole
        while True:
            at = at + 1 & mask
            other = int(buckets[at])
            if other == 0:
                break
            home = self._hashes[other - 1] & mask
            if (at - home & mask) >= (at - hole & mask):
                buckets[hole] = other
                hole = at
        buckets[hole] = 0

    def flush(self, context: Context) -> dict[int, int]:
        """Write the hash table's address, and its size minus one as a mask, to the context. There are no links."""
        context.point(f"{self._name}.buckets", self._buckets)
        context.set(f"{self._name}.mask", self._buckets.size - 1)
        return {}

    def _place(self, number: int) -> None:
        buckets, mask = self._buckets, self._buckets.size - 1
        at = self._hashes[number] & mask
        while buckets[at]:
            at = at + 1 & mask
        buckets[at] = number + 1


class IntervalIndex:
    """An index for prefixes, as intervals of key values: the start of each, and the entry with the longest prefix."""

    def __init__(self, name: str, layout: EntryLayout) -> None:
        self._name = name
        self._width, self._stored = layout.width, layout.stored
        self._prefixes: dict[int, tuple[int, int]] = {}

    def add(self, number: int, match: Match) -> None:
        """Add the entry with this number, which has the prefix `match`. Takes effect with the next `flush`."""
        self._prefixes[number] = (match.key, match.key | ((1 << self._width) - 1 ^ match.mask))

    def remove(self, number: int) -> None:
        """Remove the entry with this number. KeyError if it is not in the index. Takes effect with the next `flush`."""
        del self._prefixes[number]

    def flush(self, context: Context) -> dict[int, int]:
        """Compute all intervals again and write them to the context, in time n log n. There are no links."""
        bounds, winners = [0], [0]

        def cut(at: int, winner: int) -> None:
            if at == bounds[-1]:
                winners[-1] = winner
            elif winner != winners[-1]:
                bounds.append(at)
                winners.append(winner)

        open_: list[tuple[int, int]] = []

        def close(before: int) -> None:
            while open_ and open_[-1][0] < before:
                end, _ = open_.pop()
                if end + 1 < 1 << self._width:
                    cut(end + 1, open_[-1][1] if open_ else 0)

        spans = sorted((first, -last, number) for number, (first, last) in self._prefixes.items())
        for first, negative_last, number in spans:
            close(first)
            open_.append((-negative_last, number + 1))
            cut(first, number + 1)
        close(1 << self._width)
        context.point(f"{self._name}.bounds", _stored_keys(bounds, self._stored))
        context.point(f"{self._name}.winners", np.array(winners, np.uint32))
        context.set(f"{self._name}.count", len(bounds))
        return {}


class MaskedIndex:
    """An index for ternary, range and optional keys: one hash table per mask.

    Entries with the same masked key form a chain by descending priority.
    """

    def __init__(self, name: str, layout: EntryLayout) -> None:
        self._name = name
        self._layout = layout
        self._matches: dict[int, Match] = {}

    def add(self, number: int, match: Match) -> None:
        """Add the entry with this number, which matches key and mask of `match`. Takes effect with the next `flush`."""
        self._matches[number] = match

    def remove(self, number: int) -> None:
        """Remove the entry with this number. KeyError if it is not in the index. Takes effect with the next `flush`."""
        del self._matches[number]

    def flush(self, context: Context) -> dict[int, int]:
        """Build all hash tables again, write them to the context, and return the links of the chains."""
        groups: dict[int, dict[int, list[int]]] = {}
        for number, match in self._matches.items():
            groups.setdefault(match.mask, {}).setdefault(match.key, []).append(number)
        links: dict[int, int] = {}
        records, tables, first = [], [np.zeros(1, np.uint32)], 1

        def most(group: dict[int, list[int]]) -> int:
            return max(self._matches[each].priority for chain in group.values() for each in chain)

        for mask, group in sorted(groups.items(), key=lambda item: -most(item[1])):
            buckets = np.zeros(1 << (2 * len(group) - 1).bit_length(), np.uint32)
            for key, chain in group.items():
                chain.sort(key=lambda each: -self._matches[each].priority)
                links.update({one: other + 1 for one, other in pairwise(chain)})
                at = hash_key(key, self._layout.stored) & (buckets.size - 1)
                while buckets[at]:
                    at = at + 1 & (buckets.size - 1)
                buckets[at] = chain[0] + 1
            records.append((mask, first, buckets.size - 1, most(group)))
            tables.append(buckets)
            first += buckets.size
        context.point(f"{self._name}.buckets", np.concatenate(tables))
        context.point(f"{self._name}.groups", self._records(records))
        context.set(f"{self._name}.count", len(records))
        return links

    def _records(self, records: list[tuple[int, int, int, int]]) -> NDArray[np.uint8]:
        stride, tail = self._layout.group_stride, align(self._layout.stored // 8, 8)
        memory = bytearray(max(stride * len(records), 8))
        for number, (mask, *rest) in enumerate(records):
            at = number * stride
            memory[at : at + tail] = mask.to_bytes(tail, "little")
            memory[at + tail : at + tail + 12] = b"".join(each.to_bytes(4, "little") for each in rest)
        return np.frombuffer(bytes(memory), np.uint8)


def _stored_keys(keys: list[int], stored: int) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(each.to_bytes(stored // 8, "little") for each in keys), np.uint8)
