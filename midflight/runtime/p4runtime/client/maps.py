"""The maps of kernels (tables that a controller writes), read and written over P4Runtime with Python numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from finsy.proto import p4i

from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Map, Program
from midflight.primitives.emit.tables import PARAMETER, found, key_names
from midflight.primitives.kernel.map import Entry, Key, Part
from midflight.runtime.p4runtime.client.messages import signed
from midflight.runtime.p4runtime.client.results import TableEntry

__all__ = ["Entries", "MapWriter", "Maps"]


class Entries(Protocol):
    """The methods of a P4Runtime `Session` that maps use, with the same parameters and errors."""

    @property
    def p4info(self) -> p4i.P4Info:
        """The P4Info of the device's pipeline."""

    def insert(
        self, table: str, match: Mapping[str, object], action: str, params: Mapping[str, object], *, priority: int = 0
    ) -> None:
        """Add an entry to a table. DeviceError if there is one with the same match and priority.

        `match` has the key's values by field, and `params` the values of the action's parameters by name.
        """

    def modify(
        self, table: str, match: Mapping[str, object], action: str, params: Mapping[str, object], *, priority: int = 0
    ) -> None:
        """Change the action of an existing table entry, found by its match (values by field) and priority.

        `params` are the values of the action's parameters by name. DeviceError if there is no such entry.
        """

    def delete(self, table: str, match: Mapping[str, object], *, priority: int = 0) -> None:
        """Remove the table entry with this match and priority. DeviceError if there is none."""

    def batch(self) -> AbstractContextManager[None]:
        """Return a context that collects the writes made in it, and sends them together at its end."""

    def read_table(self, table: str) -> Sequence[TableEntry]:
        """Return all entries of the table of this name, read from the device."""


class Maps:
    """All maps of a program on one device: `maps["cache", "owner"]`, by application and attribute.

    The maps remember their entries: at first those that the primitives' `setup` creates, later also those written
    since. `install` writes them to a device after a program was loaded.

    session: the session to write with; None until `install` gets one
    only: the names of the applications that the device runs; by default all

    Indexing raises MidflightError for an unknown map.
    """

    def __init__(self, session: Entries | None, program: Program, only: Collection[str] | None = None) -> None:
        self._session = session
        self._writers = {
            (name, attribute): MapWriter(self, f"ingress.{name}.{attribute}", shape)
            for name, each in program.applications.items()
            if only is None or name in only
            for attribute, shape in each.primitive.maps.items()
        }

    @property
    def session(self) -> Entries:
        """The session that entries are written with. Raises DeviceError if there has been none yet."""
        if self._session is None:
            raise DeviceError("the switch with these maps has not been reached yet")
        return self._session

    def __getitem__(self, names: tuple[str, str]) -> MapWriter:
        if names not in self._writers:
            known = ", ".join(f"{application}.{attribute}" for application, attribute in self._writers)
            hint = f"it has {known}" if known else "create maps in a primitive's setup: `self.owner = Map(...)`"
            raise MidflightError(f"the switch has no map {'.'.join(names)}", hint=hint)
        return self._writers[names]

    def adopt(self, before: Maps) -> None:
        """Use the maps of a previous program instead of new ones, where name and type are the same.

        They keep their entries, and references to them remain valid.
        """
        for names, each in self._writers.items():
            other = before._writers.get(names)
            if other is not None and each.alike(other):
                self._writers[names] = other

    def entries(self) -> dict[tuple[str, str], tuple[Entry, ...]]:
        """Return the remembered entries of all maps, by application and attribute. Sends nothing to the device."""
        return {names: each.entries for names, each in self._writers.items()}

    def fill(self, entries: Mapping[tuple[str, str], Iterable[Entry]]) -> None:
        """Replace the remembered entries of these maps, as `MapWriter.fill`, and ignore unknown maps.

        Nothing is written before `install`.
        """
        for names, those in entries.items():
            if names in self._writers:
                self._writers[names].fill(those)

    def install(self, session: Entries | None = None) -> None:
        """Write the entries of all maps to the device, whose tables must be empty, and use `session` from now on.

        None is the session so far. Skips maps that the device's compiler removed because no packet can reach them.
        DeviceError if there has been no session, or if the device rejects an entry; the others may have been written.
        """
        self._session = session or self._session
        for each in self._writers.values():
            each.maps = self
        there = {each.preamble.name for each in self.session.p4info.tables}
        with self.session.batch():
            for each in self._writers.values():
                if each.table in there:
                    each.install()


class MapWriter(MutableMapping[Key, int]):
    """One map on one device, as a dict: `owner[key] = value`, `del owner[key]`, `owner[key]`, `owner.items()`.

    Keys and values are as in `Map`. Reading returns the device's entries. Methods raise KeyError for an entry that does
    not exist, KernelError if a key or value does not fit the map or the map is full, and DeviceError if the device
    rejects a request or there has been no session yet.
    """

    def __init__(self, maps: Maps, table: str, shape: Map) -> None:
        self.maps = maps
        self.table = table
        self._map = shape.copy()
        self._action = f"{table.rpartition('.')[0]}.{found(table.rpartition('.')[2])}"

    def insert(self, key: Key, value: int, *, priority: int = 1, send: bool = True) -> None:
        """Add or replace an entry. If several entries match a key, the one with the largest priority wins.

        Without `send`, it is only remembered, for `install`. KernelError, and nothing is sent, if the key or value does
        not fit the map or the map is full; DeviceError, and the entry is not remembered, if the device rejects it. An
        entry with the same key and another priority is removed before, and stays removed if the device then rejects.
        """
        entry = self._map.entry(key, value, priority)
        if send:
            self._put(entry)
        self._map.keep(entry)

    def remove(self, key: Key, *, send: bool = True) -> None:
        """Remove an entry; without `send`, only from those that are remembered.

        KeyError if none with this key is remembered, even if the device has one. DeviceError if the device rejects the
        removal; the entry is still remembered then.
        """
        entry = self._map.find(self._map.parts(key))
        if entry is None:
            raise KeyError(key)
        if send:
            self._delete(entry)
        del self._map[key]

    def restore(self, key: Key, entry: Entry | None, *, send: bool = True) -> None:
        """Undo a change of the entry with this key: it becomes `entry` again, or is removed if that is None.

        The remembered entries change even if the device rejects the write, which raises DeviceError.
        """
        now = self._map.find(self._map.parts(key))
        try:
            if send and entry is not None:
                self._put(entry)
            elif send and now is not None:
                self._delete(now)
        finally:
            if entry is not None:
                self._map.keep(entry)
            elif now is not None:
                del self._map[key]

    def __setitem__(self, key: Key, value: int) -> None:
        self.insert(key, value)

    def __delitem__(self, key: Key) -> None:
        self.remove(key)

    def __getitem__(self, key: Key) -> int:
        parts = self._map.parts(key)
        read = self._read()
        if parts not in read:
            raise KeyError(key)
        return read[parts]

    def __iter__(self) -> Iterator[Key]:
        return iter([self._map.key(parts) for parts in self._read()])

    def __len__(self) -> int:
        return len(self._read())

    def alike(self, other: MapWriter) -> bool:
        """Return whether another map has the same types of key and value, match kinds and size, so that entries can be
        kept.
        """
        return self._map.alike(other._map)

    def find(self, key: Key) -> Entry | None:
        """Return the remembered entry with exactly this key, or None. KernelError if the key does not fit the map."""
        return self._map.find(self._map.parts(key))

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries that this process remembers; unlike indexing, this does not read the device."""
        return self._map.entries

    def replace(self, entries: Iterable[Entry]) -> None:
        """Replace all entries that this process remembers, on the device, too.

        KernelError if an entry does not fit the map, DeviceError if the device rejects one; some may then be replaced.
        """
        for each in self._map.entries:
            self.remove(self._map.key(each.parts))
        for each in entries:
            self.insert(self._map.key(each.parts), each.value, priority=each.priority)

    def fill(self, entries: Iterable[Entry]) -> None:
        """Replace the remembered entries. Writes nothing to the device.

        KernelError if one does not fit the map, or if they are more than its size; then only those before it are
        remembered.
        """
        for each in self._map.entries:
            del self._map[self._map.key(each.parts)]
        for each in entries:
            self._map.insert(self._map.key(each.parts), each.value, priority=each.priority)

    def install(self) -> None:
        """Write all remembered entries to the device, whose table must be empty.

        DeviceError if it rejects one; those before it remain on the device.
        """
        for each in self._map.entries:
            self._insert(each)

    def _put(self, entry: Entry) -> None:
        """Write an entry to the device, in place of the remembered one with the same key."""
        before = self._map.find(entry.parts)
        if before is not None and before.priority != entry.priority:
            # In P4Runtime, the priority is a part of an entry's identity.
            self._delete(before)
            del self._map[self._map.key(entry.parts)]
            before = None
        if before is not None:
            self._modify(entry)
            return
        try:
            self._insert(entry)
        except DeviceError as refusal:
            # The entry may exist already, from another controller: replace it. Otherwise, raise the first error.
            try:
                self._modify(entry)
            except DeviceError:
                raise refusal from None

    def _insert(self, entry: Entry) -> None:
        params = {PARAMETER: self._pattern(entry)}
        self.maps.session.insert(self.table, _match(entry), self._action, params, priority=self._rank(entry))

    def _modify(self, entry: Entry) -> None:
        params = {PARAMETER: self._pattern(entry)}
        self.maps.session.modify(self.table, _match(entry), self._action, params, priority=self._rank(entry))

    def _delete(self, entry: Entry) -> None:
        self.maps.session.delete(self.table, _match(entry), priority=self._rank(entry))

    def _rank(self, entry: Entry) -> int:
        """Return the entry's priority for P4Runtime, which is 0 in tables where no two entries can match a key."""
        return entry.priority if self._map.ranked else 0

    def _pattern(self, entry: Entry) -> int:
        return entry.value & ((1 << self._map.kind.width) - 1)

    def _read(self) -> dict[tuple[Part, ...], int]:
        entries = {}
        for each in self.maps.session.read_table(self.table):
            parts = [
                each.match.get(name, everything)
                for name, everything in zip(key_names(len(self._map.keys)), self._map.everything, strict=True)
            ]
            value, kind = each.params.get(PARAMETER, 0), self._map.kind
            key = self._map.parts(self._map.key(tuple(parts)))
            entries[key] = signed(value, kind.width) if kind.signed else value
        return entries


def _match(entry: Entry) -> dict[str, object]:
    return dict(zip(key_names(len(entry.parts)), entry.parts, strict=True))
