"""Forged messages: a host that is not a member answers every request before the switch, and endpoints ignore it.

It either knows the members' token, and cannot send from their addresses, or it can, and does not know the token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from random import Random
from typing import Any, Literal

import numpy as np
import pytest

from midflight.primitives import (
    Acceptor,
    Aggregate,
    Barrier,
    Cache,
    GroupBy,
    Lock,
    Message,
    Program,
    Quorum,
    Schema,
    Sequencer,
)
from midflight.primitives.wire import FOR_HOST, REQUEST, RESULT, UDP_PORT
from midflight.runtime.endpoint import Address
from midflight.runtime.endpoint.aggregation import ASK, BEGUN, OVERFLOW, SHARE
from midflight.runtime.endpoint.frames import UdpFlow, decode
from midflight.runtime.endpoint.messages import FOUND, MISSING, Refused
from midflight.runtime.endpoint.ordering import Payload
from midflight.runtime.endpoint.paxos import PaxosHost
from midflight.testbed import Star
from tests.testbed.coordination import PORT, TIMING, address, admit, listen

LIE = 666
Lies = Callable[[Message], Iterable[Message]]


class Liar:
    """The forging host. It sends to the sender of each member's message, and to its destination."""

    spoofs = False
    """Whether it sends from the addresses that its lies should come from, without the members' token."""

    def __init__(self, net: Star, host: int, members: Sequence[int], lies: Lies) -> None:
        self.sent = 0
        self._schema = Schema(net.program.schema())
        self._lies = lies
        self._evil: Any = net.hosts[host]
        for each in members:
            self._spy(net.hosts[each])

    def _spy(self, victim: Any) -> None:
        transmit = victim.transmit

        def told_first(frame: bytes) -> None:
            seen = decode(frame)
            back = str(victim.address), seen.source_port
            there = str(victim.family(seen.destination)), seen.destination_port
            for lie in self._lies(self._schema.decode(seen.payload)):
                self.sent += 1
                self.send(lie, *((back, there) if lie.kind in (REQUEST, FOR_HOST) else (there, back)))
            transmit(frame)

        victim.transmit = told_first

    def send(self, lie: Message, source: Address, to: Address) -> None:
        """Send a lie, which should come from `source`."""
        flow = self._evil.flow(5555, to)
        if self.spoofs:
            lie = replace(lie, token=lie.token ^ 1)
            flow = UdpFlow(
                source_mac=self._evil.mac,
                destination_mac=0,
                source=IPv4Address(source[0]),
                destination=IPv4Address(to[0]),
                source_port=source[1],
                destination_port=to[1],
            )
        self._evil.transmit(flow.encode(self._schema.encode(lie)))


@pytest.fixture(autouse=True, params=["token", "address"])
def _knows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Liar, "spoofs", request.param == "address")


def caught(refused: Refused) -> int:
    """Return how many lies an endpoint has refused, for the one reason that there is."""
    assert (refused.source if Liar.spoofs else refused.token) == 0
    return refused.token if Liar.spoofs else refused.source


def answering(kinds: Sequence[int] = (RESULT,), payload: bytes | None = None, **fields: Any) -> Lies:
    """Return forged answers to each request, with these kinds of messages and these fields."""

    def lies(message: Message) -> Iterable[Message]:
        for kind in kinds:
            lie = replace(message, kind=kind, fields={**message.fields, **fields})
            yield lie if payload is None else replace(lie, payload=payload)

    return lies


@pytest.mark.parametrize("lies", [
    answering(values=[LIE] * 8, flags=0),
    answering(values=[0] * 8, epoch=20_000, flags=0),
    answering(kinds=(ASK, BEGUN, SHARE), values=[LIE] * 8),
], ids=["result", "epoch", "peers"])  # fmt: skip
def test_workers_ignore_forged_results(lies: Lies) -> None:
    with Star(hosts=6, program=Program(Aggregate("sums", workers=3, lanes=8, slots=8))) as net:
        Liar(net, 4, range(3), lies)
        with net.group("sums", net.hosts[:3]) as group:
            for each in group.allreduce([np.full(1000, worker + 1, np.int32) for worker in range(3)]):
                assert set(each.tolist()) == {6}
            refused = [each.refused for each in group.statistics]
            assert sum(caught(each) for each in refused) > 0
            assert not any(each.malformed or each.job for each in refused)
            assert not any(each.epochs for each in group.statistics)


def test_workers_ignore_forged_contributions() -> None:
    def lies(message: Message) -> Iterable[Message]:
        if message.kind == ASK and message.fields["flags"] == OVERFLOW:
            for worker in range(3):
                yield replace(message, kind=SHARE, fields={**message.fields, "worker": worker, "values": [LIE] * 8})

    large = 2**30
    with Star(hosts=6, program=Program(Aggregate("sums", workers=3, lanes=8, slots=8, overflow="detect"))) as net:
        Liar(net, 4, range(3), lies)
        with net.group("sums", net.hosts[:3]) as group:
            for each in group.allreduce([np.full(100, large, np.int32)] * 3):
                assert set(each.tolist()) == {3 * large}
            assert sum(caught(each.refused) for each in group.statistics) > 0


def test_a_member_cannot_answer_in_the_name_of_another() -> None:
    """An answer in the name of a peer must come from that peer, not from another member."""
    if Liar.spoofs:
        pytest.skip("the forging host is a member here")
    with Star(hosts=6, program=Program(Aggregate("sums", workers=3, lanes=8, slots=8, overflow="detect"))) as net:

        def lies(message: Message) -> Iterable[Message]:
            if message.kind == ASK and message.fields["flags"] == OVERFLOW:
                yield replace(message, kind=SHARE, fields={**message.fields, "worker": 1, "values": [LIE] * 8})

        port = 49152 + net.program.applications["sums"].id
        sent: Any = net.hosts[2]
        flow = sent.flow
        sent.flow = lambda _, to: flow(port, to)  # the third worker's own port
        Liar(net, 2, range(1), lies)
        with net.group("sums", net.hosts[:3]) as group:
            for each in group.allreduce([np.full(100, 2**30, np.int32)] * 3):
                assert set(each.tolist()) == {3 * 2**30}
            assert group.statistics[0].refused.source > 0


@pytest.mark.parametrize("forward", [False, True])
def test_a_server_ignores_forged_contributions(forward: bool) -> None:
    def lies(message: Message) -> Iterable[Message]:
        for worker in range(3):
            kind = FOR_HOST if forward else REQUEST
            yield replace(message, kind=kind, fields={**message.fields, "worker": worker, "values": [LIE] * 8})

    with Star(hosts=6, program=Program(Aggregate("sums", workers=3, lanes=8, slots=8)), offload=False) as net:
        liar = Liar(net, 4, range(3), lies)
        with net.group("sums", net.hosts[:3]) as group:
            for each in group.allreduce([np.full(100, worker + 1, np.int32) for worker in range(3)]):
                assert set(each.tolist()) == {6}
            assert liar.sent


def pass_time(net: Star) -> None:
    """Run the network for 2 ms, in which all messages arrive."""
    end = net.now + 2_000_000
    net.after(2_000_000, lambda: None)
    net.run(lambda: net.now >= end)


@pytest.mark.parametrize("offload", [True, False])
def test_parties_ignore_forged_releases(offload: bool) -> None:
    with Star(hosts=6, program=Program(Barrier("steps", parties=4)), offload=offload) as net:
        parties = net.join("steps", net.hosts[:4])

        def lies(message: Message) -> Iterable[Message]:
            yield from answering((RESULT, ASK))(message)
            if not offload:
                yield replace(message, fields={**message.fields, "party": 3})

        Liar(net, 4, range(3), lies)
        for party in parties[:3]:
            party.arrive()
        pass_time(net)
        assert [party.waiting() for party in parties] == [True, True, True, False]
        assert all(caught(party.refused) for party in parties[:3])
        parties[3].arrive()
        net.run(lambda: not any(party.waiting() for party in parties))


@pytest.mark.parametrize("result", ["multicast", "forward"])
def test_voters_ignore_forged_decisions(result: Literal["multicast", "forward"]) -> None:
    program = Program(Quorum("commits", voters=5, needed=3, slots=4, choices=2, result=result))
    with Star(hosts=7, program=program) as net:
        voters = net.join("commits", net.hosts[:5], server=net.hosts[5])
        Liar(net, 6, range(5), answering(status=Quorum.REACHED, value=LIE))
        voters[0].vote(7)
        pass_time(net)
        assert [each.decided for each in voters] == [{}] * 5
        assert caught(voters[0].statistics.refused)
        for each in voters[1:]:
            each.vote(7)
        net.run(lambda: all(each.idle for each in voters))
        assert [each.decided for each in voters] == [{1: 7}] * 5


def test_a_server_ignores_forged_votes_and_questions() -> None:
    program = Program(Quorum("commits", voters=5, needed=3, slots=4, choices=2, result="forward"))
    with Star(hosts=7, program=program, offload=False) as net:
        voters = net.join("commits", net.hosts[:5], server=net.hosts[5])

        def lies(message: Message) -> Iterable[Message]:
            for voter in range(5):
                yield replace(message, fields={**message.fields, "voter": voter, "value": LIE})
                yield replace(message, fields={**message.fields, "voter": voter, "value": LIE, "status": Quorum.LATE})

        Liar(net, 6, range(5), lies)
        for each in voters:
            each.vote(7)
        net.run(lambda: all(each.idle for each in voters))
        assert voters.server.decided == {1: 7}
        assert caught(voters.server.refused)


def test_clients_ignore_forged_grants() -> None:
    with Star(hosts=5, program=Program(Lock("locks"))) as net:
        locks = net.join("locks", net.hosts[:2], server=net.hosts[3])
        one, other = locks
        one.acquire(3)
        net.run(lambda: one.holds(3))
        Liar(net, 4, range(2), lambda message: [
            *answering(status=Lock.GRANTED, epoch=message.fields["epoch"])(message),
            *answering(status=Lock.RELEASED, epoch=2, granted=9)(message),
            *answering(status=Lock.SERVED, epoch=9)(message),
        ])  # fmt: skip
        other.acquire(3)
        pass_time(net)
        assert (one.holds(3), other.holds(3)) == (True, False)
        assert caught(other.statistics.refused)
        one.release(3)
        net.run(lambda: other.holds(3))


def test_a_lock_server_ignores_forged_requests() -> None:
    with Star(hosts=5, program=Program(Lock("locks")), offload=False) as net:
        locks = net.join("locks", net.hosts[:2], server=net.hosts[3])
        one, other = locks
        one.acquire(3)
        net.run(lambda: one.holds(3))

        def lies(message: Message) -> Iterable[Message]:
            for kind in (REQUEST, FOR_HOST):
                for client in range(3):
                    release = {**message.fields, "client": client, "wish": Lock.RELEASE}
                    yield replace(message, kind=kind, sequence=9, fields=release)

        Liar(net, 4, range(2), lies)
        other.acquire(3)
        pass_time(net)
        assert (one.holds(3), other.holds(3)) == (True, False)
        assert caught(locks.server.refused)
        one.release(3)
        net.run(lambda: other.holds(3))


def test_store_clients_and_server_ignore_forged_messages() -> None:
    with Star(hosts=4, program=Program(Cache("store", entries=4, lanes=1, keys=(7,)))) as net:
        clients = net.join("store", net.hosts[:1], server=net.hosts[2])
        client = clients[0]

        def lies(message: Message) -> Iterable[Message]:
            yield from answering(status=Cache.HIT, version=9, value=[LIE])(message)
            for kind in (REQUEST, FOR_HOST):
                for operation in (Cache.PUT, Cache.UPDATE, Cache.REMOVE):
                    fields = {**message.fields, "operation": operation, "value": [LIE], "version": 9, "item": 8}
                    yield replace(message, kind=kind, fields=fields)

        Liar(net, 3, range(1), lies)
        for key in (7, 8):  # a cached key and another one
            client.put(key, [5])
            net.run(lambda: client.idle)
            client.get(key, 1)
            net.run(lambda: client.idle)
            assert client.outcome.value == (5,)
        assert caught(client.refused)
        assert caught(clients.server.refused)


@pytest.mark.parametrize("offload", [True, False])
def test_grouping_ignores_forged_messages(offload: bool) -> None:
    program = Program(GroupBy("words", workers=3, lanes=2, cells=8, window=4))
    with Star(hosts=5, program=program, offload=offload) as net:
        workers = net.join("words", net.hosts[:2], server=net.hosts[3])

        def lies(message: Message) -> Iterable[Message]:
            yield from answering(present=0)(message)
            pairs = {**message.fields, "present": 3, "keys": [1, LIE], "values": [LIE, LIE]}
            for worker in range(3):
                yield replace(message, kind=FOR_HOST, fields={**pairs, "worker": worker})

        liar = Liar(net, 4, range(2), lies)
        for worker in workers:
            worker.put([(key, 1) for key in range(20)])
        net.run(lambda: all(worker.idle for worker in workers))
        workers.server.flush()
        net.run(lambda: bool(workers.server.idle))
        assert workers.server.totals == dict.fromkeys(range(20), 2)
        assert liar.sent
        assert all(caught(worker.refused) for worker in workers)
        assert caught(workers.server.refused)


def test_replicas_ignore_forged_stamps() -> None:
    with Star(hosts=6, program=Program(Sequencer("orders"))) as net:
        orders = net.join("orders", net.hosts[:2], clients=net.hosts[2:3], server=net.hosts[4])
        (client,) = orders.clients
        payload = Payload((str(net.hosts[2].address), 49153), 1, b"a lie").packed()
        liar = Liar(net, 5, range(3), answering((RESULT, ASK, FOUND, MISSING), payload, session=2, stamp=1))
        fields = {"group": 0, "client": 0, "session": orders[0].session, "stamp": 1}
        stamped = Message(RESULT, "orders", 1, fields, payload, net.controller.token("orders"))
        for host in range(2):
            liar.send(stamped, address(net, 4, UDP_PORT), address(net, host, 49153))
        for replica in orders:
            replica.execute = lambda ordered: ordered.body + b" done"
        client.request(b"deposit")
        net.run(lambda: bool(client.idle))
        assert [[each.body for each in replica.delivered] for replica in orders] == [[b"deposit"]] * 2
        assert {*client.answers.values()} == {b"deposit done"}
        assert caught(client.refused)
        assert all(caught(replica.statistics.refused) for replica in orders)


def test_paxos_ignores_forged_messages() -> None:
    names = ("first", "second", "third")
    program = Program(*(Acceptor(name, number=number, instances=16) for number, name in enumerate(names)))
    with Star(hosts=4, program=program) as net:
        for name in names:
            admit(net, name, range(1))
        server = address(net, 2, UDP_PORT)
        host = PaxosHost(Schema(program.schema()), dict.fromkeys(names, 1), server, 0, 1, Random(1), TIMING)
        liar = Liar(net, 3, range(1), lambda message: [
            *answering(phase=Acceptor.ACCEPTED, value=LIE)(message),
            *answering(phase=Acceptor.PROMISE, voted=9, value=LIE)(message),
            *answering(phase=Acceptor.REFUSED, ballot=10**9)(message),
        ])  # fmt: skip
        host.propose(1, 42)
        listen(net, 0, host, PORT)
        pass_time(net)
        assert host.chosen == {1: 42}
        assert caught(host.statistics.refused) == liar.sent
