"""A store behind a cache, over a network with loss, duplication and reordering: reads are never stale."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest

from midflight.errors import MidflightError
from midflight.primitives import Cache, Program, Schema
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.endpoint import Address
from midflight.runtime.endpoint.store import StoreClient, StoreServer
from midflight.testbed import Star
from tests.testbed.coordination import TIMING, address, admit, listen, run

CLIENTS = 4
KEYS = (7, 8, 9)  # the last one is not cached
LANES = 2


@dataclass
class Referee:
    """Records the value of each version of a key, and the newest version with which an operation ended."""

    newest: dict[int, int] = field(default_factory=dict)
    values: dict[tuple[int, int], tuple[int, ...] | None] = field(default_factory=dict)

    def end(self, client: StoreClient, least: int, operation: str, written: tuple[int, ...] | None) -> None:
        outcome = client.outcome
        assert outcome is not None
        assert outcome.version >= least, f"{outcome} is older than version {least}, which an earlier operation had"
        assert self.values.setdefault((outcome.key, outcome.version), outcome.value) == outcome.value
        assert operation == "get" or (outcome.value == written and outcome.version > least)
        assert outcome.value is not None or not outcome.cached
        self.newest[outcome.key] = max(self.newest.get(outcome.key, 0), outcome.version)


class Worker:
    """An `Endpoint` that reads, writes and deletes, one operation after the other."""

    def __init__(self, client: StoreClient, referee: Referee, random: Random, rounds: int) -> None:
        self.client, self.referee, self.random, self.rounds = client, referee, random, rounds
        self.least = self.hits = 0
        self.operation = "get"
        self.written: tuple[int, ...] | None = None
        self.busy = False

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        self.client.receive(source, datagram, now)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        if self.busy and self.client.idle:
            self.referee.end(self.client, self.least, self.operation, self.written)
            assert self.client.outcome is not None
            self.hits += self.client.outcome.cached
            self.busy = False
        if not self.busy and self.rounds:
            self.rounds, self.busy, key = self.rounds - 1, True, self.random.choice(KEYS)
            self.least, self.written = self.referee.newest.get(key, 0), None
            self.operation = self.random.choices(("get", "put", "delete"), (6, 3, 1))[0]
            if self.operation == "put":
                self.written = self.random.getrandbits(32), self.random.getrandbits(32)
                self.client.put(key, self.written)
            elif self.operation == "delete":
                self.client.delete(key, LANES)
            else:
                self.client.get(key, LANES)
        return self.client.poll(now)

    def next_deadline(self) -> int | None:
        return self.client.next_deadline()


def play(net: Star, *, seed: int, rounds: int) -> tuple[StoreServer, list[Worker], Referee]:
    schema, where = Schema(net.program.schema()), address(net, CLIENTS, UDP_PORT)
    server = StoreServer(schema, "store", where, lanes=LANES, timing=TIMING)
    for key in KEYS[:2]:
        server.fill(key)
    listen(net, CLIENTS, server, UDP_PORT)
    referee, workers = Referee(), []
    for host in range(CLIENTS):
        client = StoreClient(schema, "store", where, TIMING)
        workers.append(Worker(client, referee, Random(f"{seed}/{host}"), rounds))
        listen(net, host, workers[-1])
    run(net)
    return server, workers, referee


def program(keys: tuple[int, ...] = KEYS[:2]) -> Program:
    return Program(Cache("store", entries=4, lanes=LANES, rows=2, columns=64, keys=keys))


@pytest.mark.parametrize("offload", [True, False])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_reads_are_never_stale(offload: bool, seed: int) -> None:
    with Star(CLIENTS + 1, program=program(), loss=0.1, duplicate=0.1, reorder=0.2, seed=seed) as net:
        if offload:
            admit(net, "store", range(CLIENTS))
        _, workers, referee = play(net, seed=seed, rounds=60)
        assert all(each.rounds == 0 and not each.busy for each in workers)
        assert min(referee.newest.values()) > 5
        assert (sum(each.hits for each in workers) > 20) is offload


def test_reads_of_cached_keys_do_not_reach_the_server() -> None:
    with Star(CLIENTS + 1, program=program(KEYS)) as net:
        admit(net, "store", range(CLIENTS))
        schema, where = Schema(net.program.schema()), address(net, CLIENTS, UDP_PORT)
        server, client = StoreServer(schema, "store", where, lanes=LANES), StoreClient(schema, "store", where)
        sockets = listen(net, CLIENTS, server, UDP_PORT), listen(net, 0, client)
        server.fill(7)
        for write in ((5, 6), None, None, (8, 9), None):
            if write:
                client.put(7, write)
            else:
                client.get(7, LANES)
            for socket in sockets:
                socket.pump()
            run(net)
            assert client.outcome is not None
            assert client.outcome.cached is (write is None)
        assert client.outcome is not None
        assert (client.outcome.version, client.outcome.value, server.reads) == (3, (8, 9), 0)


class Echo:
    """An `Endpoint`: a server that repeats earlier messages on request."""

    def __init__(self, server: StoreServer) -> None:
        self.server = server
        self.said: list[tuple[Address, bytes]] = []
        self.again: list[tuple[Address, bytes]] = []
        self.receive, self.next_deadline = server.receive, server.next_deadline

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        out, self.again = self.again + self.server.poll(now), []
        self.said += out
        return out


def test_a_deleted_key_remains_deleted_despite_late_messages() -> None:
    with Star(CLIENTS + 1, program=program()) as net:
        admit(net, "store", range(CLIENTS))
        schema, where = Schema(net.program.schema()), address(net, CLIENTS, UDP_PORT)
        echo = Echo(StoreServer(schema, "store", where, lanes=LANES))
        client = StoreClient(schema, "store", where)
        sockets = listen(net, CLIENTS, echo, UDP_PORT), listen(net, 0, client)
        echo.server.fill(7)

        def end() -> tuple[tuple[int, ...] | None, bool]:
            for socket in sockets:
                socket.pump()
            run(net)
            assert client.outcome is not None
            return client.outcome.value, client.outcome.cached

        def get() -> tuple[tuple[int, ...] | None, bool]:
            client.get(7, LANES)
            return end()

        assert get() == (None, False)  # it was never written
        client.put(7, (5, 6))
        assert end() == ((5, 6), False)
        assert get() == ((5, 6), True)
        client.delete(7, LANES)
        assert end() == (None, False)
        assert get() == (None, False)
        updates = [each for each in echo.said if schema.decode(each[1]).fields["operation"] == Cache.UPDATE]
        echo.again = updates
        assert len(updates) == 1
        assert get() == get() == (None, False)
        client.put(7, (8, 9))
        assert end() == ((8, 9), False)
        assert get() == ((8, 9), True)


def test_a_client_runs_one_operation_at_a_time() -> None:
    client = StoreClient(Schema(program().schema()), "store", ("10.0.0.9", UDP_PORT))
    client.get(7, LANES)
    with pytest.raises(MidflightError, match="has an open operation"):
        client.put(7, (1, 2))
    client.receive(("10.0.0.9", 1), b"nonsense", 0)
    assert client.refused.malformed == 1
