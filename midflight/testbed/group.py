"""Groups of workers that reduce their arrays to one result, or broadcast an array."""

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
    """The workers of one `Aggregate` application, from `Net.group`. Worker n runs on `hosts[n]`. A context manager.

    Workers may be killed and restarted at any time, also during a sum: from another thread in a network of namespaces,
    by events in a simulated one (`Net.after`). The sum then takes longer, and its result is the same.

    If a sum fails, because a worker's process ended by itself or the network did not answer, the next sum starts a new
    job with new workers.
    """

    def __init__(
        self,
        aggregate: Aggregate,
        hosts: Sequence[Host],
        server: Host | None,
        crew: Crew,
        jobs: JobScheduler,
        job: int,
        net: object,
    ) -> None:
        self.name = aggregate.name
        self.aggregate = aggregate
        """The primitive that combines the arrays."""
        self.hosts = tuple(hosts)
        self.job = job
        """The number of the current job, which all its packets carry."""
        self.crew = crew
        """The running workers."""
        self.closed = False
        self.server = server
        """The host that requests are addressed to; None if there is none."""
        self._jobs = jobs
        self._net = net  # which would close if nobody referred to it
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
        """The counters of each worker, in the order of their numbers.

        In simulation they count from the worker's last start; in namespaces they are those of its latest result.
        """
        return self.crew.statistics

    def allreduce(self, arrays: Sequence[NDArray[Any]], *, block: int | None = None) -> list[NDArray[Any]]:
        """Reduce the workers' arrays with the Aggregate's operation, and return the result of each worker, all equal.

        `arrays` has one array for each worker, all of the same shape, of floats or of integers. Blocks until all
        workers have the result.

        Floats are converted to float32, and so are the results. A sum is within `error_bound(bits, workers)` of the
        exact one (see `midflight.primitives.fixedpoint`), a minimum or maximum within that bound for one worker; it is
        then rounded to float32.

        Integers must fit the Aggregate's `number`. Their result is exact and of type int32, but sums outside of the
        range of `number` follow the Aggregate's `overflow`. With `detect`, the workers compute such sums, and results
        have type int64. `count` counts the workers whose element is not 0. The `mean` of integers is float64.

        block: by default (None), all floats share one exponent. With a number, each `block` consecutive elements of the
        flattened arrays share an exponent of their own, so that small values keep their precision beside large values
        in other blocks. Each block takes another round trip, and the error bound holds for each block.

        WireError if a value is NaN, infinite or too large, or for floats and a bitwise operation. MidflightError if the
        arrays differ in shape or kind or are not as many as the workers, if `block` is less than 1, if another sum is
        in progress, if the group is closed, or if the network does not answer; DeviceError if a worker's process ends.
        """
        if block is None:
            return [self._result(each, arrays) for each in self.sum(arrays)]
        if block < 1:
            raise MidflightError(f"a block must have at least one number, not {block}")
        vectors = self._vectors(arrays)
        cuts = range(block, vectors[0].size, block)
        parts = [np.split(each, cuts) for each in vectors]
        results = [[self._result(each, part) for each in self._run(part)] for part in zip(*parts, strict=True)]
        return [np.concatenate(each).reshape(arrays[0].shape) for each in zip(*results, strict=True)]

    def reduce(self, arrays: Sequence[NDArray[Any]], root: int = 0) -> NDArray[Any]:
        """Reduce the workers' arrays as `allreduce` does, and return only the result of worker `root`.

        All workers receive the result anyway, because it also shows them which entries of the switch are free.
        WireError if a value is NaN, infinite or too large; MidflightError if there is no such worker, if the arrays do
        not fit the group, if another sum is in progress, if the group is closed, or if the network does not answer.
        """
        self._open(root)
        return self._result(self.sum(arrays)[root], arrays)

    def broadcast(self, array: NDArray[Any], root: int = 0) -> list[NDArray[Any]]:
        """Send the array of worker `root` to all workers, and return what each received, equal bit for bit.

        The array may have any NumPy type of fixed size. The other workers contribute the operation's neutral element,
        so the result is the root's array. MidflightError if there is no such worker, if another sum is in progress, if
        the group is closed, or if the network does not answer.
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
        """Reduce the workers' arrays as `allreduce` does, and return each worker's flattened result as a `Sum`.

        A `Sum` also contains the integers that the switch computed and their fraction bits. For a `mean`, values and
        integers are those of the sum, not divided by the number of workers. WireError if a value is NaN, infinite or
        too large; MidflightError if the arrays do not fit the group, if another sum is in progress, if the group is
        closed, or if the network does not answer.
        """
        return self._run(self._vectors(arrays))

    def _run(self, vectors: Sequence[Numbers]) -> list[Sum]:
        if not self._summing.acquire(blocking=False):
            raise MidflightError(f"the workers of {self.name} are busy with another sum", hint="wait for it to finish")
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
        """Kill worker number `worker`, which loses its state. A sum waits until `restart`, up to the workers' patience.

        MidflightError if there is no such worker or the group is closed.
        """
        self._open(worker)
        self.crew.kill(worker)

    def restart(self, worker: int) -> None:
        """Start a worker again on its host, killing it first if it runs. It repeats the current sum with its array.

        MidflightError if there is no such worker or the group is closed. DeviceError if the worker's process does not
        start; all workers are then stopped, and a sum in progress fails.
        """
        self._open(worker)
        self.crew.restart(worker)

    def replace(self, worker: int, host: Host) -> None:
        """Move worker number `worker` to another host. All workers start the current sum again, as a new job.

        MidflightError if there is no such worker, if the group is closed, or if the host cannot be in the group or
        already is; nothing changes then. DeviceError if a worker's process does not start; all workers are then
        stopped, and a sum in progress fails.
        """
        self._open(worker)
        hosts = (*self.hosts[:worker], host, *self.hosts[worker + 1 :])
        workers = self._enlist(hosts)
        self.hosts = hosts
        self.crew.kill(worker)
        self._begin(workers)

    def close(self) -> None:
        """Stop the workers, and make the application available to another group. May be called more than once."""
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
            raise MidflightError(f"the group of {self.name} is closed", hint="make a new one with net.group")
        if not 0 <= worker < len(self):
            raise MidflightError(f"{self.name} has no worker {worker}; they are numbered 0 to {len(self) - 1}")

    def _vectors(self, arrays: Sequence[NDArray[Any]]) -> list[Numbers]:
        """Check the arrays, before any worker starts, and return the vectors that the workers submit."""
        if len(arrays) != len(self):
            raise MidflightError(
                f"{len(arrays)} arrays were passed for the {len(self)} workers of {self.name}",
                hint="pass one array for each worker",
            )
        for number, array in enumerate(arrays):
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
                kind = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else f"a {type(array).__name__}"
                raise MidflightError(
                    f"worker {number} has {kind}, not an array of floats or integers",
                    hint="pass numpy arrays of float32 or int32",
                )
            if array.shape != arrays[0].shape:
                raise MidflightError(
                    f"worker {number}'s array has shape {array.shape}, worker 0's has {arrays[0].shape}",
                    hint="all arrays of an all-reduce must have the same shape",
                )
            if (array.dtype.kind == "f") != (arrays[0].dtype.kind == "f"):
                raise MidflightError(
                    "some arrays are of floats and some of integers", hint="convert them to one of the two"
                )
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
                raise WireError(f"{self.name} computes {self.aggregate.operation}, which is not defined for floats")
            with np.errstate(over="ignore"):  # `largest_exponent` reports an infinity from rounding to float32
                vector = np.array(array, np.float32).reshape(-1)
            largest_exponent(vector)
            return vector
        limits = np.iinfo(self.aggregate.number)
        if array.size and not limits.min <= array.min() <= array.max() <= limits.max:
            wrong = array.max() if array.max() > limits.max else array.min()
            raise WireError(f"{wrong} does not fit an {self.aggregate.number}", hint="scale it, or pass floats")
        return array.astype(np.int32).reshape(-1)
