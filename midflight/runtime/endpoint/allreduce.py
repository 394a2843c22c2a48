"""One worker of an all-reduce: it submits vectors and gets the sum (or another reduction) over all workers.

Floats are sent as fixed point. The workers first agree on a scale, through the same switch that sums the vectors
(`midflight.runtime.endpoint.scale`): the largest exponent of any worker decides. No worker needs to know the data of
another, and the sum cannot overflow (see `midflight.primitives.fixedpoint`). Integers are sent as they are.

A round of floats consists of one or more chunks for the scale, followed by the chunks of the vector, padded with zeros
to whole chunks. A round of integers has the latter only. Several rounds may be queued. Their chunks are numbered
consecutively in an order that depends only on the sizes and types of the vectors, so chunk i means the same to every
worker.

**Recovery from loss.** Every worker retransmits its contribution to a chunk until it has the sum. So there are two
cases. If no worker has the sum, all contributions are still being retransmitted, also to a switch that has lost its
state. If some worker has it, that worker sends it to any peer that asks. A worker that restarts begins again at
`position`, the first round that another worker may still be in, with the same vector. Its peers send it the sums that
it missed, or reply that nobody is in that round any more. No contribution counts twice: a sum takes each worker's
contribution once, and sums are never mixed.

**Chunks that no switch can sum.** A sum that overflowed is flagged and not used. A chunk can also be lost for good: the
only worker that had its sum restarted after it and the switch had moved on. Or no switch is left. In these cases the
workers ask each other for their contributions to the chunk and add them up themselves, in 64 bits.
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
from midflight.runtime.endpoint.messages import Refused
from midflight.runtime.endpoint.reliable import Address, NoAnswerError, Reliable, ReliableStatistics, Timing
from midflight.runtime.endpoint.rounds import Memory, Part
from midflight.runtime.endpoint.scale import Scale
from midflight.runtime.endpoint.shares import Shares

__all__ = ["AllReduce", "AllReduceStatistics", "Numbers", "OverflowedError", "Sum"]

_STUCK_TIMEOUTS = 6  # after so many timeouts a chunk counts as stuck
_MOST_STUCK = 16  # stuck chunks that the workers add up at a time
_IP_UDP = {4: 28, 6: 48}  # bytes of IP and UDP headers before a datagram, by IP version

Numbers = NDArray[Any]
"""A one-dimensional vector to be reduced, with elements of type float32 or int32."""


class OverflowedError(MidflightError):
    """A sum left the range of a lane on the way, and no peer addresses are known to add the numbers up with instead."""


@dataclass(frozen=True, slots=True)
class Sum:
    """The result of one round: `values`, the `integers` that they were converted from, and the fraction bits.

    Shape (n,). A value is its integer / 2**`bits`, as float32. For integer vectors `values` is `integers`, `bits` 0.
    """

    values: NDArray[Any]
    integers: NDArray[np.signedinteger]
    bits: int


@dataclass(slots=True)
class _Round:
    vector: Numbers | None  # None for the closing round
    part: Part
    first: int  # the index of its first chunk
    bits: int | None = None  # None while the scale is being agreed on


@dataclass(slots=True)
class AllReduceStatistics:
    """Counters of one worker of an all-reduce since it started: its rounds, overflows and refused datagrams."""

    rounds: int = 0
    refused: Refused = field(default_factory=Refused)
    epochs: int = 0  # new epochs seen: the switch or server had lost its state
    asked: int = 0  # questions to peers about missing sums
    from_peers: int = 0  # sums that came from peers
    overflowed: int = 0  # sums flagged as overflowed, which the workers added up themselves
    stuck: int = 0  # chunks that the workers added up because no sum arrived
    reliable: ReliableStatistics = field(default_factory=ReliableStatistics)


class AllReduce:
    """The endpoint of one worker of an all-reduce (an `Endpoint`): `submit` vectors, `poll`, and `take` the results.

    application: the id of the `Aggregate`, whose `lanes`, `slots`, `operation` and `number` these are.
    worker: this worker's number, 0 to workers - 1.
    server: the address of requests; it computes if no switch on the way does.
    peers: all workers' addresses in the order of their numbers. Without them, it cannot recover sums from others.
    timing: None for the default timers.
    job: 0 to 65535, the same for all workers and newer (RFC 1982) than every job that the switch has seen. Messages of
        other jobs are dropped.
    first: the chunk at which a worker that restarts in the middle of a job begins, which is the last `position` of its
        predecessor. The first `delivered` of the rounds submitted from there on had been finished before the restart;
        they are repeated only because other workers may still be in them.
    headroom: whether the scale leaves room for every worker to have the largest value. Without headroom sums are more
        exact but may overflow, so the switch has to `detect` that.
    mtu: the largest IP packet in bytes.
    token: the 64-bit number that all messages of the job carry.

    MidflightError if the worker's number is out of range, if there are peer addresses but not one for each worker, if
    `slots` is below 1, or if the lanes do not fit the MTU.
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
        token: int = 0,
    ) -> None:
        if not 0 <= worker < workers:
            raise MidflightError(f"there is no worker {worker}: {workers} workers are numbered from 0")
        if peers and len(peers) != workers:
            raise MidflightError(f"{workers} workers need as many peer addresses, not {len(peers)}")
        self._form = Form(application, lanes, number, token)
        headers = _IP_UDP[6 if ":" in server[0] else 4]
        if self._form.size + headers > mtu:
            most = (mtu - headers - self._form.values_offset) // self._form.number_size
            raise MidflightError(
                f"packets with {lanes} lanes have {self._form.size + headers} bytes, but the MTU is {mtu}",
                hint=f"give the Aggregate at most {most} lanes" if most > 0 else "not even one lane fits",
            )
        self._worker, self._workers = worker, workers
        self._lanes, self._slots = lanes, slots
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
        self._peers_ahead = False  # the latest sum came from a peer, so the next one probably will, too
        self._early_askers: dict[int, dict[Address, None]] = {}  # peers that asked for a contribution not sent yet
        self._sum_askers: dict[int, dict[Address, None]] = {}  # peers that asked for a sum not yet known
        self._summing_here = False  # the latest sum was added up here, so the next one is, too, without waiting
        self._position = first
        self._settled, self._delivered = 0, delivered
        self._closing = False
        self._scale = Scale(operation, workers, 8 * self._form.number_size)
        # Contributions that a lane must have room for.
        self._terms = workers if headroom and operation in ("sum", "count", "mean") else 1
        self._bitwise = operation in ("and", "or", "xor")
        self.closed = False
        """True, after `close`, once every worker has every sum, or this one has and no other answers: it may stop."""
        self.statistics = AllReduceStatistics(reliable=self._reliable.statistics)

    def submit(self, vector: Numbers) -> None:
        """Queue a round, which reduces this one-dimensional vector with those of the other workers.

        Sends nothing: see `poll`. Call it before `close`. All vectors of a round have the same size and type. WireError
        if a value is NaN or infinite or does not fit a lane (for floats: float32), or if floats are combined bitwise.
        """
        if vector.dtype.kind == "f":
            largest_exponent(vector)
            if self._bitwise:
                raise WireError("bitwise operations do not apply to floats", hint="pass integers")
        elif not self._form.holds(vector):
            raise WireError(f"a value does not fit a lane of {8 * self._form.number_size} bits")
        self._queue.append(vector)
        if self._round is None:
            self._begin()

    def close(self) -> None:
        """Announce, once, that no more rounds follow. Go on polling until `closed`: others may need this worker."""
        self._closing = True
        self._queue.append(None)
        if self._round is None:
            self._begin()

    @property
    def idle(self) -> bool:
        """Whether every submitted round is finished. Its results may still wait in `take`."""
        return self._round is None or self._round.vector is None

    @property
    def position(self) -> int:
        """The index of the first chunk of the round at which this worker has to begin if it is restarted.

        That is the latest round whose first part is summed, also the closing one: until the first part of the next
        round is summed, other workers may still be in it and need this worker. `settled` rounds come before it.
        """
        return self._position

    @property
    def settled(self) -> int:
        """The number of submitted rounds that all workers are known to have finished: those before `position`."""
        return self._settled

    @property
    def upcoming(self) -> int:
        """The index that the next chunk gets. Rounds that wait for an earlier one or for their scale count later."""
        return self._reliable.upcoming

    @property
    def open(self) -> int:
        """The number of chunks whose request has been sent and whose sum has not arrived."""
        return self._reliable.open

    @property
    def unheard(self) -> list[int]:
        """The workers that were asked for contributions to chunks without a sum and have not answered, in order."""
        return self._shares.unheard

    def knows(self, index: int) -> bool:
        """Return whether the result of the chunk with this index has arrived, or its request was settled otherwise."""
        return index < self._reliable.waiting_from and not self._reliable.is_open(index)

    def take(self) -> Sum | None:
        """Remove and return the result of the oldest finished round, or None if there is none to take."""
        return self._finished.popleft() if self._finished else None

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        """Process a result, or a question or reply of a peer. Anything else is counted and dropped.

        OverflowedError if a result is flagged as overflowed and there are no peers.
        """
        head = self._form.head(datagram)
        if head is None or head.kind not in (RESULT, ASK, SHARE, BEGUN):
            self.statistics.refused.malformed += 1
        elif head.token != self._form.token:
            self.statistics.refused.token += 1
        elif not self._from(source, head):
            self.statistics.refused.source += 1
        elif head.job != self._job:
            self.statistics.refused.job += 1
        elif head.kind == RESULT:
            self._result(source, head, datagram, now)
        elif head.kind == ASK:
            self._answer(source, head)
        elif head.kind == BEGUN:
            self._skip(self._reliable.index_of(head.sequence))
        else:
            self._share(head, datagram, now)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the datagrams to send now. NoAnswerError if no answer has arrived for the configured patience.

        After `close`, a worker that has every sum does not raise it: it becomes `closed`.
        """
        try:
            out = self._poll(now)
        except NoAnswerError:
            if not self._closing or self._lacks_rounds():
                raise
            self._round, out = None, []  # the others have stopped, and this worker has every sum
            self._queue.clear()
            self._reliable.forget()
            self._shares.forget()
            self.closed = True
        if self._outgoing:
            out += self._outgoing
            self._outgoing = []
        return out

    def _poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the requests and questions to send now."""
        upcoming = self._reliable.waiting_from
        out = self._reliable.poll(now)
        overdue = self._reliable.overdue(0 if self._peers_ahead else None)
        for index in range(upcoming, self._reliable.waiting_from) if self._early_askers else ():
            for source in self._early_askers.pop(index, ()):
                self._outgoing.append((source, self._contribution(index)))
        if self._peers:
            begun = [(index, 0) for index in range(upcoming, self._reliable.waiting_from)]
            self._collect_stuck(overdue, begun)
            if self._peers_ahead:
                overdue += begun
            out += [self._question(index, times) for index, times in overdue]
            out += self._shares.poll(now)
        return out

    def next_deadline(self) -> int | None:
        """Return the time in nanoseconds of the next retransmission, when to `poll`; None if nothing is waiting."""
        mine, shares = self._reliable.next_deadline(), self._shares.next_deadline()
        return shares if mine is None else mine if shares is None else min(mine, shares)

    def _lacks_rounds(self) -> bool:
        """Return whether a queued round was finished neither by this worker nor by the one that it replaces."""
        rounds = [self._round.vector if self._round else None, *self._queue]
        left = sum(vector is not None for vector in rounds)
        return left > 0 and self.statistics.rounds + left > self._delivered

    def _from(self, source: Address, head: Head) -> bool:
        """Return whether a message can come from an address.

        Sums come from the server's address, whoever computed them, and from peers, as everything else does.
        """
        if source == self._server:
            return head.kind == RESULT
        return source in self._known_peers and (head.kind == RESULT or self._peers.get(head.worker) == source)

    def _result(self, source: Address, head: Head, datagram: bytes, now: int) -> None:
        from_peer = source in self._known_peers
        if not from_peer:
            self._note_epoch(head.epoch, now)
            self._summing_here = False
        index = self._reliable.acknowledge(
            head.sequence, now, sample=self._peers_ahead if from_peer else not head.flags & AGAIN
        )
        if index is None:
            return
        self._shares.drop(index)
        self._peers_ahead = from_peer
        self.statistics.from_peers += from_peer
        if head.flags & OVERFLOW:
            if not self._peers and self._workers > 1:
                raise OverflowedError(f"the sum of chunk {index} overflowed (slot {head.slot})")
            self.statistics.overflowed += 1
            part = self._part()
            self._shares.collect(index, part.given[index - part.first])
            self._add_up(index, now)
        else:
            self._learn(index, self._form.values(datagram))

    def _note_epoch(self, epoch: int, now: int) -> None:
        """Retransmit everything if a result has a newer epoch: the switch or server has lost its state."""
        if self._epoch is None:
            self._epoch = epoch
        elif 0 < (epoch - self._epoch) % 2**16 < 2**15:
            self._epoch = epoch
            self.statistics.epochs += 1
            self._reliable.hurry(now)

    def _collect_stuck(self, overdue: Sequence[tuple[int, int]], begun: Sequence[tuple[int, int]]) -> None:
        """Start adding up the chunks that have waited too long for a sum, or that no switch will sum."""
        least, most = (0, self._slots) if self._summing_here else (_STUCK_TIMEOUTS, _MOST_STUCK)
        for index, times in [*overdue, *begun]:
            if times >= least and len(self._shares) < most and index not in self._shares:
                part = self._part()
                self._shares.collect(index, part.given[index - part.first])

    def _question(self, index: int, times: int) -> tuple[Address, bytes]:
        """Return a question for a sum, to a different peer each time."""
        self.statistics.asked += 1
        others = [*self._peers]
        other = others[(self._worker + index + times) % len(others)]
        return self._peers[other], self._form.message(ASK, index, worker=self._worker, job=self._job)

    def _answer(self, source: Address, head: Head) -> None:
        """Answer a peer's question if the answer is known, or will be soon."""
        index = self._reliable.index_of(head.sequence)
        ahead = index - self._reliable.waiting_from
        near = -self._slots <= ahead < self._slots
        if head.flags & OVERFLOW and ahead >= 0:
            # The window also holds for contributions to peers: whoever has a sum relies on all workers having the
            # sums that came before it.
            if near:
                self._early_askers.setdefault(index, {})[source] = None
            return
        part = self._memory.of(index)
        if index < self._position and (part is None or not (head.flags & OVERFLOW or part.known[index - part.first])):
            begun = self._form.message(BEGUN, self._position, worker=self._worker, job=self._job)
            self._outgoing.append((source, begun))
            return
        if part is not None and head.flags & OVERFLOW:
            self._outgoing.append((source, self._contribution(index)))
        elif part is not None and part.known[index - part.first]:
            self._outgoing.append((source, self._known_sum(part, index)))
        elif near:
            self._sum_askers.setdefault(index, {})[source] = None

    def _known_sum(self, part: Part, index: int) -> bytes:
        """Return a message with the sum of a chunk."""
        sums = part.sums[index - part.first]
        fits = self._form.holds(sums)  # if not, the peer has to add up the contributions, too
        values, flags = (sums, 0) if fits else (None, OVERFLOW)
        return self._form.message(
            RESULT, index, worker=self._worker, job=self._job, flags=flags, epoch=self._epoch or 0, values=values
        )

    def _contribution(self, index: int) -> bytes:
        """Return a message with this worker's contribution to a chunk."""
        part = self._memory.of(index)
        assert part is not None
        row = index - part.first
        return self._form.message(SHARE, index, worker=self._worker, job=self._job, values=part.given[row])

    def _skip(self, begun: int) -> None:
        """Skip the rounds before chunk `begun` that this worker's predecessor had finished.

        Every worker has finished the rounds before that chunk.
        """
        while self._round is not None and self._round.vector is not None and self.statistics.rounds < self._delivered:
            scale = self._scale.lanes if self._round.vector.dtype.kind == "f" else 0
            after = self._round.first + self._chunks(scale) + self._chunks(self._round.vector.size)
            if after > begun:
                return
            for index in range(self._round.first, after):
                self._shares.drop(index)
            self._reliable.skip(after)
            self._early_askers.clear()
            self._sum_askers.clear()
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
                self._summing_here = True
            self._learn(index, total)

    def _part(self) -> Part:
        assert self._round is not None, "an answered request belongs to the current round"
        return self._round.part

    def _learn(self, index: int, values: NDArray[np.signedinteger]) -> None:
        part = self._part()
        part.learn(index, values)
        for source in self._sum_askers.pop(index, ()):
            self._outgoing.append((source, self._known_sum(part, index)))
        if not part.missing:
            self._finish_part()

    def _finish_part(self) -> None:
        state = self._round
        assert state is not None
        if state.part.first == state.first:  # all workers are in this round, so all have finished the one before
            self._position, self._settled = state.first, self.statistics.rounds
        if state.vector is None:
            self._round, self.closed = None, True
            return
        size, floats = state.vector.size, state.vector.dtype.kind == "f"
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
        """Start the next round by sending the exponent of the vector's largest magnitude, or its integers."""
        vector, first = self._queue.popleft(), self._reliable.upcoming
        if vector is None:
            self._round = _Round(None, self._send(np.zeros(1, np.int32)), first)
        elif vector.dtype.kind == "f":
            self._round = _Round(vector, self._send(self._scale.encode(largest_exponent(vector))), first)
        else:
            self._round = _Round(vector, self._send(vector), first)

    def _chunks(self, size: int) -> int:
        """Return the number of chunks that hold this many numbers."""
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
