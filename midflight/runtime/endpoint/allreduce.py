"""One worker of an all-reduce: vectors in, the sum over all workers out, or whatever else the operation is.

Floats travel as fixed point. The workers first agree on a scale, with the same switch that sums the vectors
(`midflight.runtime.endpoint.scale`): the highest exponent that anybody has is the one that counts. So no worker needs
to know another's data, and the sum cannot overflow (see `midflight.primitives.fixedpoint`). Integers travel as such.

A round of floats is thus one or more chunks for the scale, then the vector's chunks, padded with zeros to whole chunks;
one of integers has the latter alone. Rounds may be queued back to back. Their chunks are numbered on and on in one
order which depends on nothing but the vectors' sizes and types, so that chunk i means the same to every worker.

**What was lost.** Every worker repeats its contribution to a chunk until it has the sum. So either nobody has it, and
then everybody's contribution is still on offer to whatever sums, a switch that has lost its memory included; or
somebody has it, and hands it on to who asks for it. A worker that was restarted begins again with the round that
somebody may still be at (`position`), from the same vector, and is told what it has missed: the sums, or that nobody is
at that round any more. Nothing counts twice, as a sum takes each worker's contribution once and nobody mixes two sums.

**What nobody can sum.** A sum that overflowed is flagged and not used. And a chunk may be lost to the switch for good:
the only worker who had its sum was restarted, after it had gone on and the switch with it. Or there is no switch any
more. Then the workers ask each other for their contributions to that chunk and add them up by themselves, in 64 bits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midflight.errors import MidflightError, WireError
from midflight.primitives.fixedpoint import dequantise, largest_exponent, quantise, scale_bits
from midflight.primitives.library.aggregate import Number, Operation
from midflight.runtime.endpoint.aggregation import AGAIN, ASK, BEGUN, OVERFLOW, RESULT, SHARE, Form, Head
from midflight.runtime.endpoint.reliable import Address, NoAnswerError, Reliable, ReliableStatistics, Timing
from midflight.runtime.endpoint.rounds import Memory, Part
from midflight.runtime.endpoint.scale import Scale
from midflight.runtime.endpoint.shares import Shares

__all__ = ["AllReduce", "AllReduceStatistics", "Numbers", "OverflowedError", "Sum"]

_PATIENT = 6  # timeouts after which a chunk counts as stuck
_MOST_STUCK = 16  # chunks that are added up by the workers at a time because they got no sum
_IP_UDP = {4: 28, 6: 48}  # bytes of IP and UDP headers in front of a datagram, by the version of IP


Numbers = NDArray[Any]
"""What is summed: float32 or int32."""


class OverflowedError(MidflightError):
    """A result came back flagged, and there are no peers to add the numbers up with."""


@dataclass(frozen=True, slots=True)
class Sum:
    """A finished round: the sum as float32, the integers it was read from, and their fraction bits.

    The sum of integers is those integers.
    """

    values: NDArray[Any]
    integers: NDArray[np.signedinteger]
    bits: int


@dataclass(slots=True)
class _Round:
    vector: Numbers | None  # None for the farewell
    part: Part
    first: int  # the index of its first chunk
    bits: int | None = None  # None while the scale is being agreed on


@dataclass(slots=True)
class AllReduceStatistics:
    """What a worker has seen so far, besides what its reliable layer counts."""

    rounds: int = 0
    malformed: int = 0  # datagrams that are no message of this application
    stale: int = 0  # messages of another job
    epochs: int = 0  # how often those that sum had begun anew
    asked: int = 0  # messages to peers about sums that did not come
    told: int = 0  # sums that peers sent
    overflowed: int = 0  # sums that were flagged, so that the workers added up the chunk themselves
    stuck: int = 0  # chunks that they added up because no sum came
    reliable: ReliableStatistics = field(default_factory=ReliableStatistics)


class AllReduce:
    """The endpoint of one worker (an `Endpoint`).

    application, lanes, slots, operation and number are those of the `Aggregate` in the switch. `worker` is this
    worker's number, from 0 to workers - 1. Requests are addressed to `server`, which computes on them where no switch
    on the way does. `peers` are the addresses of all workers in order of their numbers, this one's included; without
    them nobody is asked.

    job: 0 to 65535, one for all workers and newer (RFC 1982) than those of all jobs that the switch has seen; whatever
    belongs to another job is dropped. first: where a worker that was restarted in the middle of a job begins, the
    `position` that its predecessor had last; of the rounds submitted from there on, `delivered` had been finished
    before, and are gone through again only because others may still be at them. headroom: whether the scale leaves
    room for every worker to have the largest value; without, sums are more exact and may overflow, so that the switch
    has to `detect` it. mtu: the largest IP packet, in bytes; MidflightError where the lanes do not fit it.
    """

    def __init__(
        self,
        *,
        application: int,
        worker: int,
        workers: int,
        lanes: int,
        slots: int,
        server: Address,
        timing: Timing | None = None,
        peers: Sequence[Address] = (),
        job: int = 1,
        first: int = 1,
        delivered: int = 0,
        headroom: bool = True,
        mtu: int = 1500,
        operation: Operation = "sum",
        number: Number = "int32",
    ) -> None:
        if not 0 <= worker < workers:
            raise MidflightError(f"worker {worker} is not among the {workers} workers, which count from 0")
        if peers and len(peers) != workers:
            raise MidflightError(f"{len(peers)} addresses of peers for {workers} workers")
        self._form = Form(application, lanes, number)
        headers = _IP_UDP[6 if ":" in server[0] else 4]
        if self._form.size + headers > mtu:
            most = (mtu - headers - self._form.values_offset) // self._form.number_size
            raise MidflightError(
                f"{lanes} lanes make packets of {self._form.size + headers} bytes, and the MTU is {mtu}",
                hint=f"give the Aggregate {most} lanes at most" if most > 0 else "no lane fits it",
            )
        self._worker = worker
        self._workers = workers
        self._lanes = lanes
        self._slots = slots
        self._server = server
        self._peers = {number: each for number, each in enumerate(peers) if number != worker}
        self._known_peers = frozenset(self._peers.values())
        self._job = job
        self._headroom = headroom
        self._reliable = Reliable(window=slots, timing=timing, first=first, again=self._form.again)
        self._shares = Shares(self._form, worker, job, self._peers, timing, operation)
        self._queue: deque[Numbers | None] = deque()
        self._round: _Round | None = None
        self._memory = Memory()
        self._finished: deque[Sum] = deque()
        self._outgoing: list[tuple[Address, bytes]] = []
        self._epoch: int | None = None
        self._behind = False  # the latest sum came from a peer: so will the next
        self._promised: dict[int, dict[Address, None]] = {}  # who has asked for a contribution that was not sent yet,
        self._owed: dict[int, dict[Address, None]] = {}  # and for a sum that had not come
        self._alone = False  # the latest sum was added up here, as none came: so will the next
        self._position = first
        self._settled = 0
        self._delivered = delivered
        self._closing = False
        self._scale = Scale(operation, workers, 8 * self._form.number_size)
        self._terms = (
            workers if headroom and operation in ("sum", "count", "mean") else 1
        )  # that a lane must have room for
        self._bitwise = operation in ("and", "or", "xor")
        self.closed = False
        """Whether everybody is known to have everything, after `close`: this worker may go."""
        self.statistics = AllReduceStatistics(reliable=self._reliable.statistics)

    def submit(self, vector: Numbers) -> None:
        """Queue a round: the sum of the workers' vectors, all of them one-dimensional, of one size and one type.

        Raises WireError where a value is NaN or infinite, or does not fit a lane.
        """
        if vector.dtype.kind == "f":
            largest_exponent(vector)
            if self._bitwise:
                raise WireError("floats have no bitwise operations", hint="pass integers")
        elif not self._form.holds(vector):
            raise WireError(f"a number does not fit a lane of {8 * self._form.number_size} bits")
        self._queue.append(vector)
        if self._round is None:
            self._begin()

    def close(self) -> None:
        """Say that no more rounds will come. Until `closed`, others may need this worker, so it goes on answering."""
        self._closing = True
        self._queue.append(None)
        if self._round is None:
            self._begin()

    @property
    def idle(self) -> bool:
        """Whether every submitted round is finished."""
        return self._round is None or self._round.vector is None

    @property
    def position(self) -> int:
        """Where this worker has to begin again if it is restarted: the first chunk of a round.

        That is the round under way once its scale is agreed on, and the round before as long as it is not: somebody may
        still be at that one, and need this worker for it. `settled` rounds have come before.
        """
        return self._position

    @property
    def settled(self) -> int:
        """How many of the submitted rounds all workers are known to have finished."""
        return self._settled

    @property
    def upcoming(self) -> int:
        """The index of the next chunk that this worker has nothing for yet."""
        return self._reliable.upcoming

    @property
    def open(self) -> int:
        """How many requests are waiting for their answers."""
        return self._reliable.open

    def knows(self, index: int) -> bool:
        """Say whether the result of a chunk has come, flagged or not."""
        return index < self._reliable.waiting_from and not self._reliable.is_open(index)

    def take(self) -> Sum | None:
        """Return the oldest finished round that has not been taken, or None."""
        return self._finished.popleft() if self._finished else None

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Take a result, or a peer's question or answer.

        Raises OverflowedError where a result is flagged and no peers are known.
        """
        head = self._form.head(datagram)
        if head is None or head.kind not in (RESULT, ASK, SHARE, BEGUN):
            self.statistics.malformed += 1
        elif head.job != self._job:
            self.statistics.stale += 1
        elif head.kind == RESULT:
            self._result(source, head, datagram, now)
        elif head.kind == ASK:
            self._answer(source, head)
        elif head.kind == BEGUN:
            if source in self._known_peers:
                self._skip(self._reliable.index_of(head.sequence))
        else:
            self._share(head, datagram, now)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return what is to be sent now. Raises NoAnswerError when the others are silent for too long."""
        try:
            out = self._poll(now)
        except NoAnswerError:
            if not self._closing or self._lacks_rounds():
                raise
            self._round, out = None, []  # the others have gone, and this worker has everything
            self._queue.clear()
            self._reliable.forget()
            self._shares.forget()
            self.closed = True
        if self._outgoing:
            out += self._outgoing
            self._outgoing = []
        return out

    def _poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the requests and the questions to be sent now."""
        upcoming = self._reliable.waiting_from
        out = self._reliable.poll(now)
        asked = self._reliable.overdue(0 if self._behind else None)
        for index in range(upcoming, self._reliable.waiting_from) if self._promised else ():
            for source in self._promised.pop(index, ()):
                self._outgoing.append((source, self._contribution(index)))
        if self._peers:
            begun = [(index, 0) for index in range(upcoming, self._reliable.waiting_from)]
            self._stick(asked, begun)
            if self._behind:
                asked += begun
            out += [self._question(index, times) for index, times in asked]
            out += self._shares.poll(now)
        return out

    def next_deadline(self) -> int | None:
        """Return when the next request is due for retransmission, or None."""
        mine, shares = self._reliable.next_deadline(), self._shares.next_deadline()
        return shares if mine is None else mine if shares is None else min(mine, shares)

    def _lacks_rounds(self) -> bool:
        """Say whether a round has not been finished, by this worker or by the one that it was restarted for."""
        rounds = [self._round.vector if self._round else None, *self._queue]
        left = sum(vector is not None for vector in rounds)
        return left > 0 and self.statistics.rounds + left > self._delivered

    def _result(self, source: Address, head: Head, datagram: bytes, now: int) -> None:
        told = source in self._known_peers
        if not told:
            self._notice(head.epoch, now)
            self._alone = False
        index = self._reliable.acknowledge(head.sequence, now, sample=self._behind if told else not head.flags & AGAIN)
        if index is None:
            return
        self._shares.drop(index)
        self._behind = told
        self.statistics.told += told
        if head.flags & OVERFLOW:
            if not self._peers and self._workers > 1:
                raise OverflowedError(f"the sum of chunk {index} overflowed (slot {head.slot})")
            self.statistics.overflowed += 1
            part = self._part()
            self._shares.want(index, part.given[index - part.first])
            self._add_up(index, now)
        else:
            self._learn(index, self._form.values(datagram))

    def _notice(self, epoch: int, now: int) -> None:
        """Where results come from a new life of what sums, it has forgotten all that it was sent before."""
        if self._epoch is None:
            self._epoch = epoch
        elif 0 < (epoch - self._epoch) % 2**16 < 2**15:
            self._epoch = epoch
            self.statistics.epochs += 1
            self._reliable.hurry(now)

    def _stick(self, overdue: Sequence[tuple[int, int]], begun: Sequence[tuple[int, int]]) -> None:
        """Begin to add up here what nobody has had a sum of for long, or nobody will have."""
        least, most = (0, self._slots) if self._alone else (_PATIENT, _MOST_STUCK)
        for index, times in [*overdue, *begun]:
            if times >= least and len(self._shares) < most and index not in self._shares:
                part = self._part()
                self._shares.want(index, part.given[index - part.first])

    def _question(self, index: int, times: int) -> tuple[Address, bytes]:
        """Ask a peer, another one each time, for a sum."""
        self.statistics.asked += 1
        others = [*self._peers]
        other = others[(self._worker + index + times) % len(others)]
        return self._peers[other], self._form.message(ASK, index, worker=self._worker, job=self._job)

    def _answer(self, source: Address, head: Head) -> None:
        """Tell a peer what it asked for, where it is known."""
        index = self._reliable.index_of(head.sequence)
        ahead = index - self._reliable.waiting_from
        near = -self._slots <= ahead < self._slots and source in self._known_peers
        if head.flags & OVERFLOW and ahead >= 0:
            # What was not sent yet is not told either: who has a sum may count on everybody to have what was before.
            if near:
                self._promised.setdefault(index, {})[source] = None
            return
        part = self._memory.of(index)
        if index < self._position and (part is None or not (head.flags & OVERFLOW or part.known[index - part.first])):
            begun = self._form.message(BEGUN, self._position, worker=self._worker, job=self._job)
            self._outgoing.append((source, begun))
            return
        if part is not None and head.flags & OVERFLOW:
            self._outgoing.append((source, self._contribution(index)))
        elif part is not None and part.known[index - part.first]:
            self._outgoing.append((source, self._told(part, index)))
        elif near:
            self._owed.setdefault(index, {})[source] = None

    def _told(self, part: Part, index: int) -> bytes:
        """Return the message that tells a sum."""
        sums = part.sums[index - part.first]
        fits = self._form.holds(sums)  # else no lane holds it: let the peer add it up as well
        values, flags = (sums, 0) if fits else (None, OVERFLOW)
        return self._form.message(
            RESULT, index, worker=self._worker, job=self._job, flags=flags, epoch=self._epoch or 0, values=values
        )

    def _contribution(self, index: int) -> bytes:
        """Return the message that tells what this worker has given to a chunk."""
        part = self._memory.of(index)
        assert part is not None
        values = part.given[index - part.first]
        return self._form.message(SHARE, index, worker=self._worker, job=self._job, values=values)

    def _skip(self, begun: int) -> None:
        """Leave out rounds that this worker was restarted in, that it had finished, and that nobody needs it for."""
        while self._round is not None and self._round.vector is not None and self.statistics.rounds < self._delivered:
            scale = self._scale.lanes if self._round.vector.dtype.kind == "f" else 0
            after = self._round.first + self._chunks(scale) + self._chunks(self._round.vector.size)
            if after > begun:
                return
            for index in range(self._round.first, after):
                self._shares.drop(index)
            self._reliable.skip(after)
            self._promised.clear()
            self._owed.clear()
            self.statistics.rounds += 1
            self._position, self._settled = after, self.statistics.rounds
            self._round = None
            if self._queue:
                self._begin()

    def _share(self, head: Head, datagram: bytes, now: int) -> None:
        index = self._shares.take(self._reliable.index_of(head.sequence), head.worker, self._form.values(datagram), now)
        if index is not None:
            self._add_up(index, now)

    def _add_up(self, index: int, now: int) -> None:
        total = self._shares.total(index)
        if total is not None:
            if self._reliable.settle(index, now):
                self.statistics.stuck += 1
                self._alone = True
            self._learn(index, total)

    def _part(self) -> Part:
        assert self._round is not None, "an answered request belongs to the round under way"
        return self._round.part

    def _learn(self, index: int, values: NDArray[np.signedinteger]) -> None:
        part = self._part()
        part.learn(index, values)
        for source in self._owed.pop(index, ()):
            self._outgoing.append((source, self._told(part, index)))
        if not part.missing:
            self._finish_part()

    def _finish_part(self) -> None:
        state = self._round
        assert state is not None
        if state.vector is None:
            self._round = None
            self.closed = True
            return
        if state.part.first == state.first:  # all have begun this round, so all have finished the one before
            self._position, self._settled = state.first, self.statistics.rounds
        size = state.vector.size
        floats = state.vector.dtype.kind == "f"
        if state.bits is None and size and floats:
            highest = self._scale.highest(state.part.sums.reshape(-1))
            state.bits = scale_bits(2.0**highest, self._terms, self._form.most)
            state.part = self._send(quantise(state.vector, state.bits, self._form.most))
            return
        flat = state.part.sums.reshape(-1)[:size]
        integers = flat.astype(np.int32) if self._headroom else flat.copy()
        bits = state.bits or 0
        self._finished.append(Sum(dequantise(integers, bits) if floats else integers, integers, bits))
        self.statistics.rounds += 1
        self._round = None
        if self._queue:
            self._begin()

    def _begin(self) -> None:
        """Start the next round: tell the others the exponent of this worker's largest magnitude, or its integers."""
        vector, first = self._queue.popleft(), self._reliable.upcoming
        if vector is None:
            self._round = _Round(None, self._send(np.zeros(1, np.int32)), first)
        elif vector.dtype.kind == "f":
            self._round = _Round(vector, self._send(self._scale.told(largest_exponent(vector))), first)
        else:
            self._round = _Round(vector, self._send(vector), first)

    def _chunks(self, size: int) -> int:
        """Return how many chunks hold this many numbers."""
        return -(-size // self._lanes)

    def _send(self, values: NDArray[np.int32]) -> Part:
        padded = np.zeros((self._chunks(values.size), self._lanes), np.int32)
        padded.reshape(-1)[: values.size] = values
        part = Part(self._reliable.upcoming, padded, np.zeros(padded.shape, np.int64))
        self._memory.add(part)
        self._reliable.submit(
            self._server,
            self._form.requests(padded, worker=self._worker, slots=self._slots, first=part.first, job=self._job),
        )
        return part
