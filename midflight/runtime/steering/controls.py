"""The part of a P4Runtime session that steering uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from midflight.runtime.p4runtime.client.results import Count

__all__ = ["Controls"]


class Controls(Protocol):
    """The part of a P4Runtime session that steering uses. Each call raises DeviceError if the device refuses."""

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
        """Add a table entry and set the rate of its meter. DeviceError if there is an entry with the same match."""

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
        """Change the action of an existing table entry and the rate of its meter."""

    def delete(self, table: str, match: Mapping[str, object], *, priority: int = 0) -> None:
        """Remove an existing table entry."""

    def read_entry_counter(self, table: str, match: Mapping[str, object], *, priority: int = 0) -> Count:
        """Return the direct counter of an existing table entry."""

    def multicast(self, group: int, ports: Sequence[int]) -> None:
        """Set the ports that a multicast group copies to. Without ports the group is removed."""

    def clone_session(self, number: int, ports: Sequence[int]) -> None:
        """Set the ports that a clone session copies to. Without ports the session is removed."""
