"""One worker of an all-reduce: float32 vectors in, the sum over all workers out.

Vectors travel as int32 fixed point. The workers first agree on a scale, with the same switch that sums the vectors:
each tells the exponent of its largest magnitude by a one in a histogram of exponents, the histograms are summed like
anything else, and the highest exponent that anybody has is the one that counts. So no worker needs to know another's
data, and the sum cannot overflow (see `midflight.primitives.fixedpoint`).

A round is thus one or more chunks of histogram, then the vector's chunks, padded with zeros to whole chunks. Rounds may
be queued back to back. Their chunks are numbered on and on in one order which depends on nothing but the vectors'
sizes, so that chunk i means the same to every worker.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from midflight.errors import MidflightError
from midflight.primitives.fixedpoint import dequantise, largest_exponent, quantise, scale_bits
from midflight.testbed.endpoint.aggregation import OVERFLOW, RESULT, VALUES_OFFSET, VERSION, encode_requests
from midflight.testbed.endpoint.reliable import Address, Reliable, ReliableStatistics, Timing

__all__ = ["AllReduce", "OverflowedError", "Sum"]

_LOWEST = -125  # the first bucket of the histogram: what `largest_exponent` answers at least
_EXPONENTS = 254  # up to 128
_HEADER = struct.Struct("!BBHIHBB")


class OverflowedError(MidflightError):
    """A result came back flagged: the sum left the range of an int32."""


@dataclass(frozen=True, slots=True)
class Sum:
    """A finished round: the sum as float32, the integers it was read from, and their fraction bits."""

    values: NDArray[np.float32]
    integers: NDArray[np.int32]
    bits: int


@dataclass(slots=True)
class _Round:
    vector: NDArray[np.float32]
    first: int  # index of the first chunk of the part that is under way
    missing: int  # chunks of that part without a result
    sums: NDArray[np.int32]  # chunks x lanes
    bits: int | None = None  # None while the scale is being agreed on


@dataclass(slots=True)
class AllReduceStatistics:
    """What a worker has seen so far, besides what its reliable layer counts."""

    rounds: int = 0
    malformed: int = 0  # datagrams that are no result of this application
    reliable: ReliableStatistics = field(default_factory=ReliableStatistics)


class AllReduce:
    """The endpoint of one worker (an `Endpoint`).

    application, lanes and slots are those of the `Aggregate` in the switch. `worker` is this worker's number, from 0 to
    workers - 1. Requests are addressed to `server`, which computes on them where no switch on the way does.
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
    ) -> None:
        if not 0 <= worker < workers:
            raise MidflightError(f"worker {worker} is not among the {workers} workers, which count from 0")
        self._application = application
        self._worker = worker
        self._workers = workers
        self._lanes = lanes
        self._slots = slots
        self._server = server
        self._reliable = Reliable(window=slots, timing=timing)
        self._queue: deque[NDArray[np.float32]] = deque()
        self._round: _Round | None = None
        self._finished: deque[Sum] = deque()
        self._length = _HEADER.size + 4 * lanes
        self._expected = (VERSION, RESULT, application)
        self._bits_per_count = workers.bit_length()
        self._counts_per_lane = 31 // self._bits_per_count
        self.statistics = AllReduceStatistics(reliable=self._reliable.statistics)

    def submit(self, vector: NDArray[np.float32]) -> None:
        """Queue a round: the sum of the workers' vectors, all of them one-dimensional and of one size.

        Raises WireError where a value is NaN or infinite.
        """
        largest_exponent(vector)
        self._queue.append(vector)
        if self._round is None:
            self._agree()

    @property
    def idle(self) -> bool:
        """Whether every submitted round is finished."""
        return self._round is None

    def take(self) -> Sum | None:
        """Return the oldest finished round that has not been taken, or None."""
        return self._finished.popleft() if self._finished else None

    def receive(self, _source: Address, datagram: bytes, now: int) -> None:
        """Take a result. Raises OverflowedError where it is flagged."""
        if len(datagram) < self._length:
            self.statistics.malformed += 1
            return
        version, kind, application, sequence, slot, _, flags = _HEADER.unpack_from(datagram)
        if (version, kind, application) != self._expected:
            self.statistics.malformed += 1
            return
        index = self._reliable.acknowledge(sequence, now)
        if index is None:
            return
        if flags & OVERFLOW:
            raise OverflowedError(f"the sum of chunk {index} overflowed (slot {slot})")
        state = self._round
        assert state is not None, "an answered request belongs to the round under way"
        state.sums[index - state.first] = np.frombuffer(datagram, ">i4", self._lanes, VALUES_OFFSET)
        state.missing -= 1
        if not state.missing:
            self._finish_part(state)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the requests to be sent now. Raises NoAnswerError when the others are silent for too long."""
        return self._reliable.poll(now)

    def next_deadline(self) -> int | None:
        """Return when the next request is due for retransmission, or None."""
        return self._reliable.next_deadline()

    def _finish_part(self, state: _Round) -> None:
        size = state.vector.size
        if state.bits is None and size:
            state.bits = scale_bits(2.0 ** self._highest(state.sums), self._workers)
            self._send(state, quantise(state.vector, state.bits))
            return
        integers = state.sums.reshape(-1)[:size].copy()
        bits = state.bits or 0
        self._finished.append(Sum(dequantise(integers, bits), integers, bits))
        self.statistics.rounds += 1
        self._round = None
        if self._queue:
            self._agree()

    def _agree(self) -> None:
        """Start the next round: tell the others the exponent of this worker's largest magnitude."""
        vector = self._queue.popleft()
        self._round = _Round(vector, 0, 0, np.zeros((0, 0), np.int32))
        lane, place = divmod(largest_exponent(vector) - _LOWEST, self._counts_per_lane)
        histogram = np.zeros(-(-_EXPONENTS // self._counts_per_lane), np.int32)
        histogram[lane] = 1 << (place * self._bits_per_count)
        self._send(self._round, histogram)

    def _highest(self, sums: NDArray[np.int32]) -> int:
        """Return the highest exponent in the summed histogram."""
        flat = sums.reshape(-1)
        lane = int(np.flatnonzero(flat)[-1])
        place = (int(flat[lane]).bit_length() - 1) // self._bits_per_count
        return _LOWEST + lane * self._counts_per_lane + place

    def _send(self, state: _Round, values: NDArray[np.int32]) -> None:
        chunks = -(-values.size // self._lanes)
        padded = np.zeros((chunks, self._lanes), np.int32)
        padded.reshape(-1)[: values.size] = values
        state.first = self._reliable.upcoming
        state.missing = chunks
        state.sums = np.zeros_like(padded)
        self._reliable.submit(
            self._server,
            encode_requests(
                padded, application=self._application, worker=self._worker, slots=self._slots, first=state.first
            ),
        )
