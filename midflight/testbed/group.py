"""A group of workers that sum their arrays together, or otherwise reduce them, or hand one to all."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midflight.errors import MidflightError, WireError
from midflight.primitives import Aggregate
from midflight.primitives.fixedpoint import largest_exponent
from midflight.primitives.library.aggregate import WIDTHS
from midflight.runtime.controller.scheduler import JobScheduler
from midflight.runtime.endpoint.allreduce import AllReduceStatistics, Numbers, Sum
from midflight.runtime.endpoint.worker import Worker
from midflight.testbed.fabric.base import Crew, Host

__all__ = ["Group"]


class Group:
    """The workers of one application, a context manager: worker n runs on `hosts[n]`.

    Workers may die and come back at any time, in the middle of a sum as well: from another thread in a network of
    processes, as events in a simulated one (`Net.after`). That costs time, and no sum.

    Where a sum fails, because a worker's process ended by itself or the network did not answer, the next one begins a
    new job with all workers set up anew.
    """

    def __init__(
        self,
        aggregate: Aggregate,
        hosts: Sequence[Host],
        server: Host | None,
        crew: Crew,
        jobs: JobScheduler,
        job: int,
    ) -> None:
        self.name = aggregate.name
        self.aggregate = aggregate
        """What combines their arrays."""
        self.hosts = tuple(hosts)
        self.job = job
        """The job's number, which all its packets carry."""
        self.crew = crew
        """The workers, wherever they run."""
        self.closed = False
        self.server = server
        """The host that requests are addressed to; None where there is none."""
        self._jobs = jobs
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

    def allreduce(self, arrays: Sequence[NDArray[Any]], *, block: int | None = None) -> list[NDArray[Any]]:
        """Return the sum of the workers' arrays as each worker received it, all equal; or what else the operation is.

        `arrays` holds one array for each worker, all of one shape, of floats or of integers. Floats are taken as
        float32 and so is the result: a sum is within `error_bound(bits, workers)` of the true one (see
        `midflight.primitives.fixedpoint`), the least and the greatest within that of one worker, and then rounded to
        float32. Integers fit the Aggregate's numbers; their result is exact as int32, but that a sum beyond that range
        is what the Aggregate's `overflow` says, with `detect` the true one as int64. `count` counts the workers whose
        number is not 0; the `mean` of integers is float64.

        The floats of all workers share one exponent, or with `block` each so many of them, in the flattened array's
        order, have one of their own: small ones are then not lost beside large ones of other blocks, at the price of a
        round trip for each block, and the bound holds block by block.

        MidflightError where the arrays do not fit the group or the operation, or hold NaN or infinities, and where the
        network does not answer.
        """
        if block is None:
            return [self._result(each, arrays) for each in self.sum(arrays)]
        if block < 1:
            raise MidflightError(f"a block has at least one number, not {block}")
        vectors = self._vectors(arrays)
        cuts = range(block, vectors[0].size, block)
        parts = [np.split(each, cuts) for each in vectors]
        results = [[self._result(each, part) for each in self._run(part)] for part in zip(*parts, strict=True)]
        return [np.concatenate(each).reshape(arrays[0].shape) for each in zip(*results, strict=True)]

    def reduce(self, arrays: Sequence[NDArray[Any]], root: int = 0) -> NDArray[Any]:
        """Do as `allreduce` does, and return the result of worker `root` alone.

        The switch tells all workers all the same: that is how they learn that its entries are free again.
        """
        self._open(root)
        return self._result(self.sum(arrays)[root], arrays)

    def broadcast(self, array: NDArray[Any], root: int = 0) -> list[NDArray[Any]]:
        """Send worker `root`'s array, of any fixed-size type, to all, and return what each received, the same bits.

        The others contribute the operation's neutral number, which tells the switch that they are ready to listen.
        """
        self._open(root)
        lane = np.dtype(f"i{WIDTHS[self.aggregate.number] // 8}")
        data = np.ascontiguousarray(array).tobytes()
        lanes = np.frombuffer(data + bytes(-len(data) % lane.itemsize), lane).astype(np.int32)
        vectors = [np.full(lanes.size, self.aggregate.neutral, np.int32) for _ in self.hosts]
        vectors[root] = lanes
        sums = [each.integers.astype(lane).tobytes()[: len(data)] for each in self._run(vectors)]
        return [np.frombuffer(each, array.dtype).reshape(array.shape).copy() for each in sums]

    def sum(self, arrays: Sequence[NDArray[Any]]) -> list[Sum]:
        """Do as `allreduce` does, and return with each result, flattened, the integers that it was read from.

        A mean's are those of the sum.
        """
        return self._run(self._vectors(arrays))

    def _run(self, vectors: Sequence[Numbers]) -> list[Sum]:
        if not self._summing.acquire(blocking=False):
            raise MidflightError(f"the workers of {self.name} are at a sum already", hint="wait for it")
        try:
            self._open()
            if self.crew.ended:
                self._begin(self._enlist(self.hosts))
            return self.crew.sum(vectors)
        finally:
            self._summing.release()

    def _result(self, found: Sum, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        values = found.values.reshape(arrays[0].shape)
        if self.aggregate.operation != "mean":
            return values
        exact = found.integers.reshape(arrays[0].shape) * 2.0**-found.bits / len(self)
        return exact.astype(np.float32) if values.dtype.kind == "f" else exact

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
            self._jobs.leave(self.name)

    def _enlist(self, hosts: Sequence[Host]) -> Sequence[Worker]:
        """Start a new job on these hosts."""
        return self._jobs.enlist(self.name, hosts, self.server)

    def _begin(self, workers: Sequence[Worker]) -> None:
        self.job = workers[0].job
        self.crew.assign(workers)

    def _open(self, worker: int = 0) -> None:
        if self.closed:
            raise MidflightError(f"the group of {self.name} is closed", hint="ask its network for a new one")
        if not 0 <= worker < len(self):
            raise MidflightError(f"{self.name} has no worker {worker}; they are numbered 0 to {len(self) - 1}")

    def _vectors(self, arrays: Sequence[NDArray[Any]]) -> list[Numbers]:
        """Return what the workers submit for these arrays; refused here, before any of them has begun."""
        if len(arrays) != len(self):
            raise MidflightError(
                f"{len(arrays)} arrays for the {len(self)} workers of {self.name}",
                hint="pass one array for each worker",
            )
        for number, array in enumerate(arrays):
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
                kind = f"of {array.dtype}" if isinstance(array, np.ndarray) else f"but a {type(array).__name__}"
                raise MidflightError(
                    f"worker {number}'s array is not one of floats or integers, {kind}",
                    hint="pass numpy arrays of float32",
                )
            if array.shape != arrays[0].shape:
                raise MidflightError(
                    f"worker {number}'s array has shape {array.shape}, worker 0's has {arrays[0].shape}",
                    hint="all arrays of an all-reduce have one shape",
                )
            if (array.dtype.kind == "f") != (arrays[0].dtype.kind == "f"):
                raise MidflightError("some arrays are of floats and some of integers", hint="convert them")
        if self.aggregate.operation == "count":
            return [(array != 0).reshape(-1).astype(np.int32) for array in arrays]
        vectors = []
        for number, array in enumerate(arrays):
            try:
                vectors.append(self._vector(array))
            except WireError as error:
                raise WireError(f"worker {number}: {error.message}", hint=error.hint) from None
        return vectors

    def _vector(self, array: NDArray[Any]) -> Numbers:
        if array.dtype.kind == "f":
            if self.aggregate.operation in ("and", "or", "xor"):
                raise WireError(f"{self.name} does {self.aggregate.operation}, which floats do not have")
            with np.errstate(over="ignore"):  # an infinity from rounding to float32 is refused, by name
                vector = np.array(array, np.float32).reshape(-1)
            largest_exponent(vector)
            return vector
        limits = np.iinfo(self.aggregate.number)
        if array.size and not limits.min <= array.min() <= array.max() <= limits.max:
            wrong = array.max() if array.max() > limits.max else array.min()
            raise WireError(f"{wrong} does not fit an {self.aggregate.number}", hint="scale it, or pass floats")
        return array.astype(np.int32).reshape(-1)
