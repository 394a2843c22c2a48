"""The oracle of Sequencer: the order itself, as a list."""

from __future__ import annotations

from dataclasses import dataclass, field

from midflight.primitives.oracles.serial import is_older

__all__ = ["ExhaustedError", "Group"]


class ExhaustedError(Exception):
    """The group has used all stamps, so there is none for a new request."""


@dataclass(slots=True)
class Group:
    """The oracle of `Sequencer` for one group: the numbered requests in order, and the latest request of each client.

    `limit` is the last number that it gives.
    """

    limit: int
    order: list[tuple[int, int]] = field(default_factory=list)
    """Pairs of client and request. The first one has stamp 1."""
    last: dict[int, tuple[int, int | None]] = field(default_factory=dict)
    """By client, its latest request and the number that this request has got, or None."""

    def stamp(self, client: int, request: int) -> int | None:
        """Return the number that a client's request gets, or None if it is dropped.

        A repeated request has its old number. Request 0 and requests older than the client's latest are dropped.
        ExhaustedError if no number is left for a new request; repetitions of that request are dropped.
        """
        if request == 0:
            return None
        known, number = self.last.get(client, (None, None))
        if request == known:
            return number
        if known is not None and is_older(request, known):
            return None
        self.last[client] = request, None
        if len(self.order) == self.limit:
            raise ExhaustedError
        self.order.append((client, request))
        self.last[client] = request, len(self.order)
        return len(self.order)
