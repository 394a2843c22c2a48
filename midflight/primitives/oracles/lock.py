"""The oracle of Lock: a list of requests for each lock, which determines who holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from midflight.primitives.oracles.serial import is_older

__all__ = ["Answer", "Queue"]

WRAP = 2**32
FIRST = WRAP - 6

Status = Literal["granted", "waiting", "handed", "released"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a client, or with `to_all` to every member: status, ticket, and the first ticket that waits."""

    status: Status
    ticket: int
    granted: int
    to_all: bool = False


@dataclass(slots=True)
class Queue:
    """One lock, whose queue has `depth` places: the tickets in the queue in order, and whether each is exclusive.

    `drawn` is the next ticket to be drawn, and `seen` the number of each client's latest request. Tickets do not wrap
    here.
    """

    depth: int
    waiting: list[tuple[int, bool]] = field(default_factory=list)
    drawn: int = FIRST
    tickets: dict[int, int | None] = field(default_factory=dict)
    """By client, the ticket of its latest request. None if that was handed to the server."""
    released: set[int] = field(default_factory=set)
    """The clients whose latest request was a release."""
    seen: dict[int, int] = field(default_factory=dict)

    @property
    def holders(self) -> list[int]:
        """The tickets that hold the lock now: all consecutive shared ones in front of the queue, or one
        exclusive one.
        """
        if not self.waiting:
            return []
        sharing: list[int] = []
        for ticket, exclusive in self.waiting:
            if exclusive:
                break
            sharing.append(ticket)
        return sharing or [self.waiting[0][0]]

    @property
    def granted(self) -> int:
        """The first ticket that has to wait: behind those of the holders, whether it is drawn already or not."""
        return self.holders[-1] + 1 if self.waiting else self.drawn

    def ask(self, client: int, number: int, exclusive: bool) -> Answer | None:
        """Process request `number` of a client for the lock, and return the answer; None if it has sent a newer one.

        A repeated request has no further effect. If the queue is full, the answer is `handed`: the request goes to the
        server. For clients other than 0, which is the server, the queue is full when only one place is free.
        """
        new = self._new(client, number)
        if new is None:
            return None
        if new:
            self.released.discard(client)
            full = len(self.waiting) >= (self.depth if client == 0 else self.depth - 1)
            self.tickets[client] = None if full else self.drawn
            if not full:
                self.waiting.append((self.drawn, exclusive))
                self.drawn += 1
        ticket = self.tickets.get(client)
        if ticket is None or client in self.released:
            return Answer("handed", (ticket or 0) % WRAP, self.granted % WRAP)
        return Answer("granted" if ticket < self.granted else "waiting", ticket % WRAP, self.granted % WRAP)

    def release(self, client: int, number: int) -> Answer | None:
        """Process a release, request `number` of a client: remove the queue's first ticket, and return the answer.

        Return None if the client has sent a newer request. A repeated release has no further effect.
        """
        new = self._new(client, number)
        if new is None:
            return None
        before = self.holders
        if new:
            self.released.add(client)
            self.waiting = self.waiting[1:]
        entitled = any(each not in before for each in self.holders)
        ticket = self.tickets.get(client) or 0
        return Answer("released", ticket % WRAP, self.granted % WRAP, to_all=entitled)

    def _new(self, client: int, number: int) -> bool | None:
        """Return whether a request is new (True), repeated (False), or older than the client's latest one (None)."""
        if number == 0:
            return None
        latest = self.seen.get(client)
        if latest == number:
            return False
        if latest is not None and is_older(number, latest):
            return None
        self.seen[client] = number
        return True
