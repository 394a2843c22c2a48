"""The referee: it checks the guarantees of an all-reduce from the packets that are sent."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from midflight.errors import MidflightError
from midflight.runtime.endpoint.aggregation import OVERFLOW
from midflight.runtime.endpoint.allreduce import Sum

__all__ = ["Knowledge", "Referee", "ViolationError", "judge"]

# Defined here again, so that the check does not depend on the code that it checks.
_HEAD = struct.Struct("!BBHIQHBBHH")
_HALF, _CYCLE = 2**31, 2**32


class ViolationError(MidflightError):
    """A guarantee of the all-reduce was violated in a game."""


class Knowledge(Protocol):
    """What the referee needs to know about a worker: which results it has."""

    def knows(self, index: int) -> bool:
        """Return whether the worker has the result of chunk number `index`, flagged as overflowed or not."""


def judge(worker: int, which: int, vectors: Sequence[NDArray[np.float32]], result: Sum) -> None:
    """Compare one worker's sum of a round with NumPy's. ViolationError if they differ.

    `which` is the number of the round, for the error. `vectors` are those of all workers, `result` is the worker's sum.
    """
    exact = np.sum([each.astype(np.float64) for each in vectors], axis=0)
    scaled = np.sum([np.rint(np.ldexp(each.astype(np.float64), result.bits)) for each in vectors], axis=0)
    close = np.allclose(result.values, exact, rtol=2**-20, atol=len(vectors) * 2.0 ** -(result.bits + 1))
    if not np.array_equal(result.integers, scaled) or not close:
        raise ViolationError(f"worker {worker} has a wrong sum of round {which}")


class Referee:
    """Records each worker's contribution to each chunk from its first request, and checks every sum against them.

    `workers`, `slots` and `lanes` are those of the `Aggregate`. `sums` counts the sums that were checked.
    """

    def __init__(self, workers: int, slots: int, lanes: int) -> None:
        self._workers = workers
        self._slots = slots
        self._lanes = lanes
        self._given: dict[tuple[int, int], dict[int, bytes]] = {}  # by job and sequence: each worker's numbers
        self._sums: dict[tuple[int, int], NDArray[np.int64]] = {}
        self._restarted: set[int] = set()
        self.sums = 0

    def restarted(self, worker: int) -> None:
        """Record that worker number `worker` has lost its state, so that it need not know earlier results."""
        self._restarted.add(worker)

    def new_job(self) -> None:
        """Record that all workers start again in a new job, with complete knowledge from its beginning."""
        self._restarted.clear()

    def sent(self, worker: int, datagram: bytes, workers: Sequence[Knowledge]) -> None:
        """Check a request of a worker: it goes to the right entry of the switch, whose previous sum no worker needs any
        more.

        `datagram` is its UDP payload, and `workers` are all workers in order. ViolationError if that does not hold, or
        if a worker's contribution to a chunk differs from its earlier one.
        """
        _, _, _, sequence, _, slot, number, _, job, _ = _HEAD.unpack_from(datagram)
        given = self._given.setdefault((job, sequence), {})
        values = datagram[_HEAD.size :]
        if worker in given:
            if given[worker] != values:
                raise ViolationError(f"worker {worker} sends two contributions to chunk {sequence} of job {job}")
            return
        if number != worker or slot != (sequence - 1) % (2 * self._slots):
            raise ViolationError(f"worker {worker} sends as {number} to entry {slot} for chunk {sequence}")
        given[worker] = values
        before = sequence - 2 * self._slots
        if before >= 1:
            for other, endpoint in enumerate(workers):
                if other not in self._restarted and not endpoint.knows(before):
                    raise ViolationError(f"entry {slot} is used again while worker {other} lacks chunk {before}")

    def passed(self, to: int, datagram: bytes) -> None:
        """Check a sum on its way to a worker (`to` is its number) or to a switch (`to` is negative): every contribution
        counts once.

        `datagram` is its UDP payload. ViolationError if the sum is wrong, or overflowed without a flag.
        """
        _, kind, _, sequence, _, _, _, flags, job, _ = _HEAD.unpack_from(datagram)
        if kind == 1 and to < 0:
            return  # a partial sum on its way up
        if kind not in (2, 3) or (kind == 2) != (to >= 0):
            raise ViolationError(f"a message of kind {kind} about chunk {sequence} goes to {to}")
        self.sums += 1
        expected = self._sum(job, sequence)
        values = np.frombuffer(datagram, ">i4", self._lanes, _HEAD.size)
        fits = int(np.abs(expected).max()) < _HALF
        if flags & OVERFLOW:
            expected = (expected + _HALF) % _CYCLE - _HALF
        elif not fits:
            raise ViolationError(f"the sum of chunk {sequence} overflowed but is not flagged")
        if not np.array_equal(values, expected):
            raise ViolationError(f"the sum of chunk {sequence} of job {job} is {values}, and should be {expected}")

    def _sum(self, job: int, sequence: int) -> NDArray[np.int64]:
        key = job, sequence
        if key not in self._sums:
            given = self._given.get(key, {})
            if len(given) != self._workers:
                raise ViolationError(f"chunk {sequence} was summed with contributions of only {sorted(given)}")
            rows = [np.frombuffer(each, ">i4", self._lanes) for each in given.values()]
            self._sums[key] = np.sum(np.stack(rows), axis=0, dtype=np.int64)
        return self._sums[key]
