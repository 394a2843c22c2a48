"""Multicast groups and clone sessions: numbered lists of (port, instance)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from midflight.runtime.engine.context import Context
from midflight.runtime.engine.entries import Reason, TableError
from midflight.runtime.engine.gate import Gate

__all__ = ["Groups"]


class Groups:
    """The multicast groups or the clone sessions of an engine: lists of replicas by number.

    `name` is `groups` or `clones`, and `size` one more than the largest number. `changed` is called after each change,
    as it takes effect only when `flush` writes it to native memory.
    """

    def __init__(self, name: str, size: int, context: Context, lock: Gate, changed: Callable[[Groups], None]) -> None:
        self.name = name
        self._changed = changed
        self._size = size
        self._context = context
        self._lock = lock
        self._groups: dict[int, tuple[tuple[int, int], ...]] = {}
        self.flush()

    @property
    def groups(self) -> Mapping[int, tuple[tuple[int, int], ...]]:
        """A copy of all groups: the (port, instance) pairs of each, by number."""
        with self._lock:
            return dict(self._groups)

    def set(self, group: int, replicas: Iterable[tuple[int, int]]) -> None:
        """Create or replace a group. Copies of a packet are sent in the order of `replicas`, pairs (port, instance).

        `instance` is what the program sees as egress_rid. TableError INVALID if the group, a port (0 to 511) or an
        instance (16 bits) is out of range.
        """
        listed = tuple((int(port), int(instance)) for port, instance in replicas)
        if not 0 < group < self._size and not (group == 0 and self.name == "clones"):
            raise TableError(Reason.INVALID, f"{self.name}: numbers are 1 to {self._size - 1}, not {group}")
        for port, instance in listed:
            if not 0 <= port < 512:
                raise TableError(Reason.INVALID, f"{self.name} {group}: ports are 0 to 511, not {port}")
            if not 0 <= instance < 1 << 16:
                raise TableError(Reason.INVALID, f"{self.name} {group}: instance {instance} does not fit 16 bits")
        with self._lock:
            self._groups[group] = listed
            self._changed(self)

    def delete(self, group: int) -> None:
        """Delete a group. Raises TableError NOT_FOUND for an unknown one."""
        with self._lock:
            if group not in self._groups:
                raise TableError(Reason.NOT_FOUND, f"{self.name} has no {group}")
            del self._groups[group]
            self._changed(self)

    def flush(self) -> None:
        """Write all lists to native memory. The caller holds the lock, and no batch is running.

        A list is a count, a gap, and then alternating ports and instances, in 32-bit words. The first list is empty.
        """
        if not self._context.has(f"{self.name}.starts"):
            return
        starts = np.zeros(self._size, np.uint32)
        lists = [0, 0]
        for group, replicas in self._groups.items():
            starts[group] = len(lists)
            lists += [len(replicas), 0]
            for pair in replicas:
                lists += pair
        self._context.point(f"{self.name}.starts", starts)
        self._context.point(f"{self.name}.lists", np.array(lists, np.uint32))
