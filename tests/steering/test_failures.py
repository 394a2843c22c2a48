"""Failures of instances, links, forwarders and controllers on a running network: what notices them, and how fast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from midflight.errors import DeviceError
from midflight.primitives import REQUEST, Balance, Message, Program, Schema, Steering
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.endpoint.reliable import Address
from midflight.runtime.steering.cps.rounds import Rounds
from midflight.runtime.steering.cps.selector import PATHS, PathSelector
from midflight.runtime.steering.metrics import Update, raw
from midflight.testbed.net import Net
from midflight.testbed.topology import Topology
from midflight.testbed.topology.topology import Ends

CS_ID = "10.9.0.1"
MS = 1_000_000
GAP = 50_000  # nanoseconds between two requests
TRIP = 500_000  # nanoseconds of a round trip, with the time in switches
DETECT = 10 * MS


@dataclass
class Server:
    """Answers each request with a report of its load, unless it is dead."""

    schema: Schema
    number: int
    alive: bool = True
    unanswered: list[int] = field(default_factory=list)
    answers: list[tuple[Address, bytes]] = field(default_factory=list)

    def receive(self, source: Address, datagram: bytes, now: int, /) -> None:
        if not self.alive:
            self.unanswered.append(now)
            return
        fields = dict(self.schema.decode(datagram).fields) | {"operation": Balance.REPORT, "instance": self.number}
        self.answers.append((source, bytes(self.schema.encode(Message(REQUEST, "pool", 1, fields)))))

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        answers, self.answers = self.answers, []
        return answers

    def next_deadline(self) -> int | None:
        return None


@dataclass
class Client:
    """Sends a request of another flow every 50 microseconds, and notes which are answered."""

    schema: Schema
    number: int = 0
    due: int | None = None
    sent: dict[int, int] = field(default_factory=dict)
    answered: dict[int, int] = field(default_factory=dict)

    def receive(self, source: Address, datagram: bytes, now: int, /) -> None:
        time = self.schema.decode(datagram).fields["time"]
        assert isinstance(time, int)
        self.answered[time] = now

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        if self.due is None or now < self.due:
            return []
        self.due, self.number = now + GAP, self.number + 1
        self.sent[self.number] = now
        fields = {"operation": Balance.ASK, "instance": 0, "load": 0, "time": self.number, "flow": self.number}
        return [((CS_ID, UDP_PORT), bytes(self.schema.encode(Message(REQUEST, "pool", 1, fields))))]

    def next_deadline(self) -> int | None:
        return self.due

    def lost(self, after: int) -> list[int]:
        """Return when requests were sent that have not been answered, of those after a time."""
        return [at for number, at in self.sent.items() if at > after and number not in self.answered]


class Lab:
    """A client at s1 and a server at each of s2 and s3, with a path selector that hears of them every 3 ms."""

    def __init__(self, net: Net, program: Program) -> None:
        self.net, schema = net, Schema(program.schema())
        self.services = net.steer("vision", CS_ID, {"h2": 1, "h3": 1})
        self.servers = {"h2": Server(schema, 1), "h3": Server(schema, 2)}
        for name, server in self.servers.items():
            net.listen(net.host(name), server, UDP_PORT)
        self.client = Client(schema)
        net.listen(net.host("h1"), self.client, UDP_PORT)
        self.selector = PathSelector(DETECT)
        self.rounds = Rounds(self.selector, self.services, valid=0.02)
        self.silent: list[str] = []
        self.number = 0

    @property
    def used(self) -> str:
        """The host that the client's flow goes to by the buckets."""
        return self.services.instance("vision", self.net.host("h1").address, UDP_PORT, UDP_PORT)

    def play(self, milliseconds: int, *, selecting: bool = True) -> None:
        """Let time pass, with requests; `selecting` is whether the path selector lives."""
        self.client.due = self.net.now
        for step in range(milliseconds):
            late: list[int] = []
            self.net.after(MS, late.append, 1)
            self.net.run(lambda late=late: bool(late))  # type: ignore[misc]
            if step % 3 == 0 and selecting:
                self.number += 1
                for name, server in self.servers.items():
                    if server.alive and name not in self.silent:
                        address = str(self.net.host(name).address)
                        raws = (raw("service_available", 1), raw("service_time", 0.001))
                        made = Update(CS_ID, address, self.number, self.net.now, 30 * MS, raw=raws)
                        self.selector.accept(made, self.net.now)
                self.rounds.round(self.net.now)
        self.client.due = None
        self.net.settle()


def program(patience: int) -> Program:
    balance = Balance("pool", instances=4, buckets=16, patience=patience)
    return Program(balance, Steering(services=2, rules=2, pools=2, buckets=16, instances=4))


@pytest.fixture(scope="module")
def opened() -> Iterator[Lab]:
    made = program(2 * TRIP // 1000)
    hosts: list[Ends] = [("h1", "s1"), ("h2", "s2"), ("h3", "s3"), ("s1", "s2")]
    ways: list[Ends] = [("s1", "s4"), ("s4", "s3"), ("s1", "s5"), ("s5", "s3")]
    with Net(Topology.of([*hosts, *ways]), program=made) as net:
        net.admit("pool", switch="s1")
        yield Lab(net, made)


@pytest.fixture
def lab(opened: Lab) -> Iterator[Lab]:
    yield opened
    opened.services.balance("vision", "")
    opened.services.weigh("vision", {"h2": 1, "h3": 1})
    for server in opened.servers.values():
        server.alive = True
        server.unanswered.clear()


def test_the_data_plane_alone_leaves_a_dead_instance_in_three_round_trips(lab: Lab) -> None:
    lab.services.balance("vision", "pool")
    lab.play(5, selecting=False)
    trips = [lab.client.answered[number] - at for number, at in lab.client.sent.items()]
    assert max(trips) < TRIP
    lab.servers["h2"].alive, died = False, lab.net.now
    lab.play(8, selecting=False)
    assert 0 < lab.servers["h2"].unanswered[-1] - died < 3 * TRIP
    assert max(lab.client.lost(died)) - died < 3 * TRIP, "nothing is lost after that"


def test_the_path_selector_leaves_a_dead_instance_after_one_detection_time(lab: Lab) -> None:
    lab.play(6)
    used = lab.used
    lab.servers[used].alive, died = False, lab.net.now
    lab.play(24)
    left = max(lab.client.lost(died)) - died
    assert DETECT - 3 * MS < left < DETECT + 4 * MS, "a detection time and a round"
    assert lab.services["vision"].pool.weights == {3 - lab.servers[used].number: 1.0}


def test_a_lost_path_is_left_when_the_network_agent_says_so(lab: Lab) -> None:
    lab.play(6)
    lost = Update(PATHS, str(lab.net.host("h3").address), 1, lab.net.now, 30 * MS, raw=(raw("network_loss", 1.0),))
    lab.selector.accept(lost, lab.net.now)
    lab.rounds.round(lab.net.now)
    assert lab.services["vision"].pool.weights == {1: 1.0}
    back = Update(PATHS, lost.csci_id, 2, lab.net.now, 30 * MS, raw=(raw("network_loss", 0.0),))
    lab.selector.accept(back, lab.net.now)
    lab.rounds.round(lab.net.now)
    assert lab.services["vision"].pool.weights.keys() == {1, 2}
    lab.selector.liveness.keep([])


def test_when_a_forwarder_dies_its_instances_are_left(lab: Lab) -> None:
    lab.play(6)
    switch = lab.used.replace("h", "s")
    lab.net.kill(switch)
    died = lab.net.now
    lab.play(6)
    assert max(lab.client.lost(died)) - died < 4 * MS, "one round, as the controller knows"
    lab.net.revive(switch)
    back = lab.net.now
    lab.play(12)
    assert lab.client.lost(back) == []
    assert lab.services["vision"].pool.weights.keys() == {1, 2}


def test_requests_take_another_way_when_a_forwarder_between_dies(lab: Lab) -> None:
    lab.services.weigh("vision", {"h3": 1})
    lab.net.kill("s4")
    died = lab.net.now
    lab.play(2, selecting=False)
    assert lab.client.lost(died), "the way to h3 leads over s4"
    assert lab.net.controller.recovery.avoid()
    routed = lab.net.now
    lab.play(2, selecting=False)
    assert lab.client.lost(routed) == []
    lab.net.revive("s4")
    assert not lab.net.controller.recovery.avoid(), "it is used again"


def test_a_way_around_that_a_switch_refused_is_tried_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise DeviceError("s1 refuses")

    lab.net.kill("s4")
    with monkeypatch.context() as patched:
        patched.setattr(lab.net.controller.services, "apply", refuse)
        with pytest.raises(DeviceError, match="s1 refuses"):
            lab.net.controller.recovery.avoid()
    assert lab.net.controller.recovery.avoid()
    assert not lab.net.controller.recovery.avoid()


def test_when_the_path_selector_dies_static_weights_return_and_nothing_is_lost(lab: Lab) -> None:
    lab.services.weigh("vision", {"h2": 3, "h3": 1})
    lab.play(12)  # longer than half of the validity: the path selector has written its weights
    died = lab.net.now
    lab.play(30, selecting=False)
    assert lab.services.expire() == ("vision",)
    lab.play(3, selecting=False)
    assert lab.client.lost(died) == []
    assert lab.services["vision"].pool.weights == {1: 1.0, 2: 1.0}
