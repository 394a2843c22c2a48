"""The interface of every endpoint."""

from __future__ import annotations

from typing import Protocol

from midflight.runtime.endpoint.reliable import Address

__all__ = ["Endpoint"]


class Endpoint(Protocol):
    """A protocol state machine behind one UDP port.

    Times are integer nanoseconds of a clock that never runs backwards.
    """

    def receive(self, source: Address, datagram: bytes, now: int, /) -> None:
        """Process one datagram.

        Datagrams that the endpoint does not understand are counted and dropped; they raise nothing.
        """
        ...

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the datagrams to send now, with their destinations."""
        ...

    def next_deadline(self) -> int | None:
        """Return when to call `poll` next if no datagram arrives, or None."""
        ...
