"""The oracle of Quorum: a ballot box for each slot, which keeps every vote that counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from midflight.primitives.oracles.serial import is_older

__all__ = ["Answer", "Boxes"]

Status = Literal["reached", "late", "again", "crowded"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The oracle's answer to a vote: a status, and the value that was decided or voted for."""

    status: Status
    value: int


@dataclass(slots=True)
class _Box:
    number: int
    voters: set[int] = field(default_factory=set)
    votes: dict[int, set[int]] = field(default_factory=dict)
    """The voters of each value."""
    decided: int | None = None


class Boxes:
    """All votings in progress, of which there are at most `slots`. The parameters are those of `Quorum`.

    Voting n replaces an older one with the same remainder modulo `slots`.
    """

    def __init__(self, *, voters: int, needed: int, slots: int, choices: int) -> None:
        self._voters = voters
        self._needed = needed
        self._choices = choices
        self._boxes: list[_Box | None] = [None] * slots

    def vote(self, number: int, voter: int, value: int) -> Answer | None:
        """Cast a vote for `value` in voting `number`, and return the answer.

        Return None while the value has too few votes, for a vote in an older voting, and for an invalid vote.
        """
        if number == 0 or value == 0 or voter >= self._voters:
            return None
        place = number % len(self._boxes)
        box = self._boxes[place]
        if box is not None and is_older(number, box.number):
            return None
        if box is None or box.number != number:
            box = self._boxes[place] = _Box(number)
        before = voter in box.voters
        decided = box.decided
        box.voters.add(voter)
        if not before and (value in box.votes or len(box.votes) < self._choices):
            supporters = box.votes.setdefault(value, set())
            supporters.add(voter)
            if box.decided is None and len(supporters) >= self._needed:
                box.decided = value
        if decided is not None:
            return Answer("again" if before else "late", decided)
        if box.decided is not None:
            return Answer("reached", value)
        return None if value in box.votes else Answer("crowded", value)
