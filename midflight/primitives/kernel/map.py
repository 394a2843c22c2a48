"""Maps: tables from keys to numbers that a kernel reads and only the controller writes."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from midflight.errors import KernelError
from midflight.primitives.kernel.types import Kind, Number, coerce

__all__ = ["Entry", "Key", "Map", "Match", "Part"]

Match = Literal["exact", "lpm", "ternary", "range"]
"""The match kind of one part of a key, by its name in P4."""

Part = int | tuple[int, int]
"""One part of an entry's key: a value, or (value, prefix length) for lpm, (value, mask) for ternary, (low, high) for
range, inclusive."""

Key = Part | tuple[Part, ...]
"""An entry's key: a part, or a tuple of parts if the map has several."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a map: its key as `Map.parts` returns it, its value, and its priority, of which the largest wins."""

    parts: tuple[Part, ...]
    value: int
    priority: int


class Map:
    """A table from keys to numbers of `kind`, created in a primitive's `setup`; only the controller writes it.

        self.owner = Map(bit[128], bit[16], size=1024)
        self.port = Map((bit[32], bit[16]), bit[8], size=64, match=("lpm", "exact"), entries={((10 << 24, 8), 80): 3})

    keys: the type of the key, or of each of its parts; unsigned.
    match: the match kind of each part, or of all; the longest prefix wins for lpm, which at most one part can have.
    size: the maximum number of entries (at least 1).
    entries: the initial entries; `self.owner[key] = value` adds more, `insert` with a priority.

    A kernel reads it with `value = self.owner.get(wire.key, default)`, with a tuple for several parts. Afterwards
    `self.owner.hit` is whether there was an entry. A packet reads a map once. Raises KernelError for invalid parameters
    and entries.
    """

    def __init__(
        self,
        keys: Kind | tuple[Kind, ...],
        kind: Kind,
        *,
        size: int,
        match: Match | tuple[Match, ...] = "exact",
        entries: Mapping[Key, int] | None = None,
    ) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise KernelError(f"a map's size must be an integer of at least 1, not {size!r}")
        self.keys = tuple(each.fixed({}) for each in (keys if isinstance(keys, tuple) else (keys,)))
        self.kind = kind.fixed({})
        self.size = size
        self.match: tuple[Match, ...] = match if isinstance(match, tuple) else (match,) * len(self.keys)
        self.hit = False
        """Whether the last `get` found an entry; False before the first one."""
        self._entries: dict[tuple[Part, ...], Entry] = {}
        self._check()
        for key, value in (entries or {}).items():
            self[key] = value

    def _check(self) -> None:
        if not self.keys:
            raise KernelError("a map needs a key", hint="write Map(bit[32], bit[16], size=1024)")
        for each in self.keys:
            if each.signed:
                raise KernelError(f"a map's key must be unsigned, not {each}", hint=f"write bit[{each.width}]")
        if len(self.match) != len(self.keys):
            raise KernelError(f"a map with {len(self.keys)} key parts takes as many match kinds, not {len(self.match)}")
        for how in self.match:
            if how not in get_args(Match):
                raise KernelError(f"a map's match kind must be one of {', '.join(get_args(Match))}, not {how!r}")
        if self.match.count("lpm") > 1:
            raise KernelError("only one part of a map's key can be lpm", hint="match the others exact or ternary")

    @property
    def ranked(self) -> bool:
        """Whether several entries may match a key (ternary or range), so that the largest priority wins."""
        return bool({"ternary", "range"} & {*self.match})

    def parts(self, key: object) -> tuple[Part, ...]:
        """Return an entry's key as a tuple with one part per key type, in which bits outside a prefix or mask are 0.

        `key` is a `Key`, as users write it. An int for an lpm, ternary or range part matches exactly. Raises
        KernelError for a key that does not fit the map's types and match kinds.
        """
        single = len(self.keys) == 1
        given = (key,) if single else key
        if not isinstance(given, tuple) or len(given) != len(self.keys):
            raise KernelError(f"{key!r} is not a key of a map with the key ({', '.join(map(str, self.keys))})")
        return tuple(
            _part(kind, how, part) for kind, how, part in zip(self.keys, self.match, given, strict=True)
        )  # fmt: skip

    def number(self, value: object) -> int:
        """Return an entry's value as an int.

        Raises KernelError if it is not an integer that fits the map's type `kind`.
        """
        number = _whole(value, "a map's value")
        if not self.kind.holds(number):
            raise KernelError(f"the map value {number} does not fit {self.kind}")
        return number

    def key(self, parts: tuple[Part, ...]) -> Key:
        """Return a key, given as a tuple of parts, as users write it: a key with a single part without the tuple."""
        return parts[0] if len(self.keys) == 1 else parts

    def insert(self, key: Key, value: int, *, priority: int = 1) -> None:
        """Add an entry, or replace the one with the same key.

        Of several entries that match, the one with the largest `priority` (1 to 2**31 - 1) wins; only ternary and range
        keys can have other than 1. Raises KernelError if key, value or priority do not fit, or if a new entry would
        exceed the map's size.
        """
        self.keep(self.entry(key, value, priority))

    def entry(self, key: Key, value: int, priority: int = 1) -> Entry:
        """Return an entry for `insert` without adding it.

        KernelError if key, value or priority do not fit the map, or if the map is full and has no entry with this key.
        """
        entry = Entry(self.parts(key), self.number(value), priority)
        self.check_priority(priority)
        if entry.parts not in self._entries and len(self._entries) >= self.size:
            raise KernelError(f"the map is full: its size is {self.size} entries", hint="make it larger in setup")
        return entry

    def check_priority(self, priority: int) -> None:
        """Raise KernelError unless `priority` is one that an entry of this map can have: 1 to 2**31 - 1, or exactly 1
        if no part of the key matches `ternary` or `range`.
        """
        if priority >= 1 << 31:
            raise KernelError(f"priority {priority}: a priority is at most 2**31 - 1")
        if priority < 1 or (priority != 1 and not self.ranked):
            raise KernelError(
                f"priority {priority}: a priority is at least 1, and exactly 1 without ternary or range keys"
            )

    def keep(self, entry: Entry) -> None:
        """Add an entry that `entry` returned, or replace the one with the same key. Checks nothing."""
        self._entries[entry.parts] = entry

    def find(self, parts: tuple[Part, ...]) -> Entry | None:
        """Return the entry whose key equals `parts`, a tuple that the method `parts` returned; None if there is none.

        Prefixes, masks and ranges are compared and not matched.
        """
        return self._entries.get(parts)

    def __setitem__(self, key: Key, value: int) -> None:
        self.insert(key, value)

    def __delitem__(self, key: Key) -> None:
        if self._entries.pop(self.parts(key), None) is None:
            raise KernelError(f"the map has no entry {key!r}")

    def __getitem__(self, key: Key) -> int:
        """Return the value of the entry with exactly this key. Raises KernelError if there is none; see `get`."""
        found = self._entries.get(self.parts(key))
        if found is None:
            raise KernelError(f"the map has no entry {key!r}")
        return found.value

    def __iter__(self) -> Iterator[Key]:
        return (self.key(each) for each in self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def alike(self, other: Map) -> bool:
        """Return whether another map has the same key types, value type, match kinds and size. Entries may differ."""
        one, two = ((each.keys, each.kind, each.match, each.size) for each in (self, other))
        return one == two

    def hold(self, entries: Iterable[Entry]) -> None:
        """Replace all entries by these, which `entry` has checked. Checks nothing."""
        self._entries = {each.parts: each for each in entries}

    def copy(self) -> Map:
        """Return an independent copy with the same entries."""
        made = copy.copy(self)
        made._entries = dict(self._entries)
        return made

    @property
    def everything(self) -> tuple[Part, ...]:
        """The parts of the key that matches every value. An exact part, which matches one value only, is 0."""
        wide: dict[Match, Callable[[Kind], Part]] = {
            "exact": lambda _: 0,
            "lpm": lambda _: (0, 0),
            "ternary": lambda _: (0, 0),
            "range": lambda kind: (0, kind.high),
        }
        return tuple(wide[how](kind) for kind, how in zip(self.keys, self.match, strict=True))

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The map's entries in the order of insertion."""
        return tuple(self._entries.values())

    def get(self, key: int | tuple[int, ...], default: int) -> int:
        """Return the value of the entry that matches a key, or `default`, as a number of type `kind`; set `hit`.

        `key` is a number, or a tuple of numbers if the map has several key types. Of several matching entries, the
        longest prefix or the largest priority wins. Raises KernelError for a key or default that does not fit.
        """
        values = key if isinstance(key, tuple) else (key,)
        if len(values) != len(self.keys):
            raise KernelError(f"this map's key has {len(self.keys)} parts, not {len(values)}")
        numbers = tuple(int(coerce(kind, each, "the key")) for kind, each in zip(self.keys, values, strict=True))
        found = self._entries.get(numbers) if {*self.match} == {"exact"} else self._best(numbers)
        self.hit = found is not None
        return coerce(self.kind, default, "the default") if found is None else Number(self.kind, found.value)

    def _best(self, asked: tuple[int, ...]) -> Entry | None:
        fitting = (each for each in self._entries.values() if self._fits(each, asked))
        return max(fitting, key=self._weight, default=None)

    def _fits(self, entry: Entry, asked: tuple[int, ...]) -> bool:
        return all(
            _matches(*each) for each in zip(self.keys, self.match, entry.parts, asked, strict=True)
        )  # fmt: skip

    def _weight(self, entry: Entry) -> int:
        """Return the rank of an entry among those that match: its priority, or its prefix length."""
        if self.ranked or "lpm" not in self.match:
            return entry.priority
        part = entry.parts[self.match.index("lpm")]
        assert isinstance(part, tuple)
        return part[1]


def _whole(value: object, what: str) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise KernelError(f"{what} must be an integer, not {value!r}") from None


def _part(kind: Kind, how: Match, part: object) -> Part:
    """Return one part of a key, normalised."""
    full = {"exact": None, "lpm": kind.width, "ternary": kind.high, "range": part}[how]
    pair = part if isinstance(part, tuple) and how != "exact" else (part, full)
    if len(pair) != 2:
        raise KernelError(f"{part!r} is not a key of {kind} matched {how}")
    value = _whole(pair[0], f"a key of {kind} matched {how}")
    if not kind.holds(value):
        raise KernelError(f"the key {value} does not fit {kind}, which holds 0 to {kind.high}")
    if pair[1] is None:
        return value
    second = _whole(pair[1], f"a key of {kind} matched {how}")
    match how:
        case "lpm":
            if not 0 <= second <= kind.width:
                raise KernelError(f"the prefix length must be 0 to {kind.width}, not {second}")
            return value & (kind.high << (kind.width - second)), second
        case "ternary":
            if not kind.holds(second):
                raise KernelError(f"the mask {second} does not fit {kind}")
            return value & second, second
        case _:
            if not value <= second <= kind.high:
                raise KernelError(f"({value}, {second}) is not a range of {kind}: write (low, high), both inclusive")
            return value, second


def _matches(kind: Kind, how: Match, part: Part, asked: int) -> bool:
    if not isinstance(part, tuple):
        return part == asked
    value, second = part
    match how:
        case "lpm":
            return asked >> (kind.width - second) == value >> (kind.width - second)
        case "ternary":
            return asked & second == value
        case _:
            return value <= asked <= second
