"""The oracle of Acceptor: Lamport's two phases ("Paxos Made Simple", 2001, section 2.2), and what is forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from midflight.primitives.oracles.serial import is_older

__all__ = ["Accepted", "Forgotten", "Promise", "Refused", "Voter"]


@dataclass(frozen=True, slots=True)
class Promise:
    """Nothing below the ballot is accepted any more; the proposal with the largest ballot that was, (0, 0) if none."""

    ballot: int
    voted: int
    value: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The proposal is accepted."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A larger ballot was promised."""

    ballot: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Nothing is known about the instance any more."""


Answer = Promise | Accepted | Refused | Forgotten


class Voter:
    """An acceptor that has received these requests: its answers follow from them, without any other state."""

    def __init__(self, instances: int) -> None:
        self._instances = instances
        self._newest: dict[int, int] = {}
        self._answered: dict[int, list[tuple[int, int | None]]] = {}
        """By instance, the requests that were not refused: ballot and, in phase 2, value."""

    def prepare(self, instance: int, ballot: int) -> Answer:
        """Answer phase 1."""
        return self._answer(instance, ballot, None)

    def accept(self, instance: int, ballot: int, value: int) -> Answer:
        """Answer phase 2."""
        return self._answer(instance, ballot, value)

    def _answer(self, instance: int, ballot: int, value: int | None) -> Answer:
        place = instance % self._instances
        newest = self._newest.get(place)
        if newest is not None and instance != newest:
            if is_older(instance, newest):
                return Forgotten()
            del self._answered[newest]
        self._newest[place] = instance
        history = self._answered.setdefault(instance, [])
        largest = max((each for each, _ in history), default=0)
        if ballot < largest:
            return Refused(largest)
        history.append((ballot, value))
        if value is not None:
            return Accepted()
        # Of the proposals accepted the last has the largest ballot.
        proposals = [(number, what) for number, what in history if what is not None]
        voted, accepted = proposals[-1] if proposals else (0, 0)
        return Promise(ballot, voted, accepted)
