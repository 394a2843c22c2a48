"""Ranks, their links and a switch in virtual time: every datagram's fate is what a test decides."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midflight.collectives.timing import timing
from midflight.primitives.library.aggregate import Operation
from midflight.runtime.endpoint.aggregation import AGAIN, OVERFLOW, REQUEST, RESULT, Form
from midflight.runtime.endpoint.allreduce import AllReduce

SECOND = 10**9
DELAY = 10**6  # of a datagram on a link
LANES, SLOTS = 2, 2
SWITCH = ("10.0.0.100", 4000)
OPERATIONS: tuple[Operation, ...] = ("sum", "min")
_COMBINE = {"sum": np.add, "min": np.minimum}

Rounds = list[tuple[Operation, NDArray[np.int32]]]
"""The rounds of one rank: their operations, and its values."""

Fate = Callable[[int], Sequence[int]]
"""By the number of a datagram, counted over all links: its delays. None at all is a loss, two are a duplicate."""


@dataclass
class Entry:
    """An entry of the switch's pool."""

    sequence: int = 0
    seen: set[int] = field(default_factory=set)
    total: NDArray[Any] = field(default_factory=lambda: np.zeros(LANES, np.int64))
    overflow: int = 0


class Pools:
    """What `Aggregate` does with overflow="detect", for one application and job, without serial arithmetic."""

    def __init__(self, operation: Operation, ranks: int) -> None:
        self.form = Form(1, LANES)
        self.operation, self.ranks, self.epoch = operation, ranks, 1
        self.entries = [Entry() for _ in range(2 * SLOTS)]

    def restart(self) -> None:
        self.entries = [Entry() for _ in range(2 * SLOTS)]
        self.epoch += 1

    def process(self, datagram: bytes) -> tuple[list[int], bytes] | None:
        """Return the ranks that get an answer, and the answer."""
        head = self.form.head(datagram)
        assert head is not None
        assert head.kind == REQUEST
        entry = self.entries[head.slot]
        if head.sequence < entry.sequence:
            return None
        values = self.form.values(datagram).astype(np.int64)
        if head.sequence > entry.sequence:
            entry = self.entries[head.slot] = Entry(head.sequence, {head.worker}, values)
            repeated = False
        else:
            repeated = head.worker in entry.seen
            if not repeated:
                entry.seen.add(head.worker)
                total = _COMBINE[self.operation](entry.total, values)
                entry.total = total.astype(np.int32).astype(np.int64)
                entry.overflow |= int((total != entry.total).any())
        if len(entry.seen) < self.ranks:
            return None
        answer = self.form.message(
            RESULT,
            head.sequence,
            worker=head.worker,
            job=1,
            flags=head.flags & AGAIN | (OVERFLOW if entry.overflow else 0),
            epoch=self.epoch,
            values=entry.total,
        )
        return [head.worker] if repeated else list(range(self.ranks)), answer


class Rank:
    """One rank: a round after another, as `Client` carries them out, each by the endpoint of its operation."""

    def __init__(self, number: int, rounds: Rounds, ranks: int) -> None:
        self.rounds: Iterator[tuple[Operation, NDArray[np.int32]]] = iter(rounds)
        self.results: list[list[int]] = []
        self.asleep_until = 0
        self.at: Operation | None = None
        self.endpoints = {
            name: AllReduce(
                application=1,
                worker=number,
                workers=ranks,
                lanes=LANES,
                slots=SLOTS,
                server=SWITCH,
                timing=timing(300),
                peers=[(f"10.0.0.{each}", 7) for each in range(ranks)],
                operation=name,
            )
            for name in OPERATIONS
        }

    def go_on(self) -> None:
        """Append the results of finished rounds, and begin the next ones."""
        while self.at is None or self.endpoints[self.at].idle:
            if self.at is not None:
                result = self.endpoints[self.at].take()
                assert result is not None
                self.results.append(result.integers.tolist())
            self.at, values = next(self.rounds, (None, None))
            if self.at is None or values is None:
                return
            self.endpoints[self.at].submit(values)


class World:
    """The ranks, the links and the switch. `run` carries out all rounds and returns the virtual time that this took."""

    def __init__(self, rounds: Sequence[Rounds], fate: Fate) -> None:
        count = len(rounds)
        self.fate = fate
        self.ranks = [Rank(number, each, count) for number, each in enumerate(rounds)]
        self.pools = {name: Pools(name, count) for name in OPERATIONS}
        self.now = self.sent = self.order = 0
        self.events: list[tuple[int, int, int, Operation, tuple[str, int], bytes]] = []
        self.before: Callable[[int], None] = lambda _: None
        """Called with the number of each datagram before it is sent."""

    def run(self, limit: int) -> int:
        for number in range(len(self.ranks)):
            self.drive(number)
        while any(each.at is not None for each in self.ranks):
            if self.now > limit:
                stuck = [(n, each.at, len(each.results)) for n, each in enumerate(self.ranks)]
                raise AssertionError(f"no end after {limit / SECOND:g} s: {stuck}")
            if not self.events:
                raise AssertionError("nothing happens any more")
            self.now, _, place, name, source, datagram = heapq.heappop(self.events)
            if place < 0:
                self.switch(name, ~place, source, datagram)
                continue
            rank = self.ranks[place]
            if self.now < rank.asleep_until:  # the socket keeps it
                self.push(rank.asleep_until, place, name, source, datagram)
                continue
            if datagram:
                rank.endpoints[name].receive(source, datagram, self.now)
            self.drive(place)
        return self.now

    def push(self, time: int, place: int, name: Operation, source: tuple[str, int], datagram: bytes) -> None:
        self.order += 1
        heapq.heappush(self.events, (time, self.order, place, name, source, datagram))

    def drive(self, number: int) -> None:
        rank = self.ranks[number]
        rank.go_on()
        for name, endpoint in rank.endpoints.items():
            for destination, datagram in endpoint.poll(self.now):
                # To the switch: `place` is the complement of the rank whose port it enters.
                where = SWITCH if destination == SWITCH else destination
                self.transmit(~number, name, where, datagram)
            deadline = endpoint.next_deadline()
            if deadline is not None:
                self.push(max(deadline, self.now), number, name, SWITCH, b"")

    def transmit(self, place: int, name: Operation, address: tuple[str, int], datagram: bytes) -> None:
        number, self.sent = self.sent, self.sent + 1
        self.before(number)
        for delay in self.fate(number):
            self.push(self.now + delay, place, name, address, datagram)

    def switch(self, name: Operation, sender: int, destination: tuple[str, int], datagram: bytes) -> None:
        if destination != SWITCH:
            to = int(destination[0].rpartition(".")[2])
            self.transmit(to, name, (f"10.0.0.{sender}", 7), datagram)
        elif (outcome := self.pools[name].process(datagram)) is not None:
            for to in outcome[0]:
                self.transmit(to, name, SWITCH, outcome[1])

    def restart(self) -> None:
        """Start the switch again, without what it knew."""
        for each in self.pools.values():
            each.restart()
