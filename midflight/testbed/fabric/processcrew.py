"""Workers of an all-reduce that are processes, which may be killed and restarted during a sum."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, Pipe, wait

from midflight.errors import DeviceError
from midflight.runtime.endpoint.allreduce import AllReduceStatistics, Numbers, Sum
from midflight.runtime.endpoint.reliable import Timing
from midflight.runtime.endpoint.worker import Worker
from midflight.testbed.fabric.processes import HostProcess
from midflight.testbed.fabric.watch import Watch
from midflight.testbed.host.control import Done, StartWorker, Vector

__all__ = ["ProcessCrew"]


class ProcessCrew:
    """Workers of an all-reduce that are processes (a `Crew`).

    While one thread waits in `sum`, other threads may call `kill`, `restart` and `assign`. `start` starts the process
    of a worker. `addresses` contains the addresses of hosts by name. `timing` has the workers' timers; a sum fails when
    a killed worker is not restarted within `timing.patience`. `watch` raises the error of other processes of the
    network that die during a sum. DeviceError if a process does not start.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        start: Callable[[Worker], HostProcess],
        addresses: Mapping[str, str],
        timing: Timing,
        watch: Watch,
    ) -> None:
        self._start = start
        self._addresses = addresses
        self._timing = timing
        self._watch = watch
        self._lock = threading.RLock()
        self._changed, self._change = Pipe(duplex=False)  # wakes the thread that waits for a sum
        self._workers: list[Worker] = []
        self._statistics: list[AllReduceStatistics] = []
        self._vectors: Sequence[Numbers] = ()  # of the current sum
        self._sums: list[Sum | None] = []
        self._first = self._upcoming = 1  # the first chunk of the current sum and of the next
        self._retired: list[HostProcess] = []  # killed, but the waiting thread may still use their connections
        self.processes: list[HostProcess | None] = []
        """The workers' processes; None for a worker that is dead."""
        self.ended = False
        self.assign(workers)

    @property
    def statistics(self) -> tuple[AllReduceStatistics, ...]:
        """The statistics of each worker at the end of the last sum, in the order of their numbers."""
        return tuple(self._statistics)

    def sum(self, vectors: Sequence[Numbers]) -> list[Sum]:
        """Submit the n-th vector to worker n, wait until every worker has the sum, and return each worker's result.

        DeviceError if a process of the network ends by itself, or a killed worker is not restarted in time; all workers
        are then stopped. Other threads may call `kill` and `restart` meanwhile.
        """
        try:
            with self._lock:
                self._vectors, self._sums = vectors, [None] * len(vectors)
                for number in range(len(vectors)):
                    self._submit(number)
            return self._wait()
        except BaseException:
            self._end()
            raise
        finally:
            with self._lock:
                self._vectors = ()
                self._tidy()

    def kill(self, worker: int) -> None:
        """Kill the process of worker number `worker` immediately. Its state is lost. Idempotent."""
        with self._lock:
            process, self.processes[worker] = self.processes[worker], None
            if process is not None:
                process.kill()
                self._retired.append(process)
            self._wake()

    def restart(self, worker: int) -> None:
        """Start worker number `worker` as a new process, after killing it if it runs. It joins the current sum at its
        beginning, with the same vector.

        DeviceError if the process does not start; all workers are then stopped.
        """
        with self._lock:
            self.kill(worker)
            process = self._start(replace(self._workers[worker], first=self._first))
            try:
                self._ready([(worker, process)])
            except BaseException:
                self._end()
                raise
            if self._vectors:
                self._sums[worker] = None
                self._submit(worker)
            self._wake()

    def assign(self, workers: Sequence[Worker]) -> None:
        """Replace all workers. A worker that stays on its host keeps its process but not its state.

        A sum that is under way starts again with the new workers, which must then be as many as before. DeviceError if
        a process does not start; all workers are then stopped.
        """
        with self._lock:
            before, self._workers = self._workers, list(workers)
            self._first, self.ended = 1, False
            self._statistics = [AllReduceStatistics() for _ in workers]
            self._sums = [None] * len(self._vectors)
            self.processes = self.processes or [None] * len(workers)
            try:
                self._start_all(before)
            except BaseException:
                self._end()
                raise

    def _start_all(self, before: Sequence[Worker]) -> None:
        begun = []
        for number, worker in enumerate(self._workers):
            process = self.processes[number]
            if process is not None and before[number].host == worker.host:
                process.send(StartWorker(self._addresses[worker.host], worker, self._timing))
            else:
                self.kill(number)
                begun.append((number, self._start(worker)))
        self._ready(begun)
        for number in range(len(self._vectors)):
            self._submit(number)
        self._wake()

    def close(self) -> None:
        """Kill the workers' processes. May be called more than once. A `sum` that waits in another thread raises
        DeviceError.
        """
        with self._lock:
            self._end()
            self._wake()
            if not self._vectors:
                self._tidy()

    def _ready(self, begun: Sequence[tuple[int, HostProcess]]) -> None:
        """Add these processes, by number of the worker, once they are ready. Close all of them if one fails."""
        try:
            for number, process in begun:
                process.ready()
                self.processes[number] = process
        except BaseException:
            for _, process in begun:
                process.close()
            raise

    def _submit(self, number: int) -> None:
        if (process := self.processes[number]) is not None:
            process.send(Vector(self._vectors[number]))

    def _wake(self) -> None:
        """Wake the thread that waits for a sum, because the processes have changed."""
        if self._vectors:
            self._change.send_bytes(b"!")

    def _wait(self) -> list[Sum]:
        alone: float | None = None  # since when all workers without a result are dead
        while True:
            with self._lock:
                if self.ended:
                    raise DeviceError("the workers were stopped during a sum")
                if None not in self._sums:
                    self._first, self._vectors = self._upcoming, ()
                    return [each for each in self._sums if each is not None]
                missing = {
                    process.control: number
                    for number, process in enumerate(self.processes)
                    if process is not None and self._sums[number] is None
                }
            now = time.monotonic()
            alone = None if missing else now if alone is None else alone
            left = None if alone is None else alone + self._timing.patience / 1e9 - now
            if left is not None and left <= 0:
                raise self._not_restarted()
            self._watch.check()
            grace = self._watch.left()
            left = min((each for each in (left, grace) if each is not None), default=None)
            # Handle the first worker that answers or fails: if one fails, the others never answer.
            for ready in wait([self._changed, *missing, *([self._watch.fileno()] if grace is None else [])], left):
                if ready is self._changed:
                    self._changed.recv_bytes()
                elif isinstance(ready, Connection):
                    self._receive(missing[ready], ready)

    def _receive(self, number: int, control: Connection) -> None:
        with self._lock:
            process = self.processes[number]
            if process is None or process.control is not control:
                return  # the worker was killed in the meantime
            message = process.answer(0)
            assert isinstance(message, Done)
            if message.job == self._workers[number].job:  # ignore results of a job that has been replaced
                self._sums[number] = message.sum
                self._statistics[number] = message.statistics
                self._upcoming = message.upcoming

    def _not_restarted(self) -> DeviceError:
        dead = ", ".join(str(number) for number, process in enumerate(self.processes) if process is None)
        return DeviceError(f"worker {dead} is dead, and was not restarted for {self._timing.patience / 1e9:g} s")

    def _end(self) -> None:
        with self._lock:
            self.ended = True
            for number in range(len(self.processes)):
                self.kill(number)

    def _tidy(self) -> None:
        """Close the killed processes and drain the wake-up pipe, after a sum."""
        for process in self._retired:
            process.close()
        self._retired.clear()
        while self._changed.poll():
            self._changed.recv_bytes()
