"""Workers of an all-reduce on simulated hosts, which may be killed and restarted by events of the simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from midflight.errors import MidflightError
from midflight.runtime.endpoint.allreduce import AllReduce, AllReduceStatistics, Numbers, Sum
from midflight.runtime.endpoint.reliable import Timing
from midflight.runtime.endpoint.worker import Worker
from midflight.testbed.sim import Host
from midflight.testbed.sim.host import Socket
from midflight.testbed.sim.simulator import Simulator

__all__ = ["SimCrew"]


class SimCrew:
    """Workers of an all-reduce on simulated hosts (a `Crew`).

    `hosts` are the simulated hosts by name. `workers` are in the order of their numbers. `timing` has their
    retransmission timers, in virtual time.
    """

    def __init__(
        self, simulator: Simulator, hosts: Mapping[str, Host], workers: Sequence[Worker], timing: Timing
    ) -> None:
        self._simulator = simulator
        self._hosts = hosts
        self._timing = timing
        self._workers: list[Worker] = []
        self._endpoints: list[AllReduce] = []
        self._sockets: list[Socket | None] = []  # None: a worker that is dead
        self._vectors: Sequence[Numbers] = ()  # of the current sum
        self._first = 1  # the first chunk of the current sum, or of the next
        self.ended = False
        self.assign(workers)

    @property
    def statistics(self) -> tuple[AllReduceStatistics, ...]:
        """The statistics of each worker, in the order of their numbers, since it was last started or assigned."""
        return tuple(endpoint.statistics for endpoint in self._endpoints)

    def sum(self, vectors: Sequence[Numbers]) -> list[Sum]:
        """Submit the n-th vector to worker n, run the simulation until every worker has its sum, and return the sums.

        MidflightError if the network does not answer, or if a worker is dead (killed and not restarted) and the
        simulation has no more events; all workers are then stopped.
        """
        self._vectors = vectors
        try:
            for number in range(len(vectors)):
                self._submit(number)
            if not self._simulator.run(self._done):
                dead = ", ".join(str(number) for number, socket in enumerate(self._sockets) if socket is None)
                raise MidflightError(f"worker {dead} is dead, and the simulated network has no more events")
        except BaseException:
            self.close()
            raise
        finally:
            self._vectors = ()
        self._first = self._endpoints[0].upcoming
        return [each for endpoint in self._endpoints if (each := endpoint.take()) is not None]

    def kill(self, worker: int) -> None:
        """Stop worker number `worker`, by removing its endpoint from its host. Its state is lost. Idempotent."""
        self._hosts[self._workers[worker].host].release(self._workers[worker].port)
        self._sockets[worker] = None

    def restart(self, worker: int) -> None:
        """Start worker number `worker` with empty state, at the beginning of the current sum, with the same vector.

        A worker that runs is killed first.
        """
        self.kill(worker)
        again = replace(self._workers[worker], first=self._first)
        self._endpoints[worker] = again.endpoint(self._timing)
        self._sockets[worker] = self._hosts[again.host].listen(again.port, self._endpoints[worker])
        if self._vectors:
            self._submit(worker)

    def assign(self, workers: Sequence[Worker]) -> None:
        """Replace all workers. The current sum, if any, starts again with the new ones, which must be as many as
        before.
        """
        endpoints = [each.endpoint(self._timing) for each in workers]
        self.close()
        self._workers, self._endpoints, self._first, self.ended = list(workers), endpoints, 1, False
        self._sockets = [self._hosts[each.host].listen(each.port, endpoints[each.worker]) for each in workers]
        for number in range(len(self._vectors)):
            self._submit(number)

    def close(self) -> None:
        """Stop all workers, by removing their endpoints from the hosts. May be called more than once."""
        self.ended = True
        for number in range(len(self._workers)):
            self.kill(number)

    def _submit(self, number: int) -> None:
        socket = self._sockets[number]
        assert socket is not None
        self._endpoints[number].submit(self._vectors[number])
        socket.pump()

    def _done(self) -> bool:
        return all(endpoint.idle for endpoint in self._endpoints) and None not in self._sockets
