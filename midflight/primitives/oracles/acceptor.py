"""The oracle of Acceptor: the two phases of "Paxos Made Simple" (Lamport, 2001, section 2.2), and lost instances."""

from __future__ import annotations

from dataclasses import dataclass

from midflight.primitives.oracles.serial import is_older

__all__ = ["Accepted", "Forgotten", "Promise", "Refused", "Voter"]


@dataclass(frozen=True, slots=True)
class Promise:
    """A promise to accept no ballot below `ballot`.

    `voted` and `value` are the accepted proposal with the largest ballot. They are (0, 0) if nothing was accepted.
    """

    ballot: int
    voted: int
    value: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The oracle's answer to a proposal that the acceptor has accepted."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The oracle's answer to a refused request. `ballot` is the largest that was promised or accepted so far."""

    ballot: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The oracle's answer for an instance that the acceptor no longer has, because a newer one has replaced it."""


Answer = Promise | Accepted | Refused | Forgotten


class Voter:
    """The oracle of `Acceptor`: a Paxos acceptor that remembers `instances` instances.

    Its answers follow from the requests that it has received. Instance n replaces an older one with the same remainder
    modulo `instances`.
    """

    def __init__(self, instances: int) -> None:
        self._instances = instances
        self._newest: dict[int, int] = {}
        self._answered: dict[int, list[tuple[int, int | None]]] = {}
        """By instance, the requests that were not refused: ballot and, in phase 2, value."""

    def prepare(self, instance: int, ballot: int) -> Answer:
        """Answer a phase 1 request: Promise, Refused (there was a larger ballot), or Forgotten (an old instance)."""
        return self._answer(instance, ballot, None)

    def accept(self, instance: int, ballot: int, value: int) -> Answer:
        """Answer a phase 2 request: Accepted, Refused (there was a larger ballot), or Forgotten (an old instance)."""
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
        # The last accepted proposal has the largest ballot.
        proposals = [(number, what) for number, what in history if what is not None]
        voted, accepted = proposals[-1] if proposals else (0, 0)
        return Promise(ballot, voted, accepted)
