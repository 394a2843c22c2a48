"""The oracle of Barrier: the parties that have arrived, by round."""

from __future__ import annotations

from typing import Literal

from midflight.primitives.oracles.serial import is_older

__all__ = ["Gate"]


class Gate:
    """The oracle of `Barrier`: one barrier for `parties` parties.

    A round is over when all parties have arrived in it, or when any party has arrived in a newer one.
    """

    def __init__(self, parties: int) -> None:
        self._parties = parties
        self._round = 0
        self._arrivals: list[int] = []

    def arrive(self, party: int, number: int) -> Literal["wait", "release", "all"]:
        """Process the arrival of a party in round `number` and return what happens.

        `wait`: the party has to wait, or the arrival is invalid. `release`: the round is over already. `all`: it was
        the last arrival, and all are released.
        """
        if party >= self._parties or number == 0:
            return "wait"
        if self._round and is_older(number, self._round):
            return "release"
        if number != self._round:
            self._round, self._arrivals = number, []
        known = party in self._arrivals
        self._arrivals += [] if known else [party]
        if len(self._arrivals) < self._parties:
            return "wait"
        return "release" if known else "all"
