"""The oracle of Learner: all acceptances received, by instance and ballot."""

from __future__ import annotations

from dataclasses import dataclass, field

from midflight.primitives.oracles.serial import is_older

__all__ = ["Answer", "Counter"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The chosen value. `to_all` is set in the answer to the acceptance that decided it, which goes to all members."""

    value: int
    to_all: bool


@dataclass(slots=True)
class _Instance:
    number: int
    ballots: dict[int, set[int]] = field(default_factory=dict)
    chosen: int | None = None


class Counter:
    """A learner for a number of acceptors, which remembers `instances` instances.

    Instance n replaces an older one with the same remainder modulo `instances`.
    """

    def __init__(self, acceptors: int, instances: int) -> None:
        self._acceptors = acceptors
        self._instances: list[_Instance | None] = [None] * instances

    def accepted(self, instance: int, acceptor: int, ballot: int, value: int) -> Answer | None:
        """Process an acceptance of `value` in a ballot of an instance.

        Return the answer. None before a majority of acceptors has accepted in the largest ballot so far, for an older
        instance, for instance or ballot 0, and for an unknown acceptor.
        """
        if instance == 0 or ballot == 0 or acceptor >= self._acceptors:
            return None
        place = instance % len(self._instances)
        one = self._instances[place]
        if one is not None and is_older(instance, one.number):
            return None
        if one is None or one.number != instance:
            one = self._instances[place] = _Instance(instance)
        before = one.chosen
        one.ballots.setdefault(ballot, set())
        if ballot == max(one.ballots):
            one.ballots[ballot].add(acceptor)
            if before is None and 2 * len(one.ballots[ballot]) > self._acceptors:
                one.chosen = value
        return None if one.chosen is None else Answer(one.chosen, to_all=before is None)
