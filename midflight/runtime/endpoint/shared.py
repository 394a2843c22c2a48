"""One UDP port for the servers of several applications. Messages are dispatched by application id."""

from __future__ import annotations

from dataclasses import dataclass, field

from midflight.primitives.wire import COMMON
from midflight.runtime.endpoint.base import Endpoint
from midflight.runtime.endpoint.reliable import Address

__all__ = ["Shared"]


@dataclass(slots=True)
class Shared:
    """An endpoint that passes each message on to the endpoint of its application (an `Endpoint`).

    endpoints: by application id. malformed: how many messages were for no application in it and were dropped.
    """

    endpoints: dict[int, Endpoint] = field(default_factory=dict)
    malformed: int = 0

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Pass a datagram to the endpoint of its application, by the id in the common header.

        A datagram that is too short, or whose application has no endpoint here, is dropped and counted in `malformed`.
        """
        endpoint = self.endpoints.get(int.from_bytes(datagram[2:4], "big")) if len(datagram) >= COMMON else None
        if endpoint is None:
            self.malformed += 1
        else:
            endpoint.receive(source, datagram, now)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the datagrams to send now, of all endpoints in order.

        Their errors, such as NoAnswerError, propagate.
        """
        return [each for endpoint in self.endpoints.values() for each in endpoint.poll(now)]

    def next_deadline(self) -> int | None:
        """Return the earliest deadline of all endpoints in nanoseconds, or None if none has a deadline."""
        deadlines = [each.next_deadline() for each in self.endpoints.values()]
        return min((each for each in deadlines if each is not None), default=None)
