"""What every endpoint has in common."""

from __future__ import annotations

from typing import Protocol

from midflight.runtime.endpoint.reliable import Address

__all__ = ["Endpoint"]


class Endpoint(Protocol):
    """A protocol machine behind one UDP port. Times are nanoseconds from any origin and never run backwards."""

    def receive(self, source: Address, datagram: bytes, now: int, /) -> None:
        """Take one datagram. What is not understood is counted and dropped, never an error."""
        ...

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the datagrams to be sent now, with their destinations."""
        ...

    def next_deadline(self) -> int | None:
        """Return when to poll again though nothing has come in, or None."""
        ...
