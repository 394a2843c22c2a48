"""Games: one all-reduce job under a schedule of faults, simulated, with the guarantees checked at every step."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray

from midflight.runtime.endpoint.allreduce import AllReduce, Sum
from midflight.runtime.endpoint.reliable import Address, Timing
from midflight.testbed.adversary.forger import forged
from midflight.testbed.adversary.places import Place
from midflight.testbed.adversary.referee import Referee, ViolationError, judge
from midflight.testbed.adversary.schedule import Move, Schedule

__all__ = ["Game", "ViolationError", "address_of"]

_SERVER: Address = ("10.0.255.254", 19782)
_STRANGER: Address = ("10.0.0.66", 5555)
_REMEMBERED = 200  # messages that the host outside the job can replay or change
_TIMING = Timing(initial=1_000_000, minimum=1_000_000, maximum=50_000_000, patience=10_000_000_000)
_PATIENCE = 50_000  # steps within which every job must end once the network delivers everything


def address_of(worker: int) -> Address:
    """Return the address of a worker, by number: a pair of IP address and UDP port."""
    return f"10.0.0.{worker + 1}", 50_000


class Game:
    """One all-reduce job under a schedule of faults. `switch` computes at first, and `server` after the switch was
    given up.

    Both start with empty state when the game is created. One host is outside the job. It sees every message, and
    forges, replays and spoofs: see `forged`. None of that may change anything at the switch or at a worker, except for
    counters of refused messages. `faults` counts the faults played so far, and `forged` the messages forged.
    """

    def __init__(self, schedule: Schedule, switch: Place, server: Place) -> None:
        self._schedule = schedule
        self._places = switch, server
        self._sums = switch
        self._place: Place | None = switch  # None while it is off
        self._epoch = random.Random(schedule.seed).choice((1, 2**16 - 2))
        switch.begin(self._epoch)
        self._random = np.random.default_rng(schedule.seed)
        self._addresses = [address_of(worker) for worker in range(schedule.workers)]
        self._numbers = {address: number for number, address in enumerate(self._addresses)}
        # The workers' addresses, then that of the host outside the job, and with -1 the server's.
        self._sources = [*self._addresses, _STRANGER, _SERVER]
        self._tokens = random.Random(f"{schedule.seed}/tokens")
        self._token = self._tokens.getrandbits(64)
        self._history: deque[tuple[int, int, bytes]] = deque(maxlen=_REMEMBERED)
        self._now = 0
        self._flying: list[tuple[int, int, bytes]] = []  # receiver (a worker or a switch), sending worker, datagram
        self._held: list[tuple[int, int, bytes]] = []
        self._job = random.Random(~schedule.seed).choice((1, 2**16 - 2))
        self._vectors = [[self._vector(size) for size in schedule.rounds] for _ in range(schedule.workers)]
        self._results: list[list[Sum]] = [[] for _ in range(schedule.workers)]
        self._positions = [1] * schedule.workers
        self._settled = [0] * schedule.workers  # rounds that a restarted worker does not repeat
        self.referee = Referee(schedule.workers, schedule.slots, schedule.lanes)
        self.faults = 0
        self.forged = 0
        self._admit()
        self._workers = [self._worker(number) for number in range(schedule.workers)]

    def play(self) -> None:
        """Make the schedule's moves, then deliver everything, and check that all workers end with the right sums.

        Call it once. ViolationError if a guarantee is violated, or any error that an endpoint raises.
        """
        for number in range(self._schedule.workers):
            self._pump(number)
        for move, choice in self._schedule.moves:
            self._move(move, choice)
        if self._schedule.abandoned:
            self._place = None
        else:
            self._revive()
        self._finish()
        self._judge()

    def _finish(self) -> None:
        """Deliver everything in order from now on, including packets held back."""
        for _ in range(_PATIENCE):
            if all(worker.closed for worker in self._workers):
                return
            if self._held:
                self._flying.append(self._held.pop())
            if self._flying:
                self._deliver(*self._flying.pop(0))
            else:
                self._wait()
        raise ViolationError("the job does not end")

    def _judge(self) -> None:
        for number, results in enumerate(self._results):
            if len(results) != len(self._schedule.rounds):
                raise ViolationError(f"worker {number} has {len(results)} of {len(self._schedule.rounds)} sums")
            for which, result in enumerate(results):
                judge(number, which, [vectors[which] for vectors in self._vectors], result)

    def _move(self, move: Move, choice: int) -> None:
        flying = self._flying
        if move is Move.WAIT or (not flying and move in (Move.DELIVER, Move.DUPLICATE, Move.DROP, Move.HOLD)):
            self._wait()
        elif move is Move.DELIVER:
            self._deliver(*flying.pop(choice % len(flying)))
        elif move is Move.DUPLICATE:
            self._deliver(*flying[choice % len(flying)])
        elif move is Move.DROP:
            del flying[choice % len(flying)]
        elif move is Move.HOLD:
            self._held.append(flying.pop(choice % len(flying)))
        elif move is Move.RELEASE:
            if self._held:
                self._deliver(*self._held.pop(choice % len(self._held)))
        elif move is Move.FORGE:
            self._forge(choice)
        else:
            self._fault(move, choice)

    def _fault(self, move: Move, choice: int) -> None:
        self.faults += 1
        if move is Move.RESTART:
            self._restart(choice % self._schedule.workers)
        elif move is Move.REPLACE:
            self._replace(choice % self._schedule.workers)
        elif move is Move.KILL:
            self._place = None
        elif move is Move.RESET:
            self._begin(choice)
        elif move is Move.REVIVE:
            self._revive()
        else:
            self._sums = self._place = self._places[1]
            self._begin()

    def _revive(self) -> None:
        if self._place is None:
            self._place = self._sums
            self._begin()

    def _begin(self, which: int | None = None) -> None:
        self._epoch = (self._epoch + 1) % 2**16
        self._sums.begin(self._epoch, which)

    def _admit(self) -> None:
        for place in self._places:
            place.admit(self._token, self._job)

    def _forge(self, choice: int) -> None:
        """Deliver a forged or replayed message, and check that it changes nothing."""
        if not self._history:
            return
        random_ = random.Random(choice)
        to, source, seen = random_.choice(self._history)
        message = forged(seen, source, self._schedule.workers, random_, to_switch=to < 0)
        if message.replay:
            self._deliver(to, source, message.datagram)
        elif to >= 0:
            self._lie(self._workers[to], self._sources[message.source], message.datagram, to)
        elif self._place is not None:
            before = self._place.state()
            sent = self._place.compute(to, message.port, message.datagram, message.source)
            if self._place.state() != before or any(datagram != message.datagram for _, datagram in sent):
                raise ViolationError("a forged request was computed on")
            for further, datagram in sent:
                if self._place.compute(further, message.port, datagram, message.source):
                    raise ViolationError("a forged request was computed on by the switch above")
            if self._place.state() != before:
                raise ViolationError("a forged request was computed on by the switch above")
        self.forged += 1

    def _lie(self, worker: AllReduce, source: Address, datagram: bytes, number: int) -> None:
        if worker.closed:
            return
        refused = sum(astuple(worker.statistics.refused))
        worker.receive(source, datagram, self._now)
        if sum(astuple(worker.statistics.refused)) != refused + 1:
            raise ViolationError(f"worker {number} accepted a forged message")

    def _worker(self, number: int) -> AllReduce:
        schedule = self._schedule
        endpoint = AllReduce(
            application=1,
            worker=number,
            workers=schedule.workers,
            lanes=schedule.lanes,
            slots=schedule.slots,
            server=_SERVER,
            timing=_TIMING,
            peers=self._addresses,
            job=self._job,
            first=self._positions[number],
            delivered=len(self._results[number]) - self._settled[number],
            headroom=schedule.overflow != "detect",
            token=self._token,
        )
        for vector in self._vectors[number][self._settled[number] :]:
            endpoint.submit(vector)
        endpoint.close()
        return endpoint

    def _restart(self, number: int) -> None:
        """Replace a worker by a new process that starts from its last checkpoint."""
        if self._workers[number].closed:
            return
        self._positions[number] = self._workers[number].position
        self._settled[number] += self._workers[number].settled
        self._workers[number] = self._worker(number)
        self.referee.restarted(number)
        self._pump(number)

    def _replace(self, number: int) -> None:
        """Start a new job from the first round that some worker has not finished, in which one worker has new data."""
        if any(worker.closed for worker in self._workers):
            return
        done = min(len(results) for results in self._results)
        self._job = (self._job + 1) % 2**16
        self._token = self._tokens.getrandbits(64)
        self._admit()
        self._settled = [done] * self._schedule.workers
        for results in self._results:
            del results[done:]
        for which in range(done, len(self._schedule.rounds)):
            self._vectors[number][which] = self._vector(self._schedule.rounds[which])
        self._positions = [1] * self._schedule.workers
        self.referee.new_job()
        self._workers = [self._worker(each) for each in range(self._schedule.workers)]
        for each in range(self._schedule.workers):
            self._pump(each)

    def _vector(self, size: int) -> NDArray[np.float32]:
        """Draw numbers of magnitudes for which, without headroom, some sums overflow and others do not."""
        return self._random.integers(-(2**20), 2**20, size).astype(np.float32)

    def _wait(self) -> None:
        deadlines = [
            each for worker in self._workers if not worker.closed and (each := worker.next_deadline()) is not None
        ]
        if deadlines:
            self._now = max(self._now, min(deadlines))
            for number in range(self._schedule.workers):
                self._pump(number)

    def _deliver(self, to: int, source: int, datagram: bytes) -> None:
        if to >= 0:
            worker = self._workers[to]
            if not worker.closed:  # a closed worker has stopped
                worker.receive(self._addresses[source] if source >= 0 else _SERVER, datagram, self._now)
                self._collect(to)
                self._pump(to)
        elif self._place is not None:
            for number, result in self._place.compute(to, source, datagram):
                self.referee.passed(number, result)
                self._flying.append((number, source if number < 0 else -1, result))
                self._history.append(self._flying[-1])

    def _collect(self, number: int) -> None:
        worker = self._workers[number]
        while (result := worker.take()) is not None:
            which = self._settled[number] + worker.statistics.rounds - 1
            if which < len(self._results[number]):
                if not np.array_equal(result.integers, self._results[number][which].integers):
                    raise ViolationError(f"worker {number} has two sums of round {which}")
            else:
                self._results[number].append(result)

    def _pump(self, number: int) -> None:
        worker = self._workers[number]
        if worker.closed:
            return
        for address, datagram in worker.poll(self._now):
            to = self._numbers.get(address, -1)
            if to < 0:
                to = self._sums.entrance(number)
                self.referee.sent(number, datagram, self._workers)
            self._flying.append((to, number, datagram))
            self._history.append(self._flying[-1])
        if worker.open > self._schedule.slots:
            raise ViolationError(f"worker {number} has {worker.open} open requests")
