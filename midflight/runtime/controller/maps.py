"""Maps of applications, written to a switch and to the hosts that compute in software."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping

from midflight.errors import MidflightError
from midflight.primitives import Application, Map, Program
from midflight.primitives.kernel.map import Entry, Key
from midflight.runtime.p4runtime.client.maps import MapWriter

__all__ = ["ControlledMap", "MapBook"]


class ControlledMap(MutableMapping[Key, int]):
    """A map of an application, as a dict: `owner[key] = value`, `del owner[key]`, `owner[key]`, `owner.items()`.

    Each write goes to the switch first (`writer`, or None if no switch runs the application), then to `held`, the
    controller's own copy, and is then passed to `written` with True for an added entry and False for a removed one.
    Reading returns what the switch holds or, without a switch, the copy. Keys and values are as in `primitives.Map`.
    Raises KeyError if there is no such entry, KernelError if a key or value does not fit the map or the map is full,
    and DeviceError if the switch refuses; then nothing has changed.
    """

    def __init__(self, held: Map, written: Callable[[Entry, bool], None], writer: MapWriter | None) -> None:
        self._held = held
        self._written = written
        self._writer = writer

    def insert(self, key: Key, value: int, *, priority: int = 1) -> None:
        """Add an entry, or replace that with the same key.

        If several entries match a packet, as is possible with ternary and range keys, the one with the largest
        `priority` wins. KernelError if the key or the value does not fit the map, or if it is full; DeviceError if the
        switch refuses. Then nothing has changed.
        """
        if self._writer is None:
            entry = self._held.entry(key, value, priority)
        else:
            self._writer.insert(key, value, priority=priority)
            entry = Entry(self._held.parts(key), self._held.number(value), priority)
        self._held.keep(entry)
        self._written(entry, True)

    def __setitem__(self, key: Key, value: int) -> None:
        self.insert(key, value)

    def __delitem__(self, key: Key) -> None:
        entry = self._held.find(self._held.parts(key))
        if self._writer is not None:
            del self._writer[key]
        elif entry is None:
            raise KeyError(key)
        if entry is not None:
            del self._held[key]
            self._written(entry, False)

    def __getitem__(self, key: Key) -> int:
        if self._writer is not None:
            return self._writer[key]
        entry = self._held.find(self._held.parts(key))
        if entry is None:
            raise KeyError(key)
        return entry.value

    def __iter__(self) -> Iterator[Key]:
        return iter(self._held if self._writer is None else self._writer)

    def __len__(self) -> int:
        return len(self._held if self._writer is None else self._writer)


class MapBook:
    """The controller's copy of the entries of all maps of a program's applications, no matter which switch they are
    written to.

    A map starts with its initial entries. `before` is the book of the previous program, or None: maps of the same name
    and shape keep its entries.
    """

    def __init__(self, program: Program, before: MapBook | None = None) -> None:
        self._maps = {
            (name, attribute): shape.copy()
            for name, each in program.applications.items()
            for attribute, shape in each.primitive.maps.items()
        }
        for names, each in (before._maps if before else {}).items():
            if names in self._maps and self._maps[names].alike(each):
                self._maps[names] = each

    def map(self, application: Application, name: str) -> Map:
        """Return a map of an application by its name in the primitive; changes of it change the book.

        MidflightError if the application has no map of that name.
        """
        found = self._maps.get((application.name, name))
        if found is None:
            known = ", ".join(application.primitive.maps)
            hint = f"it has {known}" if known else "maps are made in a primitive's setup: `self.owner = Map(...)`"
            raise MidflightError(f"{application.name} has no map {name!r}", hint=hint)
        return found

    def of(self, application: str) -> Mapping[str, tuple[Entry, ...]]:
        """Return the entries of all maps of an application, by name of the map; empty if it has none."""
        return {name: each.entries for (owner, name), each in self._maps.items() if owner == application}
