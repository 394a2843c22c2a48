"""The oracle of Lock: a queue for each lock, as a list; who has the lock follows from what stands in it."""

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
    """What a client is told, and with `to_all` everybody: the status, its ticket, the first ticket that has to wait."""

    status: Status
    ticket: int
    granted: int
    to_all: bool = False


@dataclass(slots=True)
class Queue:
    """One lock: tickets and whether they are exclusive, the first in front."""

    depth: int
    waiting: list[tuple[int, bool]] = field(default_factory=list)
    drawn: int = FIRST
    tickets: dict[int, int | None] = field(default_factory=dict)
    """By client that of its latest request for the lock; None where that was handed on."""
    given: set[int] = field(default_factory=set)
    """The clients whose latest request was to give the lock back."""
    seen: dict[int, int] = field(default_factory=dict)

    @property
    def holders(self) -> list[int]:
        """The tickets that have the lock: all in front that share it, or the first alone."""
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
        """The first ticket that has to wait, of those drawn or still to be drawn."""
        return self.holders[-1] + 1 if self.waiting else self.drawn

    def ask(self, client: int, number: int, exclusive: bool) -> Answer | None:
        """Take a request for the lock; None for one that is out of date."""
        new = self._new(client, number)
        if new is None:
            return None
        if new:
            self.given.discard(client)
            full = len(self.waiting) >= (self.depth if client == 0 else self.depth - 1)
            self.tickets[client] = None if full else self.drawn
            if not full:
                self.waiting.append((self.drawn, exclusive))
                self.drawn += 1
        ticket = self.tickets.get(client)
        if ticket is None or client in self.given:
            return Answer("handed", (ticket or 0) % WRAP, self.granted % WRAP)
        return Answer("granted" if ticket < self.granted else "waiting", ticket % WRAP, self.granted % WRAP)

    def release(self, client: int, number: int) -> Answer | None:
        """Take the first request out of the queue; None for a release that is out of date."""
        new = self._new(client, number)
        if new is None:
            return None
        before = self.holders
        if new:
            self.given.add(client)
            self.waiting = self.waiting[1:]
        entitled = any(each not in before for each in self.holders)
        ticket = self.tickets.get(client) or 0
        return Answer("released", ticket % WRAP, self.granted % WRAP, to_all=entitled)

    def _new(self, client: int, number: int) -> bool | None:
        """Return whether a request is new rather than a repetition, None where it is older than the client's latest."""
        if number == 0:
            return None
        latest = self.seen.get(client)
        if latest == number:
            return False
        if latest is not None and is_older(number, latest):
            return None
        self.seen[client] = number
        return True
