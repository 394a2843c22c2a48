"""Multicast groups and clone sessions: numbered lists of (port, instance)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from midflight.runtime.engine.context import Context
from midflight.runtime.engine.entries import Reason, TableError
from midflight.runtime.engine.gate import Gate

__all__ = ["Groups"]

Pair = tuple[int, int]

_MOST_LENGTH = (1 << 29) - 2


@dataclass(frozen=True, slots=True)
class _Group:
    """The replicas of a group, each as the pairs to use in order of preference, and what a clone session adds."""

    replicas: tuple[tuple[Pair, ...], ...]
    priority: int
    length: int


class Groups:
    """The multicast groups or the clone sessions of an engine: numbered lists of replicas, each a (port, instance).

    `name` is `groups` or `clones`, and `size` one more than the largest number. Changes take effect when `flush` writes
    them to native memory, and `changed` is called after each with this object. `has_options` is whether copies may have
    a priority and a length.
    """

    def __init__(self, name: str, size: int, context: Context, lock: Gate, changed: Callable[[Groups], None]) -> None:
        self.name = name
        self.has_options = True
        self._changed = changed
        self._size = size
        self._context = context
        self._lock = lock
        self._groups: dict[int, _Group] = {}
        self._down: set[int] = set()
        self.flush()

    @property
    def groups(self) -> Mapping[int, tuple[Pair, ...]]:
        """A copy of all groups: the (port, instance) pairs of each, by number, without backups."""
        with self._lock:
            return {number: tuple(each[0] for each in group.replicas) for number, group in self._groups.items()}

    def set(
        self,
        group: int,
        replicas: Iterable[Pair],
        *,
        backups: Mapping[Pair, Sequence[Pair]] | None = None,
        priority: int = 0,
        length: int = 0,
    ) -> None:
        """Create or replace a group. Copies of a packet are sent in the order of `replicas`, pairs (port, instance).

        instance: what the program sees as egress_rid, 0 to 65535; ports are 0 to 511
        backups: by replica, those that replace it while its port is down, the first whose port is up (see `set_port`)
        priority: `priority` of the copies that a clone session makes, 0 to 7
        length: the most bytes of a copy that leave the switch; 0 is no limit

        TableError INVALID if one of these is out of its range, or if the group's number is not 1 to `size` - 1 (clone
        sessions: 0 to `size` - 1).
        """
        backups = backups or {}
        listed = tuple(
            tuple((int(port), int(instance)) for port, instance in ((first, second), *backups.get((first, second), ())))
            for first, second in replicas
        )
        if not 0 < group < self._size and not (group == 0 and self.name == "clones"):
            raise TableError(Reason.INVALID, f"{self.name}: numbers are 1 to {self._size - 1}, not {group}")
        for port, instance in (pair for each in listed for pair in each):
            if not 0 <= port < 512:
                raise TableError(Reason.INVALID, f"{self.name} {group}: ports are 0 to 511, not {port}")
            if not 0 <= instance < 1 << 16:
                raise TableError(Reason.INVALID, f"{self.name} {group}: instance {instance} does not fit 16 bits")
        if not 0 <= priority < 8 or not 0 <= length <= _MOST_LENGTH:
            raise TableError(Reason.INVALID, f"{self.name} {group}: priorities are 0 to 7, lengths 0 to {_MOST_LENGTH}")
        with self._lock:
            self._groups[group] = _Group(listed, priority, length)
            self._changed(self)

    def delete(self, group: int) -> None:
        """Delete a group. Raises TableError NOT_FOUND for an unknown one."""
        with self._lock:
            if group not in self._groups:
                raise TableError(Reason.NOT_FOUND, f"{self.name} has no {group}")
            del self._groups[group]
            self._changed(self)

    def adopt(self, other: Groups, numbers: Iterable[int]) -> None:
        """Create or replace groups with these numbers by those of another object. KeyError for a number that it does
        not have.

        The numbers before an unknown one are changed nevertheless.
        """
        with self._lock:
            for number in numbers:
                self._groups[number] = other._groups[number]
            self._changed(self)

    def set_port(self, port: int, *, up: bool) -> None:
        """Record whether a port is up; at first, all are.

        While its port is down, a replica with backups is replaced by the first backup whose port is up, or sends no
        copy if there is none. A replica without backups is sent in any case.
        """
        with self._lock:
            (self._down.discard if up else self._down.add)(port)
            self._changed(self)

    def flush(self) -> None:
        """Write all lists to native memory. The caller holds the lock, and no batch is running.

        A list is a count, a word of options, and then alternating ports and instances, in 32-bit words. The options
        are the priority and, from bit 3, the length plus one, or 0. The first list is empty.
        """
        if not self._context.has(f"{self.name}.starts"):
            return
        starts = np.zeros(self._size, np.uint32)
        lists = [0, 0]
        for number, group in self._groups.items():
            starts[number] = len(lists)
            used = [pair for each in group.replicas if (pair := self._choose(each)) is not None]
            lists += [len(used), group.priority | (group.length + 1 if group.length else 0) << 3]
            for pair in used:
                lists += pair
        self._context.point(f"{self.name}.starts", starts)
        self._context.point(f"{self.name}.lists", np.array(lists, np.uint32))

    def _choose(self, pairs: tuple[Pair, ...]) -> Pair | None:
        """Return the first pair whose port is up; a replica without backups does not depend on its port."""
        if len(pairs) == 1:
            return pairs[0]
        return next((pair for pair in pairs if pair[0] not in self._down), None)
