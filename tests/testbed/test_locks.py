"""Locks over a network with loss, duplication and reordering: mutual exclusion, and progress of all clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

import pytest

from midflight.errors import MidflightError, WireError
from midflight.primitives import Lock, Program, Schema
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.endpoint import Address
from midflight.runtime.endpoint.locks import LockClient, claims
from midflight.runtime.endpoint.lockserver import LockServer
from midflight.testbed import Star
from tests.testbed.coordination import TIMING, address, admit, leave, listen, run

CLIENTS = 6


@dataclass
class Referee:
    """Records the holders of each lock, exclusive or shared."""

    inside: dict[int, dict[int, bool]] = field(default_factory=dict)
    together: int = 0

    def enter(self, lock: int, client: int, exclusive: bool) -> None:
        others = self.inside.setdefault(lock, {})
        assert not others or not (exclusive or any(others.values())), f"{client} holds {lock} together with {others}"
        others[client] = exclusive
        self.together += len(others) > 1

    def leave(self, lock: int, client: int) -> None:
        del self.inside[lock][client]


class Worker:
    """An `Endpoint` that repeatedly acquires a lock, holds it for a while and releases it."""

    def __init__(self, client: LockClient, referee: Referee, random: Random, *, rounds: int, locks: int) -> None:
        self.client, self.referee, self.random = client, referee, random
        self.rounds, self.locks = rounds, locks
        self.lock = self.alarm = 0
        self.exclusive = self.asked = self.entered = False

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        self.client.receive(source, datagram, now)
        self.go_on(now)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        self.go_on(now)
        return self.client.poll(now)

    def next_deadline(self) -> int | None:
        waits = [] if not self.rounds or (self.asked and not self.entered) else [self.alarm]
        deadline = self.client.next_deadline()
        return min([*waits, *([] if deadline is None else [deadline])], default=None)

    def go_on(self, now: int) -> None:
        if self.asked and not self.entered and self.client.holds(self.lock):
            self.referee.enter(self.lock, self.client.client, self.exclusive)
            self.entered, self.alarm = True, now + self.random.randrange(200_000)
        elif self.entered and now >= self.alarm:
            self.referee.leave(self.lock, self.client.client)
            self.client.release(self.lock)
            self.asked = self.entered = False
            self.rounds -= 1
            self.alarm = now + self.random.randrange(50_000)
        elif not self.asked and self.rounds and now >= self.alarm:
            lock = self.random.randrange(self.locks)
            if self.client.idle(lock):
                self.lock, self.exclusive, self.asked = lock, self.random.random() < 0.5, True
                self.client.acquire(lock, exclusive=self.exclusive)
            else:
                self.alarm = now + 100_000


def play(
    net: Star, *, rounds: int, locks: int, seed: int, at: Sequence[int], dying: Sequence[int] = ()
) -> tuple[Referee, list[Worker]]:
    """Run clients. Those that are `dying` stop, the odd ones while holding a lock; the server is notified later."""
    schema, server = Schema(net.program.schema()), address(net, CLIENTS, UDP_PORT)
    server_end = LockServer(schema, "locks", server, timing=TIMING)
    there = listen(net, CLIENTS, server_end, UDP_PORT)
    referee = Referee()

    def release(host: int) -> None:
        lock = net.program.applications["locks"].primitive
        assert isinstance(lock, Lock)
        for inside in referee.inside.values():
            inside.pop(host + 1, None)
        server_end.release_for(host + 1, claims(lock, net.state("locks"), host + 1))
        there.pump()

    workers = []
    for host in at:
        client = LockClient(schema, "locks", host + 1, server, TIMING)
        workers.append(Worker(client, referee, Random(f"{seed}/{host}"), rounds=rounds, locks=locks))
        listen(net, host, workers[-1])

    def die(host: int, *, holding: bool) -> None:
        if holding and not workers[host].entered and workers[host].rounds:
            net.after(10_000, partial(die, host, holding=True))
        else:
            leave(net, host)
            net.after(500_000, release, host)

    for host in dying:
        net.after(Random(f"{seed}/{host}").randrange(2_000_000), partial(die, host, holding=host % 2 == 1))
    run(net, until=net.now + 500_000_000)
    return referee, workers


@pytest.mark.parametrize(("offload", "depth"), [(True, 8), (True, 4), (True, 2), (False, 4)])
@pytest.mark.parametrize("seed", [1, 2])
def test_locks_exclude_and_every_client_makes_progress(offload: bool, depth: int, seed: int) -> None:
    program = Program(Lock("locks", locks=2, clients=CLIENTS + 1, depth=depth))
    with Star(CLIENTS + 1, program=program, loss=0.1, duplicate=0.1, reorder=0.1, seed=seed) as net:
        if offload:
            admit(net, "locks", range(CLIENTS))
        referee, workers = play(net, rounds=12, locks=2, seed=seed, at=range(CLIENTS))
        assert [each.rounds for each in workers] == [0] * CLIENTS
        assert not any(referee.inside.values())
        assert referee.together
        served = sum(each.client.statistics.served for each in workers)
        granted = sum(each.client.statistics.granted for each in workers)
        assert granted == 12 * CLIENTS
        assert (served == 0) if depth == 8 else (served == granted) if not offload else (0 < served < granted)


@pytest.mark.parametrize(("offload", "depth"), [(True, 8), (True, 2), (False, 4)])
def test_locks_of_dead_clients_pass_to_others(offload: bool, depth: int) -> None:
    program = Program(Lock("locks", locks=2, clients=CLIENTS + 1, depth=depth))
    with Star(CLIENTS + 1, program=program, loss=0.1, duplicate=0.1, reorder=0.1) as net:
        if offload:
            admit(net, "locks", range(CLIENTS))
        holders = 0
        for seed in range(8):
            net.state("locks").clear()
            referee, workers = play(net, rounds=12, locks=2, seed=seed, at=range(CLIENTS), dying=range(3))
            assert [each.rounds for each in workers[3:]] == [0] * (CLIENTS - 3)
            assert not any(referee.inside.values())
            assert not any(net.state("locks").inside.read())
            holders += sum(each.entered for each in workers[:3])
            leave(net, *range(CLIENTS))
            leave(net, CLIENTS, port=UDP_PORT)
        assert holders  # some dead clients held locks


def test_a_client_declared_dead_by_mistake_does_not_release_locks_of_others() -> None:
    program = Program(Lock("locks", locks=1, clients=4, depth=4))
    with Star(3, program=program) as net:
        admit(net, "locks", range(2))
        schema, server = Schema(program.schema()), address(net, 2, UDP_PORT)
        server_end = LockServer(schema, "locks", server, timing=TIMING)
        clients = [LockClient(schema, "locks", number, server, TIMING) for number in (1, 2)]
        sockets = [listen(net, host, client) for host, client in enumerate(clients)]
        sockets.append(listen(net, 2, server_end, UDP_PORT))

        def go_on() -> tuple[bool, bool]:
            for socket in sockets:
                socket.pump()
            run(net, until=net.now + 1_000_000)
            return clients[0].holds(0), clients[1].holds(0)

        clients[0].acquire(0)
        assert go_on() == (True, False)
        clients[1].acquire(0)
        assert go_on() == (True, False)
        lock = program.applications["locks"].primitive
        assert isinstance(lock, Lock)
        server_end.release_for(1, claims(lock, net.state("locks"), 1))
        assert go_on() == (True, True)  # the first client still believes that it holds the lock
        clients[0].release(0)
        assert go_on() == (False, True)
        clients[0].acquire(0)
        assert go_on() == (False, True)
        clients[1].release(0)
        assert go_on() == (True, False)


def test_a_restarted_client_resumes_its_locks() -> None:
    program = Program(Lock("locks", locks=2, clients=4, depth=4))
    with Star(3, program=program) as net:
        lock = program.applications["locks"].primitive
        assert isinstance(lock, Lock)
        before = net.join("locks", net.hosts[:2])[0]
        before.acquire(1)
        net.run(lambda: bool(before.holds(1)))
        found = claims(lock, net.state("locks"), 1)
        assert (found, claims(lock, net.state("locks"), 2)) == ({1: 1}, {})
        schema = Schema(program.schema(), {"locks": net.controller.token("locks")})
        again = LockClient(schema, "locks", 1, address(net, 2, UDP_PORT), TIMING, first=2)
        net.listen(net.hosts[0], again, 49152 + program.applications["locks"].id)
        again.resume(1, found[1])
        again.acquire(0)
        net.run(lambda: again.holds(0) and again.holds(1))
        again.release(1)
        net.run(lambda: again.idle(1))
        assert list(claims(lock, net.state("locks"), 1)) == [0]


def test_the_server_is_idle_while_the_queues_have_room() -> None:
    program = Program(Lock("locks", locks=2, clients=CLIENTS + 1, depth=8))
    with Star(CLIENTS + 1, program=program) as net:
        admit(net, "locks", range(CLIENTS))
        play(net, rounds=5, locks=2, seed=3, at=range(CLIENTS))
        assert net.link(net.hosts[CLIENTS]).packets == 0


def test_a_lock_of_an_earlier_life_of_the_switch_is_lost() -> None:
    program = Program(Lock("locks", locks=1, clients=4, depth=4))
    with Star(3, program=program) as net:
        admit(net, "locks", range(2))
        schema, server = Schema(program.schema()), address(net, 2, UDP_PORT)
        clients = [LockClient(schema, "locks", number, server, TIMING) for number in (1, 2)]
        sockets = [listen(net, host, client) for host, client in enumerate(clients)]
        clients[0].acquire(0)
        sockets[0].pump()
        run(net)
        assert clients[0].holds(0)
        net.kill("s1")
        net.revive("s1")
        admit(net, "locks", range(2), epoch=2)
        clients[1].acquire(0)
        sockets[1].pump()
        run(net)
        assert clients[1].holds(0)
        clients[0].release(0)
        sockets[0].pump()
        run(net)
        assert (clients[0].idle(0), clients[0].statistics.lost, clients[1].holds(0)) == (True, 1, True)


def test_invalid_arguments_are_rejected() -> None:
    client = LockClient(Schema(Program(Lock("locks")).schema()), "locks", 1, ("10.0.0.9", UDP_PORT))
    with pytest.raises(MidflightError, match="client 1 does not hold lock 3"):
        client.release(3)
    with pytest.raises(WireError):
        client.acquire(1 << 40)
    assert client.idle(1 << 40)
    client.acquire(3)
    with pytest.raises(MidflightError, match="client 1 already holds lock 3 or has requested it"):
        client.acquire(3)
    client.receive(("10.0.0.9", 1), b"nonsense", 0)
    assert client.statistics.refused.malformed == 1
