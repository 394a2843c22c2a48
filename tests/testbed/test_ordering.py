"""Ordered requests over a network with loss, duplication and reordering: replicas deliver the same sequence."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from midflight.errors import MidflightError
from midflight.primitives import Message, Program, Schema, Sequencer
from midflight.primitives.wire import RESULT, UDP_PORT
from midflight.runtime.endpoint import Address
from midflight.runtime.endpoint.messages import ASK, MISSING, Refused
from midflight.runtime.endpoint.ordering import OrderedClient, Payload
from midflight.runtime.endpoint.replica import Ordered, Replica
from midflight.runtime.endpoint.software import SoftwareServer
from midflight.testbed import Star
from tests.testbed.coordination import PORT, TIMING, address, admit, leave, listen, run

REPLICAS, CLIENTS, SERVER = 3, 3, 6  # hosts 0 to 2, and 3 to 5
REQUESTS = 15
SEEDS = 12
PROGRAM = Program(Sequencer("orders", groups=2, clients=CLIENTS))
SCHEMA = Schema(PROGRAM.schema())

PARTS = (0, REPLICAS), (REPLICAS, CLIENTS)


@dataclass
class Referee:
    """Records the sequence of delivered requests, which must be the same for all replicas."""

    order: list[Ordered] = field(default_factory=list)

    def see(self, delivered: list[Ordered]) -> None:
        for place, (mine, known) in enumerate(zip(delivered, self.order, strict=False)):
            assert mine == known, f"{mine} is delivered at position {place}, where another replica has {known}"
        self.order += delivered[len(self.order) :]


class Machine(Replica):
    """A replica whose answers depend on all requests that it has executed."""

    def __init__(self, net: Star, number: int, referee: Referee, session: int, newest: int | None) -> None:
        self.history = hashlib.blake2b()
        self.referee = referee
        peers = [address(net, each) for each in range(REPLICAS) if each != number]
        super().__init__(SCHEMA, "orders", peers, session=session, newest=newest, execute=self.run, timing=TIMING)

    def run(self, ordered: Ordered) -> bytes:
        self.history.update(ordered.body + b"|")
        return self.history.digest()

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        super().receive(source, datagram, now)
        self.referee.see(self.delivered)


class Asker:
    """An `Endpoint`: a client that sends one request after the other."""

    def __init__(self, client: OrderedClient, requests: int) -> None:
        self.client, self.left = client, [b"%d.%d" % (client.client, each + 1) for each in range(requests)]

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        self.client.receive(source, datagram, now)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        if self.client.idle:
            assert len(set(self.client.answers.values())) <= 1, "the states of replicas differ"
            if self.left:
                self.client.request(self.left.pop(0))
        return self.client.poll(now)

    def next_deadline(self) -> int | None:
        return self.client.next_deadline()


def asker(net: Star, number: int, *, needed: int | None = None, requests: int = REQUESTS) -> Asker:
    replicas = [address(net, each) for each in range(REPLICAS)]
    host, server = REPLICAS + number, address(net, SERVER, UDP_PORT)
    client = OrderedClient(SCHEMA, "orders", number, address(net, host), server, replicas, needed=needed, timing=TIMING)
    made = Asker(client, requests)
    listen(net, host, made)
    return made


def machine(net: Star, number: int, referee: Referee, session: int = 1, newest: int | None = None) -> Machine:
    made = Machine(net, number, referee, session, newest)
    listen(net, number, made)
    return made


@pytest.mark.parametrize(
    ("faults", "needed"),
    [
        ("none", 3),
        ("none", 1),
        ("replicas", 3),
        ("switch", 3),
        ("switch", 1),
        ("replicas, switch", 3),
        ("no switch", 3),
    ],
)
def test_all_replicas_deliver_one_sequence(faults: str, needed: int) -> None:
    reported, epochs = 0, [0]
    with Star(SERVER + 1, program=PROGRAM, loss=0.15, duplicate=0.1, reorder=0.2) as net:
        for seed in range(SEEDS):
            referee, random, session = Referee(), Random(seed), epochs[-1] + 1
            epochs.append(session)
            net.state("orders").clear()
            if faults == "no switch":
                server = SoftwareServer(PROGRAM)
                replicas, clients = ([address(net, n + each) for each in range(many)] for n, many in PARTS)
                server.serve("orders", replicas, senders=clients, epoch=session)
                listen(net, SERVER, server, UDP_PORT)
            else:
                admit(net, "orders", range(REPLICAS), epoch=session)
            machines = [machine(net, each, referee, session) for each in range(REPLICAS)]
            askers = [asker(net, each, needed=needed) for each in range(CLIENTS)]

            def forget() -> None:
                epochs.append(epochs[-1] + 1)
                net.state("orders").clear()
                admit(net, "orders", range(REPLICAS), epoch=epochs[-1])

            def restart(
                number: int, machines: list[Machine] = machines, referee: Referee = referee, session: int = session
            ) -> None:
                if any(each.session != epochs[-1] for each in machines):
                    net.after(100_000, restart, number)
                    return
                leave(net, number)
                # No client has accepted a request that only this replica delivered, as answers of others are missing.
                others = [each.delivered for each in machines if each is not machines[number]]
                referee.order = max(others, key=len).copy()
                forget()
                machines[number] = machine(net, number, referee, session, epochs[-1])

            for _ in range(2):
                if faults == "replicas":
                    net.after(random.randrange(2_000_000), restart, random.randrange(REPLICAS))
                elif faults == "switch":
                    net.after(random.randrange(2_000_000), forget)
            run(net, until=net.now + 200_000_000)
            assert all(each.client.idle and not each.left for each in askers)
            bodies = [[each.body for each in referee.order if each.client == client] for client in range(CLIENTS)]
            assert bodies == [[b"%d.%d" % (client, each + 1) for each in range(REQUESTS)] for client in range(CLIENTS)]
            if needed == REPLICAS:
                assert all(each.delivered == referee.order for each in machines)
            reported += sum(each.statistics.from_peers for each in machines)
            leave(net, *range(SERVER))
            leave(net, SERVER, port=UDP_PORT)
        assert reported
        assert (epochs[-1] > SEEDS) is (faults in ("switch", "replicas"))


def stamped(session: int, stamp: int, client: int = 0, number: int = 1, kind: int = RESULT) -> bytes:
    fields = {"group": 0, "client": client, "session": session, "stamp": stamp}
    return SCHEMA.encode(Message(kind, "orders", number, fields, Payload(("10.0.0.7", PORT), number, b"").packed()))


SWITCH = ("10.0.0.9", UDP_PORT)
PLACES = [(f"10.0.0.{number + 1}", PORT) for number in range(2)]


def pair() -> list[Replica]:
    return [Replica(SCHEMA, "orders", [PLACES[1 - each]], session=4, timing=TIMING) for each in range(2)]


def exchange(replicas: Sequence[Replica], now: int) -> None:
    """Deliver messages between replicas until there are no more."""
    for _ in range(20):
        for number, each in enumerate(replicas):
            for to, datagram in each.poll(now):
                if to == PLACES[1 - number]:
                    replicas[1 - number].receive(PLACES[number], datagram, now)


def test_a_lost_stamp_is_declared_void_and_its_client_is_notified() -> None:
    replicas = pair()
    for stamp, to in ((1, replicas), (3, replicas), (4, replicas[:1]), (5, replicas)):
        for each in to:
            each.receive(SWITCH, stamped(4, stamp, number=stamp), 0)
    for now in range(0, 50_000_000, 500_000):
        exchange(replicas, now)
    for each in replicas:
        assert ([ordered.stamp for ordered in each.delivered], each.void) == ([1, 3, 4, 5], [(4, 2)])
        each.receive(SWITCH, stamped(4, 2, client=1, number=9), 0)
        reported = [SCHEMA.decode(datagram) for _, datagram in each.poll(50_000_000)]
        assert [(message.sequence, message.fields["stamp"]) for message in reported] == [(9, 0)]


def test_an_ended_session_is_completed_from_all_replicas() -> None:
    """No replica has stamp 2, one has 3, the other has 4, and 5 arrives too late."""
    one, other = replicas = pair()
    for stamp, to in ((1, replicas), (3, [one]), (4, [other])):
        for each in to:
            each.receive(SWITCH, stamped(4, stamp, client=stamp), 0)
    one.receive(SWITCH, stamped(6, 1, client=6), 0)
    one.receive(SWITCH, stamped(4, 5, client=5), 0)
    assert [each.stamp for each in one.delivered] == [1]
    exchange(replicas, 0)
    other.receive(SWITCH, stamped(4, 5, client=5), 0)
    other.receive(SWITCH, stamped(6, 1, client=6), 0)
    for now in range(0, 10_000_000, 500_000):
        exchange(replicas, now)
    assert one.delivered == other.delivered
    assert [(each.session, each.stamp) for each in one.delivered] == [(4, 1), (4, 3), (4, 4), (6, 1)]
    assert one.void == other.void == [(4, 2)]


def test_all_replicas_are_asked_again_after_the_end_of_a_session() -> None:
    """A replica that lacked a stamp may have received it meanwhile, from one that has since lost it."""
    one = Replica(SCHEMA, "orders", PLACES, session=4, timing=TIMING)
    for stamp in (1, 3):
        one.receive(SWITCH, stamped(4, stamp, number=stamp), 0)

    def asked(now: int) -> set[Address]:
        sent = [(to, SCHEMA.decode(datagram)) for to, datagram in one.poll(now)]
        asks = [(to, each) for to, each in sent if each.kind == ASK and each.fields["stamp"] == 2]
        for to, each in asks:
            if to == PLACES[0]:
                one.receive(to, SCHEMA.encode(replace(each, kind=MISSING, payload=bytes(10))), now)
        return {to for to, _ in asks}

    assert asked(0) == {*PLACES}
    assert asked(1_000_000) == {PLACES[1]}
    one.receive(SWITCH, stamped(5, 1, number=4), 1_000_000)
    assert asked(1_000_001) == {*PLACES}


def test_a_request_with_stamps_of_two_sessions_counts_once() -> None:
    one = Replica(SCHEMA, "orders", [], session=4)
    for session, stamp, number in ((4, 1, 1), (4, 2, 2), (5, 1, 2), (5, 2, 1), (5, 3, 3)):
        one.receive(SWITCH, stamped(session, stamp, number=number), 0)
    assert [(each.session, each.number) for each in one.delivered] == [(4, 1), (4, 2), (5, 3)]
    assert {to for to, _ in one.poll(0)} == {("10.0.0.7", PORT)}


def test_invalid_arguments_are_rejected() -> None:
    one = Replica(SCHEMA, "orders", [PLACES[1]], session=4)
    for source, nonsense in (
        (SWITCH, b""),
        (SWITCH, stamped(4, 1, kind=ASK)),  # not from a peer
        (PLACES[1], stamped(4, 1, kind=ASK)),  # without what the sender knows
        (SWITCH, stamped(4, 1)[:-3]),  # without the client's address
    ):
        one.receive(source, nonsense, 0)
    assert (one.statistics.refused, one.delivered) == (Refused(malformed=3, source=1), [])
    client = OrderedClient(SCHEMA, "orders", 1, ("10.0.0.7", PORT), SWITCH, PLACES, timing=TIMING)
    client.request(b"")
    with pytest.raises(MidflightError, match="client 1 has an open request"):
        client.request(b"")
    client.receive(SWITCH, stamped(4, 1, client=1), 0)  # not from a replica
    assert (client.idle, client.refused) == (False, Refused(source=1))
