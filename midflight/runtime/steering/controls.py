"""The part of a P4Runtime session that steering uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from midflight.runtime.p4runtime.client.results import Count, Counts

__all__ = ["Controls"]


class Controls(Protocol):
    """The part of a P4Runtime session that steering uses. Each call raises DeviceError if the device refuses."""

    def batch(self) -> AbstractContextManager[None]:
        """Collect the writes in the `with` block, and send them together at its end.

        The device applies those that it accepts. RequestError, whose `refused` has the others, if there are any.
        """

    def insert(
        self,
        table: str,
        match: Mapping[str, object],
        action: str,
        params: Mapping[str, int],
        *,
        priority: int = 0,
        rate: int = 0,
    ) -> None:
        """Add an entry to a table: the values of its key by field, its action, and the action's parameters by name.

        `priority` matters for ternary and range keys; the largest wins. `rate` sets the entry's meter, in packets a
        second; 0 is no limit. DeviceError if there is an entry with the same match.
        """

    def modify(
        self,
        table: str,
        match: Mapping[str, object],
        action: str,
        params: Mapping[str, int],
        *,
        priority: int = 0,
        rate: int = 0,
    ) -> None:
        """Replace the action of an existing table entry, found by its match and priority, and the rate of its meter.

        `params` are the action's parameters by name, and `rate` is in packets a second; 0 is no limit. DeviceError if
        there is no such entry.
        """

    def delete(self, table: str, match: Mapping[str, object], *, priority: int = 0) -> None:
        """Remove the table entry with this match and priority. DeviceError if there is none."""

    def read_entry_counter(self, table: str, match: Mapping[str, object], *, priority: int = 0) -> Count:
        """Return the packets and bytes that the table entry with this match and priority has counted.

        DeviceError if there is no such entry.
        """

    def read_counter(self, name: str) -> Counts:
        """Return all cells of a counter. DeviceError if there is none of this name."""

    def multicast(self, group: int, ports: Sequence[int]) -> None:
        """Set the ports to which multicast group `group` copies. Without ports, the group is removed."""

    def clone_session(self, number: int, ports: Sequence[int]) -> None:
        """Set the ports to which clone session `number` copies. Without ports, the clone session is removed."""
