"""The switch as an instance like any other: requests go to it, to the edge and to the cloud, and come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from midflight.errors import MidflightError
from midflight.primitives import REQUEST, Cache, Message, Program, Schema, Steering
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.endpoint.once import Once
from midflight.runtime.endpoint.reliable import Address
from midflight.runtime.steering.cps.rounds import Rounds
from midflight.runtime.steering.cps.selector import PathSelector
from midflight.runtime.steering.metrics import Update, raw
from midflight.testbed.net import Net
from midflight.testbed.topology import Topology
from midflight.testbed.topology.topology import Ends

CS_ID = "10.9.0.1"
MS = 1_000_000
CACHED, OTHER = 1, 9


def number_of(message: Message, field: str) -> int:
    return int(np.ravel(message.fields[field])[0])


@dataclass
class Instance:
    """Serves the store's requests from a table that all instances share; a PUT adds its value, which is an effect."""

    schema: Schema
    values: dict[int, int]
    once: Once
    alive: bool = True
    came: int = 0
    answers: list[tuple[Address, bytes]] = field(default_factory=list)

    def receive(self, source: Address, datagram: bytes, now: int, /) -> None:
        message = self.schema.decode(datagram)
        if not self.alive or message.fields["operation"] not in (Cache.GET, Cache.PUT):
            return
        self.came += 1
        self.answers.append((source, self.once.answer((source, message.sequence), lambda: self.execute(message))))

    def execute(self, message: Message) -> bytes:
        item, value = number_of(message, "item"), number_of(message, "value")
        if message.fields["operation"] == Cache.PUT:
            self.values[item] = self.values.get(item, 0) + value
        answer = dict(message.fields) | {"operation": 0, "value": [self.values.get(item, 0)]}
        return bytes(self.schema.encode(Message(message.kind + 1, message.application, message.sequence, answer)))

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        answers, self.answers = self.answers, []
        return answers

    def next_deadline(self) -> int | None:
        return None


@dataclass
class Client:
    """Sends requests, each again every 3 ms until it is answered, and notes the answers."""

    schema: Schema
    open: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    came: Counter[int] = field(default_factory=Counter)
    values: dict[int, int] = field(default_factory=dict)
    number: int = 0
    copies: int = 1

    def ask(self, operation: int, item: int, value: int = 0) -> int:
        self.number += 1
        fields: dict[str, int | list[int]] = {"operation": operation, "item": item, "value": [value]}
        fields |= {"status": 0, "hits": 0, "version": 0}
        self.open[self.number] = bytes(self.schema.encode(Message(REQUEST, "store", self.number, fields))), 0
        return self.number

    def receive(self, source: Address, datagram: bytes, now: int, /) -> None:
        message = self.schema.decode(datagram)
        self.came[message.sequence] += 1
        self.values[message.sequence] = number_of(message, "value")
        self.open.pop(message.sequence, None)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        due = [(number, data) for number, (data, at) in self.open.items() if at <= now]
        self.open |= {number: (data, now + 3 * MS) for number, data in due}
        return [((CS_ID, UDP_PORT), data) for _, data in due for _ in range(self.copies)]

    def next_deadline(self) -> int | None:
        return min((at for _, at in self.open.values()), default=None)


def test_requests_fall_back_to_the_edge_and_the_cloud_and_come_back() -> None:
    program = Program(
        Cache("store", entries=1, lanes=1, item_bits=16, columns=16, keys=[CACHED]),
        Steering(services=2, rules=2, pools=2, buckets=16, instances=4),
    )
    links: list[Ends] = [("h1", "s1"), ("h2", "s1"), ("h3", "s2"), ("s1", "s2")]
    with Net(Topology.of(links), program=program) as net:
        schema, shared, once = Schema(program.schema()), {CACHED: 5, OTHER: 7}, Once()
        services = net.steer("vision", CS_ID, {"h2": 100, "h3": 1})  # the cloud is the last resort
        edge, cloud = Instance(schema, shared, once), Instance(schema, shared, once)
        net.listen(net.host("h2"), edge, UDP_PORT)
        net.listen(net.host("h3"), cloud, UDP_PORT)
        client = Client(schema)
        net.listen(net.host("h1"), client, UDP_PORT)
        selector = PathSelector(10 * MS)
        rounds = Rounds(selector, services)

        def served(operation: int, item: int, value: int = 0) -> tuple[str, int]:
            """Return who has answered a request, and the value. Each request has one effect at most."""
            before = {"edge": edge.came, "cloud": cloud.came}
            number = client.ask(operation, item, value)
            net.run(lambda: number not in client.open)
            net.settle()
            by = [name for name, each in (("edge", edge), ("cloud", cloud)) if each.came > before[name]]
            return (by or ["switch"])[0], client.values[number]

        def watched() -> None:
            for _ in range(30):
                late: list[int] = []
                net.after(MS, late.append, 1)
                net.run(lambda late=late: bool(late))  # type: ignore[misc]
                for name, each in (("h2", edge), ("h3", cloud)):
                    if each.alive:
                        up = (raw("service_available", 1), raw("service_time", 0.001))
                        address = str(net.host(name).address)
                        selector.accept(Update(CS_ID, address, net.now // MS, net.now, 30 * MS, raw=up), net.now)
                rounds.round(net.now)

        def filled() -> None:
            """Send the switch the value of the key that it caches, from the edge."""
            update: dict[str, int | list[int]] = {"operation": Cache.UPDATE, "status": 0, "hits": 0, "version": 1}
            update |= {"item": CACHED, "value": [shared[CACHED]]}
            data = schema.encode(Message(REQUEST, "store", 0, update))
            edge.answers.append(((str(net.host("h2").address), UDP_PORT), bytes(data)))
            net.run(lambda: not edge.answers)
            net.settle()

        assert served(Cache.GET, CACHED) == ("edge", 5), "not admitted"
        net.admit("store", switch="s1")
        filled()
        assert served(Cache.GET, CACHED) == ("switch", 5)
        assert served(Cache.GET, OTHER) == ("edge", 7), "its slots are taken"
        net.withdraw("store", "s1")
        assert served(Cache.GET, CACHED) == ("edge", 5), "admission has ended"
        watched()
        edge.alive = False
        watched()
        assert served(Cache.GET, OTHER) == ("cloud", 7)
        net.admit("store", switch="s1")
        assert served(Cache.GET, CACHED) == ("switch", 5), "it comes back"
        net.revive("s1")
        assert served(Cache.GET, CACHED) == ("cloud", 5), "a switch that restarts is empty"
        client.copies = 3
        assert served(Cache.PUT, OTHER, 10) == ("cloud", 17), "copies of a request have one effect"
        edge.alive = True
        watched()
        client.copies = 1
        filled()
        assert served(Cache.GET, CACHED) == ("switch", 5)
        assert served(Cache.GET, OTHER)[1] == 17
        assert once.repeated >= 2
        assert not client.open, "none is lost"


def test_running_requests_are_neither_lost_nor_executed_twice() -> None:
    """The switch gets and loses its admission and restarts, and the edge dies and returns, between any two requests."""
    program = Program(
        Cache("store", entries=1, lanes=1, item_bits=16, columns=16, keys=[CACHED]),
        Steering(services=2, rules=2, pools=2, buckets=16, instances=4),
    )
    links: list[Ends] = [("h1", "s1"), ("h2", "s1"), ("h3", "s2"), ("s1", "s2")]
    with Net(Topology.of(links), program=program) as net:
        schema, shared, once = Schema(program.schema()), {CACHED: 5, OTHER: 7}, Once()
        services = net.steer("vision", CS_ID, {"h2": 100, "h3": 1})
        edge, cloud = Instance(schema, shared, once), Instance(schema, shared, once)
        net.listen(net.host("h2"), edge, UDP_PORT)
        net.listen(net.host("h3"), cloud, UDP_PORT)
        client = Client(schema, copies=2)
        net.listen(net.host("h1"), client, UDP_PORT)
        selector = PathSelector(10 * MS)
        rounds = Rounds(selector, services)

        def fill() -> None:
            update: dict[str, int | list[int]] = {"operation": Cache.UPDATE, "status": 0, "hits": 0, "version": 1}
            update |= {"item": CACHED, "value": [shared[CACHED]]}
            data = schema.encode(Message(REQUEST, "store", 0, update))
            edge.answers.append(((str(net.host("h2").address), UDP_PORT), bytes(data)))

        events: dict[int, Callable[[], object]] = {
            5: lambda: net.admit("store", switch="s1"),
            8: fill,
            15: lambda: net.withdraw("store", "s1"),
            20: lambda: net.admit("store", switch="s1"),
            25: lambda: setattr(edge, "alive", False),
            45: lambda: net.revive("s1"),
            55: fill,
            60: lambda: setattr(edge, "alive", True),
        }
        gets, puts = [], []
        for step in range(80):
            gets.append(client.ask(Cache.GET, CACHED))
            puts.append(client.ask(Cache.PUT, OTHER, 1))
            if step in events:
                events[step]()
            late: list[int] = []
            net.after(MS, late.append, 1)
            net.run(lambda late=late: bool(late))  # type: ignore[misc]
            for name, each in (("h2", edge), ("h3", cloud)):
                if each.alive:
                    up = (raw("service_available", 1), raw("service_time", 0.001))
                    address = str(net.host(name).address)
                    selector.accept(Update(CS_ID, address, net.now // MS, net.now, 30 * MS, raw=up), net.now)
            rounds.round(net.now)
        net.run(lambda: not client.open)
        net.settle()
        assert [client.values[number] for number in gets] == [5] * 80, "none is lost"
        assert shared[OTHER] == 7 + 80, "each PUT has one effect"
        assert once.repeated > 0, "there were copies"
        assert min(edge.came, cloud.came) > 0
        assert sum(client.came.values()) > edge.came + cloud.came, "the switch answered, too"


def test_a_request_that_failed_is_not_remembered_and_old_ones_are_forgotten() -> None:
    once = Once(2)

    def fail() -> bytes:
        raise ValueError

    with pytest.raises(ValueError):
        once.answer(1, fail)
    assert [once.answer(each, lambda: b"x") for each in (1, 1, 2, 3)] == [b"x"] * 4
    assert once.repeated == 1
    once.answer(1, lambda: b"again")
    assert once.repeated == 1
    with pytest.raises(MidflightError, match="0 requests"):
        Once(0)
