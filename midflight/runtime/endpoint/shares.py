"""A worker's own sums of chunks that no switch can sum: it asks all peers for their contributions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from midflight.primitives.library.aggregate import Operation
from midflight.runtime.endpoint.aggregation import ASK, OVERFLOW, Form
from midflight.runtime.endpoint.reliable import Address, Reliable, Timing
from midflight.runtime.endpoint.serial import serial

__all__ = ["Shares"]

_WINDOW = 1024  # open questions
_COMBINE: dict[Operation, np.ufunc] = {
    "sum": np.add,
    "count": np.add,
    "mean": np.add,
    "min": np.minimum,
    "max": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}


class Shares:
    """Asks the peers of a worker for their contributions to chunks and combines them. Each contribution counts once.

    `len()` is the number of chunks that are being collected, and `in` tests whether a chunk index is among them. peers:
    the addresses of the other workers, by number. timing: the retransmission timers, None for the defaults. operation:
    how contributions are combined, that of the `Aggregate`; counts and means are sums here.
    """

    def __init__(
        self,
        form: Form,
        worker: int,
        job: int,
        peers: Mapping[int, Address],
        timing: Timing | None,
        operation: Operation = "sum",
    ) -> None:
        self._form = form
        self._combine = _COMBINE[operation]
        self._worker = worker
        self._job = job
        self._peers = peers
        self._reliable = Reliable(window=_WINDOW, timing=timing)
        self._questions: dict[tuple[int, int], int] = {}  # by chunk and worker: the index of the question
        self._totals: dict[int, NDArray[np.int64]] = {}
        self._missing: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._totals)

    def __contains__(self, index: int) -> bool:
        return index in self._totals

    @property
    def unheard(self) -> list[int]:
        """The numbers of the workers whose contribution to any of these chunks is missing, in ascending order."""
        return sorted({worker for _, worker in self._questions})

    def drop(self, index: int) -> None:
        """Stop collecting for the chunk with this index, because its sum has arrived. Idempotent."""
        if self._totals.pop(index, None) is not None:
            del self._missing[index]
            for number in self._peers:
                if (question := self._questions.pop((index, number), None)) is not None:
                    self._reliable.cancel(question)

    def forget(self) -> None:
        """Stop collecting contributions, for all chunks, and forget those that have arrived."""
        for index in [*self._totals]:
            self.drop(index)

    def collect(self, index: int, mine: NDArray[np.int32]) -> None:
        """Start collecting the contributions to the chunk with this index; `poll` then asks all peers.

        `mine` is this worker's own contribution, of shape (lanes,).
        """
        self._totals[index] = mine.astype(np.int64)
        self._missing[index] = len(self._peers)
        question = self._form.message(ASK, index, worker=self._worker, job=self._job, flags=OVERFLOW)
        for number, address in self._peers.items():
            self._questions[index, number] = self._reliable.upcoming
            self._reliable.submit(address, [question])

    def take(self, index: int, worker: int, values: NDArray[np.signedinteger], now: int) -> int | None:
        """Add the contribution `values` of a worker to a chunk, given by its index, that has arrived at the time `now`.

        Return the index, or None if the contribution was not asked for or arrived before; it then changes nothing.
        """
        question = self._questions.get((index, worker))
        if question is None or self._reliable.acknowledge(serial(question), now) is None:
            return None
        del self._questions[index, worker]
        self._combine(self._totals[index], values, out=self._totals[index])
        self._missing[index] -= 1
        return index

    def total(self, index: int) -> NDArray[np.int64] | None:
        """Return the combined numbers of a chunk, of shape (lanes,), or None if a contribution is missing.

        Once returned, the chunk is forgotten. KeyError if it is not being collected.
        """
        if self._missing[index]:
            return None
        del self._missing[index]
        return self._totals.pop(index)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the questions to send now. NoAnswerError if no peer has answered for the configured patience."""
        return self._reliable.poll(now)

    def next_deadline(self) -> int | None:
        """Return the time in nanoseconds of the next repeated question, when to `poll`; None if none is open."""
        return self._reliable.next_deadline()
