"""`Endpoint`, the interface that the hosts' side of every protocol implements."""

from __future__ import annotations

from typing import Protocol

from midflight.runtime.endpoint.reliable import Address

__all__ = ["Endpoint"]


class Endpoint(Protocol):
    """A protocol state machine behind one UDP port, without a socket and a clock of its own.

    Times are integer nanoseconds of the caller's clock, which never runs backwards.
    """

    def receive(self, source: Address, datagram: bytes, now: int, /) -> None:
        """Process one datagram that has arrived from the address `source` at the time `now`.

        Replies are left for `poll`. Datagrams that the endpoint does not understand are counted and dropped; they raise
        nothing.
        """
        ...

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the datagrams to send at the time `now`, with their destinations, in order.

        Endpoints that wait for an answer raise NoAnswerError if none has arrived for their configured patience.
        """
        ...

    def next_deadline(self) -> int | None:
        """Return the time in nanoseconds to call `poll` next if no datagram arrives; None if there is no deadline."""
        ...
