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
    """Workers on simulated hosts (a `Crew`)."""

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
        """The statistics of each worker since it was last started or assigned."""
        return tuple(endpoint.statistics for endpoint in self._endpoints)

    def sum(self, vectors: Sequence[Numbers]) -> list[Sum]:
        """Submit the vectors, run the network until every worker has its sum, and return the sums: see `Crew.sum`.

        MidflightError if a worker is dead and the simulation has no more events.
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
        """Remove a worker's endpoint from its host. Its state is lost."""
        self._hosts[self._workers[worker].host].release(self._workers[worker].port)
        self._sockets[worker] = None

    def restart(self, worker: int) -> None:
        """Start a worker again, at the beginning of the current sum: see `Crew.restart`."""
        self.kill(worker)
        again = replace(self._workers[worker], first=self._first)
        self._endpoints[worker] = again.endpoint(self._timing)
        self._sockets[worker] = self._hosts[again.host].listen(again.port, self._endpoints[worker])
        if self._vectors:
            self._submit(worker)

    def assign(self, workers: Sequence[Worker]) -> None:
        """Replace all workers. The current sum starts again as the new job: see `Crew.assign`."""
        endpoints = [each.endpoint(self._timing) for each in workers]
        self.close()
        self._workers, self._endpoints, self._first, self.ended = list(workers), endpoints, 1, False
        self._sockets = [self._hosts[each.host].listen(each.port, endpoints[each.worker]) for each in workers]
        for number in range(len(self._vectors)):
            self._submit(number)

    def close(self) -> None:
        """Remove the workers' endpoints. May be called more than once."""
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
