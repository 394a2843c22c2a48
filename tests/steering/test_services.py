"""Services of a controller: requests reach instances by weight, and what holds through changes and failures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any
from unittest.mock import patch

import pytest

from midflight.errors import DeviceError, KernelError, MidflightError
from midflight.primitives import Program, Steering, Threshold
from midflight.runtime.controller.saved import SavedState
from midflight.runtime.endpoint.reliable import Address
from midflight.runtime.steering import Offload
from midflight.runtime.steering.service import Rule
from midflight.testbed.net import Net
from midflight.testbed.topology import Topology
from midflight.testbed.topology.topology import Ends

CS_ID = "10.9.0.1"
PORT = 7000
FLOWS = 64


class Server:
    """Counts requests by client's port."""

    def __init__(self) -> None:
        self.came: Counter[int] = Counter()

    def receive(self, source: Address, datagram: bytes, now: int, /) -> None:
        self.came[source[1]] += 1

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        return []

    def next_deadline(self) -> int | None:
        return None


class Client:
    """Sends one request each time that it is asked to."""

    def __init__(self) -> None:
        self.open = 0

    def receive(self, source: Address, datagram: bytes, now: int, /) -> None:
        pass

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        asked, self.open = self.open, 0
        return [((CS_ID, PORT), b"request")] * asked

    def next_deadline(self) -> int | None:
        return None


class Lab:
    """h1 and h4 at s1, h2 and h3 at s2, with a server on h2, h3 and h4, and a client for each of 64 flows on h1."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.servers = {name: Server() for name in ("h2", "h3", "h4")}
        self.clients = [Client() for _ in range(FLOWS)]
        for name, server in self.servers.items():
            net.listen(net.host(name), server, PORT)
        for number, client in enumerate(self.clients):
            net.listen(net.host("h1"), client, 20_000 + number)

    def ask(self) -> dict[int, str]:
        """Send a request of each flow, and return the server that each reached, by the flow's number."""
        for server in self.servers.values():
            server.came.clear()
        for client in self.clients:
            client.open = 1
        self.net.run(lambda: all(client.open == 0 for client in self.clients))
        self.net.settle()
        found = {}
        for name, server in self.servers.items():
            for port, count in server.came.items():
                assert count == 1
                assert port - 20_000 not in found
                found[port - 20_000] = name
        return found


def program() -> Program:
    return Program(
        Threshold("pressure", above=9, clear=5), Steering(services=2, rules=2, pools=3, buckets=32, instances=8)
    )


@pytest.fixture(scope="module")
def opened() -> Iterator[Lab]:
    links: list[Ends] = [("h1", "s1"), ("h2", "s2"), ("h3", "s2"), ("h4", "s1"), ("s1", "s2")]
    with Net(Topology.of(links), program=program()) as net:
        yield Lab(net)


@pytest.fixture
def lab(opened: Lab) -> Iterator[Lab]:
    """A lab without services. Every test uses the same one, which takes seconds to open."""
    yield opened
    services = opened.net.controller.services
    for name in opened.net.controller.fleet.desired.services:
        services.remove(name)


def test_requests_reach_the_predicted_instances(lab: Lab) -> None:
    services = lab.net.steer("vision", CS_ID, {"h2": 1, "h3": 1, "h4": 2})
    found = lab.ask()
    client = lab.net.host("h1").address
    assert found == {flow: services.instance("vision", client, 20_000 + flow, PORT) for flow in range(FLOWS)}
    assert {*found.values()} == {"h2", "h3", "h4"}
    counts = services.counters("s1")
    assert {name: count.packets for name, count in counts.items()} == dict(Counter(found.values()))


def test_the_control_plane_keeps_nothing_about_who_uses_a_service(lab: Lab) -> None:
    """Requests leave counts by instance behind, and no trace of clients (R21)."""
    services = lab.net.steer("vision", CS_ID, {"h2": 1, "h3": 1, "h4": 2})
    fleet = lab.net.controller.fleet
    before = services.served(), SavedState.of(fleet, lab.net.controller.jobs).document

    def tables() -> dict[tuple[str, str], list[object]]:
        """Return the entries of all tables of all switches."""
        sessions = lab.net.sessions
        names = {name: [each.preamble.name for each in session.p4info.tables] for name, session in sessions.items()}
        return {(name, table): [*sessions[name].read_table(table)] for name in names for table in names[name]}

    entries = tables()
    lab.ask()
    after = services.served()
    uncounted = [
        replace(each, instances=tuple(replace(it, requests=0) for it in each.instances))
        for each in (*before[0], *after)
    ]
    assert uncounted[0] == uncounted[1]
    assert sum(it.requests for it in after[0].instances) == FLOWS
    assert SavedState.of(fleet, lab.net.controller.jobs).document == before[1]
    assert tables() == entries, "no switch has state for a flow"


def test_few_flows_move_when_weights_change(lab: Lab) -> None:
    services = lab.net.steer("vision", CS_ID, {"h2": 1, "h3": 1, "h4": 2})
    before = lab.ask()
    moved = services.weigh("vision", {"h2": 1, "h3": 1, "h4": 1})
    after = lab.ask()
    assert moved == 16 - 10
    assert all(after[flow] == name for flow, name in before.items() if name != "h4")
    assert services.weigh("vision", {"h2": 2, "h3": 2, "h4": 2}) == 0


def test_a_drained_instance_gets_no_new_flows(lab: Lab) -> None:
    services = lab.net.steer("vision", CS_ID, {"h2": 1, "h3": 1})
    before = lab.ask()
    services.drain("vision", "h2")
    after = lab.ask()
    assert {*after.values()} == {"h3"}
    assert Counter(before.values())["h2"] > 0
    assert services.counters("s1")["h2"].packets > 0, "its entry stays, for flows that a kernel keeps there"
    with pytest.raises(MidflightError, match="h3 is the last instance of 'vision'"):
        services.drain("vision", "h3")
    services.weigh("vision", {"h2": 1, "h3": 1}, valid=5.0, computed=True)
    assert {*lab.ask().values()} == {"h3"}, "what a path selector computes does not end it"
    services.weigh("vision", {"h3": 1}, valid=1e-9)
    lab.ask()  # time passes
    assert services.expire() == ("vision",)
    assert {*lab.ask().values()} == {"h3"}, "nor do static weights"
    services.weigh("vision", {"h2": 1, "h3": 1})
    assert {*lab.ask().values()} == {"h2", "h3"}


def test_a_class_has_weights_of_its_own(lab: Lab) -> None:
    services = lab.net.steer("vision", CS_ID, {"h2": 1, "h3": 1})
    services.classify("vision", "ours", Rule(source=IPv4Network("10.0.0.1/32"), port=PORT), {"h4": 1})
    lab.net.host("h4").accept(IPv4Address(CS_ID))
    assert {*lab.ask().values()} == {"h4"}
    services.classify("vision", "ours", Rule(source=IPv4Network("10.0.0.0/8"), port=PORT + 1), {"h4": 1})
    assert {*lab.ask().values()} == {"h2", "h3"}
    with pytest.raises(MidflightError, match="class 'ours' has the same rule"):
        services.classify("vision", "theirs", services["vision"].classes["ours"][0], {"h4": 1})
    with pytest.raises(MidflightError, match="no class 'other'"):
        services.weigh("vision", {"h2": 1}, traffic_class="other")


def test_the_requests_to_a_prefix_reach_instances_that_accept_their_address(lab: Lab) -> None:
    services = lab.net.steer("vision", "10.9.0.0/24", {"h2": 1, "h3": 1})
    for name in ("h2", "h3"):
        lab.net.host(name).accept(IPv4Address(CS_ID))
    client = lab.net.host("h1").address
    assert lab.ask() == {flow: services.instance("vision", client, 20_000 + flow, PORT) for flow in range(FLOWS)}


@pytest.mark.parametrize(
    ("address", "reported"),
    [
        ("10.0.0.3", "10.0.0.3/32 is the address of host h3, 10.0.0.3"),
        ("64:ff9b:1::10.0.0.3", "is the address of host h3"),
        ("10.0.0.0/30", "10.0.0.0/30 contains the address of host h1, 10.0.0.1"),
        ("0.0.0.0/0", "contains the address of host h1"),
        ("::/0", "contains the address of host h1"),
    ],
)
def test_the_addresses_of_hosts_are_no_services(lab: Lab, address: str, reported: str) -> None:
    with pytest.raises(MidflightError, match=reported):
        lab.net.steer("vision", address, {"h2": 1})


@pytest.mark.parametrize("address", ["2001:db8::9", "2001:db8::/64"])
def test_hosts_without_ipv6_are_no_instances_of_an_ipv6_address(lab: Lab, address: str) -> None:
    with pytest.raises(
        MidflightError, match=f"h2 has an IPv4 address and cannot receive packets for {address}"
    ) as error:
        lab.net.steer("vision", address, {"h2": 1})
    assert "with_ipv6()" in str(error.value)
    lab.net.steer("vision", CS_ID, {"h2": 1, "h3": 1})
    assert {*lab.ask().values()} == {"h2", "h3"}


def test_a_host_that_refuses_the_address_leaves_no_service(lab: Lab) -> None:
    with patch.object(type(lab.net.host("h3")), "accept", side_effect=DeviceError("no")), pytest.raises(DeviceError):
        lab.net.steer("vision", CS_ID, {"h2": 1, "h3": 1})
    assert not lab.net.controller.fleet.desired.services
    assert lab.ask() == {}


def test_hosts_return_the_address_if_a_later_host_refuses_it(lab: Lab) -> None:
    address, h4 = IPv4Address("10.9.0.77"), lab.net.host("h4")
    accept = type(h4).accept

    def refusing(host: Any, wanted: IPv4Address) -> None:
        if host is h4:
            raise DeviceError("no")
        accept(host, wanted)

    before = {name: dict(lab.net.fabric.hosts[name]._own) for name in ("h2", "h3", "h4")}  # type: ignore[attr-defined]
    with patch.object(type(h4), "accept", refusing), pytest.raises(DeviceError, match="no"):
        lab.net.steer("vision", str(address), {"h2": 1, "h3": 1, "h4": 1})
    now = {name: dict(lab.net.fabric.hosts[name]._own) for name in ("h2", "h3", "h4")}  # type: ignore[attr-defined]
    assert now == before
    assert not lab.net.controller.fleet.desired.services
    lab.net.host("h2").accept(address)
    for _ in range(2):
        lab.net.host("h2").reject(address)
    lab.net.host("h2").reject(lab.net.host("h2").address)
    assert dict(lab.net.fabric.hosts["h2"]._own) == before["h2"]  # type: ignore[attr-defined]


def test_weights_expire_and_hold_until_then(lab: Lab) -> None:
    services = lab.net.steer("vision", CS_ID, {"h2": 1, "h3": 1})
    at_first = lab.ask()
    services.weigh("vision", {"h2": 1}, valid=0.5)
    assert {*lab.ask().values()} == {"h2"}
    assert services.expire() == ()
    later = Counter[str]()
    lab.net.after(500_000_000, later.update, ["now"])
    lab.net.run(lambda: later["now"] > 0)
    assert {*lab.ask().values()} == {"h2"}, "the last weights hold until the controller returns to the static ones"
    assert services.expire() == ("vision",)
    assert sum(one != lab_now for one, lab_now in zip(at_first.values(), lab.ask().values(), strict=True)) < FLOWS / 4
    assert services.expire() == ()


def test_a_revived_switch_steers_as_before(lab: Lab) -> None:
    services = lab.net.steer("vision", CS_ID, {"h2": 1, "h3": 3, "h4": 1})
    before = lab.ask()
    for switch in ("s1", "s2"):
        lab.net.kill(switch)
        assert len(lab.ask()) < FLOWS
        if switch == "s2":
            services.weigh("vision", {"h2": 2, "h3": 2, "h4": 1})
        lab.net.revive(switch)
        client = lab.net.host("h1").address
        expected = {flow: services.instance("vision", client, 20_000 + flow, PORT) for flow in range(FLOWS)}
        assert lab.ask() == expected
        assert (expected == before) == (switch == "s1")


def test_services_survive_a_change_of_the_program_and_a_restart_of_the_controller(lab: Lab) -> None:
    services = lab.net.steer("vision", CS_ID, {"h2": 1, "h4": 1})
    services.classify("vision", "ours", Rule(dscp=3, source=IPv4Network("10.0.0.0/8")), {"h3": 1})
    before = lab.ask()
    lab.net.change(lab.net.program.extended(Threshold("heat", above=9, clear=5)))
    assert lab.ask() == before
    fleet, jobs = lab.net.controller.fleet, lab.net.controller.jobs
    saved = SavedState(json.loads(json.dumps(SavedState.of(fleet, jobs).document)))
    kept = fleet.desired
    services.remove("vision")
    assert lab.ask() == {}
    saved.restore(fleet, jobs)
    assert (fleet.desired.services, fleet.desired.instances) == (kept.services, kept.instances)
    services.apply()
    assert lab.ask() == before
    with pytest.raises(MidflightError, match="Steering of a program cannot change while there are services"):
        lab.net.change(Program(Threshold("pressure", above=9, clear=5)))


def test_a_switch_that_refuses_changes_nothing(lab: Lab) -> None:
    services = lab.net.steer("vision", CS_ID, {"h2": 1, "h4": 1})
    before = lab.ask()
    real, calls = Offload.steer, []

    def refuse(offload: Offload, entries: object) -> None:
        calls.append(entries)
        if len(calls) == 2:
            raise DeviceError("RESOURCE_EXHAUSTED")
        real(offload, entries)  # type: ignore[arg-type]

    with patch.object(Offload, "steer", refuse), pytest.raises(DeviceError):
        services.weigh("vision", {"h3": 1})
    assert lab.ask() == before
    assert [*services["vision"].pool.weights.values()] == [1, 1]


def test_mistakes(lab: Lab) -> None:
    services = lab.net.steer("vision", CS_ID, {"h2": 1})
    for address, weights, reported in (
        ("10.9.0.2/24", {"h2": 1}, "is not the address or prefix of a service"),
        ("10.9.0.2", {"h9": 1}, "there is no host named h9"),
        ("10.9.0.2", {"h2": 0}, "at least one instance needs a weight above 0"),
        ("10.9.0.2", {"h2": -1}, "a weight is finite"),
        (CS_ID, {"h2": 1}, "is the address of service 'vision'"),
    ):
        with pytest.raises(MidflightError, match=reported):
            services.add("sound", address, weights)
    for mistake, reported in (
        (lambda: services.add("", "10.9.0.2", {"h2": 1}), "the name of a service must not be empty"),
        (lambda: services.classify("vision", "", Rule(), {"h2": 1}), "the name of a class must not be empty"),
        (lambda: services.add("sound", "64:ff9b:1::10.9.0.1", {"h2": 1}), "is the address of service 'vision'"),
        (lambda: services.weigh("vision", {"h2": "x"}), "the weight of h2 is 'x'"),  # type: ignore[dict-item]
        (lambda: services.weigh("vision", {"h2": float("nan")}), "the weight of h2 is nan"),
        (lambda: services.weigh("vision", {"h2": 1}, valid=-1), "cannot be valid for -1 seconds"),
        (lambda: services.weigh("vision", {"h2": 1}, valid=0), "cannot be valid for 0 seconds"),
        (lambda: services.weigh("vision", {"h2": 1}, valid=float("nan")), "cannot be valid for nan seconds"),
        (lambda: services.weigh("vision", {"h2": 1}, valid=1e300), "cannot be valid for 1e"),
        (lambda: services.drain("vision", "h7"), "h7 is not an instance of 'vision'"),
        (lambda: services.drain("vision", "h3"), "h3 is not an instance of 'vision'"),
        (lambda: services.instance("vision", "nowhere"), "'nowhere' does not appear to be an IPv4 or IPv6 address"),
        (lambda: services.instance("vision", "10.0.0.1", 70_000), "a port is 0 to 65535, not 70000"),
        (lambda: services.instance("vision", "10.0.0.1", 1, -1), "a port is 0 to 65535, not -1"),
    ):
        with pytest.raises(MidflightError, match=reported):
            mistake()
    assert services.instance("vision", "2001:db8::1", 7, PORT) == "h2"
    services.add("sound", "10.9.1.0/24", {"h2": 1})
    with pytest.raises(MidflightError, match=r"3 services, but the program has Steering\(services=2\)"):
        services.add("third", "10.9.0.3", {"h2": 1})
    with pytest.raises(MidflightError, match="there is no service 'third'"):
        services.weigh("third", {"h2": 1})
    with pytest.raises(MidflightError, match="a rule's dscp must be 0 to 63"):
        Rule(dscp=64)
    with (
        patch.object(lab.net.program, "steering", None),
        pytest.raises(MidflightError, match="the program does not steer requests"),
    ):
        services.add("third", "10.9.0.3", {"h2": 1})
    with pytest.raises(KernelError, match="buckets must be a power of two"):
        Steering(buckets=100)
    with pytest.raises(KernelError, match="a program has one Steering"):
        Program(Steering(), Steering())
