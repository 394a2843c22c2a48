"""The oracle of Sequencer: the order itself, kept as a list."""

from __future__ import annotations

from dataclasses import dataclass, field

from midflight.primitives.oracles.serial import is_older

__all__ = ["ExhaustedError", "Group"]


class ExhaustedError(Exception):
    """There is no number left for a new request."""


@dataclass(slots=True)
class Group:
    """One group: the requests that have numbers, in their order, and what each client sent last."""

    limit: int
    order: list[tuple[int, int]] = field(default_factory=list)
    """(client, request); the first has the number 1."""
    last: dict[int, tuple[int, int | None]] = field(default_factory=dict)
    """By client: its request and that one's number, if it got one."""

    def stamp(self, client: int, request: int) -> int | None:
        """Return the request's number, None for one that is to be dropped; ExhaustedError for a new one without."""
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
