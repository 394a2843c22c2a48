"""Maps of applications, written to a switch and to the hosts that compute in software."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Application, Map, Program
from midflight.primitives.kernel.map import Entry, Key
from midflight.runtime.p4runtime.client.link import RequestError
from midflight.runtime.p4runtime.client.maps import MapWriter
from midflight.runtime.p4runtime.status import Code

__all__ = ["ControlledMap", "MapBook"]


@dataclass(frozen=True, slots=True)
class _Step:
    """The entries with one key before a change: the switch's and the controller's own, each None if there was none."""

    key: Key
    switch: Entry | None
    held: Entry | None


class ControlledMap(MutableMapping[Key, int]):
    """A map of an application, as a dict: `owner[key] = value`, `del owner[key]`, `owner[key]`, `owner.items()`.

    Each write goes to the switch (`writer`, or None if no switch runs the application), to `held`, the controller's own
    copy, and to `written`, with True for an added entry and False for a removed one; then `changed` is called. `lock`
    is held meanwhile. If the switch is full, `full` returns the map on the switch to which the application has moved,
    or None if it has not. While `on` returns False, the switch is off and its entries are only remembered; it gets them
    when it returns. Reading returns what the switch holds or, without a switch, the copy. Keys and values are as in
    `primitives.Map`. Raises KeyError if there is no such entry, KernelError if a key or value does not fit the map or
    the map is full, DeviceError if the switch refuses, and what `written` and `changed` raise; then nothing has
    changed.
    """

    def __init__(
        self,
        held: Map,
        writer: MapWriter | None,
        *,
        on: Callable[[], bool],
        written: Callable[[Entry, bool], None],
        changed: Callable[[], None],
        lock: AbstractContextManager[object],
        full: Callable[[], MapWriter | None] = lambda: None,
    ) -> None:
        self._held = held
        self._writer = writer
        self._on = on
        self._written = written
        self._changed = changed
        self._lock = lock
        self._full = full

    @property
    def shape(self) -> Map:
        """A map with the same key, value, match kinds and size; its entries are those of all switches."""
        return self._held.copy()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries that the switch should hold, in the order of insertion. Sends nothing."""
        return self._held.entries if self._writer is None else self._writer.entries

    def amend(self, put: Iterable[tuple[Key, int, int]] = (), delete: Iterable[Key] = ()) -> None:
        """Delete the entries with these keys, and then add or replace others, each a key, a value and a priority.

        Changes all or nothing, and `changed` is called once. KeyError if there is no entry to delete, KernelError if a
        key or value does not fit the map or the map is full, DeviceError if the switch refuses.
        """
        added, removed = [*put], [*delete]
        with self._lock:
            try:
                self._amend(added, removed)
            except RequestError as error:
                if error.code is not Code.RESOURCE_EXHAUSTED or (writer := self._full()) is None:
                    raise
                self._writer = writer
                self._amend(added, removed)

    def _amend(self, put: Sequence[tuple[Key, int, int]], delete: Sequence[Key]) -> None:
        done: list[_Step] = []
        try:
            for key in delete:
                self._delete(key, done)
            for key, value, priority in put:
                self._put(key, value, priority, done)
            self._changed()
        except BaseException:
            for each in reversed(done):
                self._undo(each)
            raise

    def insert(self, key: Key, value: int, *, priority: int = 1) -> None:
        """Add an entry, or replace that with the same key.

        If several entries match a packet, as is possible with ternary and range keys, the one with the largest
        `priority` wins. KernelError if the key or the value does not fit the map, or if it is full; DeviceError if the
        switch refuses. Then nothing has changed.
        """
        self.amend([(key, value, priority)])

    def __setitem__(self, key: Key, value: int) -> None:
        self.insert(key, value)

    def __delitem__(self, key: Key) -> None:
        self.amend(delete=[key])

    def _put(self, key: Key, value: int, priority: int, done: list[_Step]) -> None:
        before = self._before(key)
        if self._writer is None:
            entry = self._held.entry(key, value, priority)
        else:
            self._writer.insert(key, value, priority=priority, send=self._on())
            entry = Entry(self._held.parts(key), self._held.number(value), priority)
        done.append(before)
        self._hold(key, entry)

    def _delete(self, key: Key, done: list[_Step]) -> None:
        before = self._before(key)
        if self._writer is not None:
            self._writer.remove(key, send=self._on())
        elif before.held is None:
            raise KeyError(key)
        done.append(before)
        self._hold(key, None)

    def _before(self, key: Key) -> _Step:
        there = None if self._writer is None else self._writer.find(key)
        return _Step(key, there, self._held.find(self._held.parts(key)))

    def _hold(self, key: Key, entry: Entry | None) -> None:
        """Make `entry` the controller's own entry with this key, or remove that if it is None."""
        before = self._held.find(self._held.parts(key))
        if entry is not None:
            self._held.keep(entry)
            self._written(entry, True)
        elif before is not None:
            del self._held[key]
            self._written(before, False)

    def _undo(self, step: _Step) -> None:
        if self._writer is not None:
            # A switch that does not answer is repaired when it returns.
            with suppress(DeviceError):
                self._writer.restore(step.key, step.switch, send=self._on())
        self._hold(step.key, step.held)

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
