"""A group of workers that sum their arrays together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from midflight.errors import MidflightError, WireError
from midflight.primitives.fixedpoint import largest_exponent
from midflight.testbed.endpoint.allreduce import AllReduceStatistics, Sum
from midflight.testbed.fabric.base import Crew, Host, Worker

__all__ = ["Group"]

Enlist = Callable[[Sequence[Host]], Sequence[Worker]]
"""Makes a network ready for a new job on these hosts and returns its workers; MidflightError where they do not fit."""


class Group:
    """The workers of one application, a context manager: worker n runs on `hosts[n]`.

    Workers may die and come back at any time, in the middle of a sum as well: from another thread in a network of
    processes, as events in a simulated one (`Net.after`). That costs time, and no sum.

    Where a sum fails, because a worker's process ended by itself or the network did not answer, the next one begins a
    new job with all workers set up anew.
    """

    def __init__(
        self, name: str, hosts: Sequence[Host], crew: Crew, job: int, *, enlist: Enlist, leave: Callable[[], None]
    ) -> None:
        self.name = name
        self.hosts = tuple(hosts)
        self.job = job
        """The job's number, which all its packets carry."""
        self.crew = crew
        """The workers, wherever they run."""
        self.closed = False
        self._enlist = enlist
        self._leave = leave
        self._summing = threading.Lock()

    def __len__(self) -> int:
        return len(self.hosts)

    def __repr__(self) -> str:
        return f"Group({self.name!r}, [{', '.join(host.name for host in self.hosts)}])"

    def __enter__(self) -> Group:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def statistics(self) -> tuple[AllReduceStatistics, ...]:
        """What each worker has counted since it was last set up."""
        return self.crew.statistics

    def allreduce(self, arrays: Sequence[NDArray[np.floating]]) -> list[NDArray[np.float32]]:
        """Return the sum of the workers' arrays as each worker received it, all equal, as float32.

        `arrays` holds one array of floats for each worker, all of one shape; they are taken as float32. The sum is
        within `error_bound(bits, workers)` of the true one (see `midflight.primitives.fixedpoint`), and then rounded
        to float32. MidflightError where the arrays do not fit the group or hold NaN or infinities, and where the
        network does not answer.
        """
        return [each.values.reshape(arrays[0].shape) for each in self.sum(arrays)]

    def sum(self, arrays: Sequence[NDArray[np.floating]]) -> list[Sum]:
        """Do as `allreduce` does, and return with each sum, flattened, the integers that it was read from."""
        vectors = self._vectors(arrays)
        if not self._summing.acquire(blocking=False):
            raise MidflightError(f"the workers of {self.name} are at a sum already", hint="wait for it")
        try:
            self._open()
            if self.crew.ended:
                self._begin(self._enlist(self.hosts))
            return self.crew.sum(vectors)
        finally:
            self._summing.release()

    def kill(self, worker: int) -> None:
        """End a worker at once, with all that it knows; the others wait for its return as long as they are patient."""
        self._open(worker)
        self.crew.kill(worker)

    def restart(self, worker: int) -> None:
        """Have a worker begin anew on its host, killed first where it is alive, with the array that it had."""
        self._open(worker)
        self.crew.restart(worker)

    def replace(self, worker: int, host: Host) -> None:
        """Have another host be a worker. All begin the sum that is under way once more, as a new job.

        MidflightError, and nothing has changed, where the host is in the group, or cannot be.
        """
        self._open(worker)
        hosts = (*self.hosts[:worker], host, *self.hosts[worker + 1 :])
        workers = self._enlist(hosts)
        self.hosts = hosts
        self.crew.kill(worker)
        self._begin(workers)

    def close(self) -> None:
        """End the workers, and free their application for another group. May be called more than once."""
        if not self.closed:
            self.closed = True
            self.crew.close()
            self._leave()

    def _begin(self, workers: Sequence[Worker]) -> None:
        self.job = workers[0].job
        self.crew.assign(workers)

    def _open(self, worker: int = 0) -> None:
        if self.closed:
            raise MidflightError(f"the group of {self.name} is closed", hint="ask its network for a new one")
        if not 0 <= worker < len(self):
            raise MidflightError(f"{self.name} has no worker {worker}; they are numbered 0 to {len(self) - 1}")

    def _vectors(self, arrays: Sequence[NDArray[np.floating]]) -> list[NDArray[np.float32]]:
        if len(arrays) != len(self):
            raise MidflightError(
                f"{len(arrays)} arrays for the {len(self)} workers of {self.name}",
                hint="pass one array for each worker",
            )
        for number, array in enumerate(arrays):
            if not isinstance(array, np.ndarray) or not np.issubdtype(array.dtype, np.floating):
                kind = f"of {array.dtype}" if isinstance(array, np.ndarray) else f"but a {type(array).__name__}"
                raise MidflightError(
                    f"worker {number}'s array is not one of floats, {kind}", hint="pass numpy arrays of float32"
                )
            if array.shape != arrays[0].shape:
                raise MidflightError(
                    f"worker {number}'s array has shape {array.shape}, worker 0's has {arrays[0].shape}",
                    hint="all arrays of an all-reduce have one shape",
                )
        with np.errstate(over="ignore"):  # an infinity from rounding to float32 is refused, by name, further on
            vectors = [np.array(array, np.float32).reshape(-1) for array in arrays]
        for number, vector in enumerate(vectors):
            try:
                largest_exponent(vector)  # refused here, before any worker has begun
            except WireError as error:
                raise WireError(f"worker {number}: {error.message}", hint=error.hint) from None
        return vectors
