"""Offload: its operations are idempotent, and rejected ones have no effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from ipaddress import IPv4Address, IPv6Address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.errors import DeviceError, MidflightError
from midflight.runtime.p4runtime.client.results import Count, Counts
from midflight.runtime.steering import Member, Offload, Route, steps

Entry = tuple[str, tuple[tuple[str, object], ...]]


class Device:
    """A fake P4Runtime device for steering, which checks that entries exist, and can reject a call."""

    def __init__(self) -> None:
        self.entries: dict[Entry, tuple[str, dict[str, int]]] = {}
        self.rates: dict[Entry, int] = {}
        self.groups: dict[int, tuple[int, ...]] = {}
        self.mirrors: dict[int, tuple[int, ...]] = {}
        self.counts: dict[Entry, tuple[int, int]] = {}
        self.requests = np.zeros(4, np.int64)
        self.calls: list[str] = []
        self.refuse_at: int | None = None
        self.dead = False
        self.ports: list[object] = []

    def _call(self, what: str) -> None:
        if self.refuse_at is not None and len(self.calls) >= self.refuse_at:
            self.refuse_at = None
            raise DeviceError("RESOURCE_EXHAUSTED")
        if self.dead and self.refuse_at is None:
            raise DeviceError("UNAVAILABLE")
        self.calls.append(what)

    def batch(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _key(self, table: str, match: Mapping[str, object]) -> Entry:
        return table, tuple(sorted(match.items()))

    def insert(
        self,
        table: str,
        match: Mapping[str, object],
        action: str,
        params: Mapping[str, int],
        *,
        priority: int = 0,
        rate: int = 0,
    ) -> None:
        self._call(f"insert {table}")
        self.ports.append(match.get("standard_metadata.egress_port"))
        if self._key(table, match) in self.entries:
            raise DeviceError("ALREADY_EXISTS")
        self._put(table, match, action, params, priority, rate)

    def modify(
        self,
        table: str,
        match: Mapping[str, object],
        action: str,
        params: Mapping[str, int],
        *,
        priority: int = 0,
        rate: int = 0,
    ) -> None:
        self._call(f"modify {table}")
        if self._key(table, match) not in self.entries:
            raise DeviceError("NOT_FOUND")
        self._put(table, match, action, params, priority, rate)

    def _put(
        self,
        table: str,
        match: Mapping[str, object],
        action: str,
        params: Mapping[str, int],
        priority: int,
        rate: int,
    ) -> None:
        assert (priority > 0) == (table == "ingress.admission"), "priorities are for ternary and optional keys"
        self.entries[self._key(table, match)] = action, dict(params)
        self.rates[self._key(table, match)] = rate

    def delete(self, table: str, match: Mapping[str, object], *, priority: int = 0) -> None:
        self._call(f"delete {table}")
        self.ports.append(match.get("standard_metadata.egress_port"))
        if self.entries.pop(self._key(table, match), None) is None:
            raise DeviceError("NOT_FOUND")

    def read_entry_counter(self, table: str, match: Mapping[str, object], *, priority: int = 0) -> Count:
        assert self._key(table, match) in self.entries
        return Count(*self.counts.get(self._key(table, match), (0, 0)))

    def read_counter(self, name: str) -> Counts:
        assert name == "ingress.steering.requests"
        return Counts(self.requests, self.requests * 100)

    def multicast(self, group: int, ports: Sequence[int]) -> None:
        self._call(f"group {group}")
        if ports:
            self.groups[group] = tuple(ports)
        else:
            del self.groups[group]

    def clone_session(self, number: int, ports: Sequence[int]) -> None:
        self._call(f"mirror {number}")
        self.mirrors[number] = tuple(ports)

    def state(self) -> tuple[dict[Entry, tuple[str, dict[str, int]]], dict[int, tuple[int, ...]]]:
        return dict(self.entries), dict(self.groups)


def address(number: int) -> IPv4Address | IPv6Address:
    """Return an IPv4 address, or an IPv6 address for numbers from 3 on."""
    return IPv4Address("10.0.0.0") + number if number < 3 else IPv6Address("2001:db8::") + number


def member(port: int) -> Member:
    return Member(port, 0x02_0000_000000 + port, address(port), 5000 + port)


def route(number: int, port: int) -> Route:
    return Route(address(number), port, 0x02_0000_000000 + port)


def test_an_instance_with_the_number_of_a_removed_one_is_counted_from_0() -> None:
    device = Device()
    offload = Offload(device)
    way = ("instance", 1), ("egress_port", 2), ("neighbour", 3)
    entry = steps.Entry(steps.INSTANCES, (("instance", 1),), "ingress.steering.to_attached", way)
    offload.steer([entry])
    device.requests[1] = 5
    assert offload.steered() == {1: Count(5, 500)}
    offload.steer([])
    assert offload.steered() == {}
    offload.steer([entry])
    device.requests[1] = 7
    assert offload.steered() == {1: Count(2, 200)}


def test_the_entries_of_an_admitted_application() -> None:
    device = Device()
    Offload(device).admit(7, [member(2), member(1)], group=3)
    assert device.groups == {3: (1, 2)}
    assert device.entries == {
        ("ingress.admission", (("hdr.midflight.application", 7),)): (
            "ingress.admit",
            {"group": 3, "epoch": 1, "token": 0, "bound": 0},
        ),
        ("egress.deliver", (("hdr.midflight.application", 7), ("standard_metadata.egress_port", 1))): (
            "egress.to_host",
            {"mac": 0x020000000001, "address": 0x0A000001, "udp_port": 5001},
        ),
        ("egress.deliver", (("hdr.midflight.application", 7), ("standard_metadata.egress_port", 2))): (
            "egress.to_host",
            {"mac": 0x020000000002, "address": 0x0A000002, "udp_port": 5002},
        ),
    }


def test_receivers_are_added_before_the_admission_and_removed_after_it() -> None:
    device = Device()
    offload = Offload(device)
    offload.admit(1, [member(1)])
    offload.withdraw(1)
    assert device.calls == [
        "insert egress.deliver", "group 1", "insert ingress.admission",
        "delete ingress.admission", "group 1", "delete egress.deliver",
    ]  # fmt: skip
    assert device.state() == ({}, {})


def test_a_failed_admission_is_rolled_back_in_reverse_order() -> None:
    device = Device()
    device.refuse_at = 2
    with pytest.raises(DeviceError, match="RESOURCE_EXHAUSTED"):
        Offload(device).admit(1, [member(2), member(1)])
    assert device.calls == ["insert egress.deliver"] * 2 + ["delete egress.deliver"] * 2
    assert device.ports == [2, 1, 1, 2]


def test_the_error_of_a_failing_device_is_raised() -> None:
    device = Device()
    offload = Offload(device)
    device.refuse_at, device.dead = 2, True
    with pytest.raises(DeviceError, match="RESOURCE_EXHAUSTED"):
        offload.admit(1, [member(1), member(2)])
    assert offload.admitted == {}
    device.dead = False
    offload.admit(1, [member(1), member(2)])
    other = Device()
    Offload(other).admit(1, [member(1), member(2)])
    assert device.state() == other.state()


def test_operations_are_idempotent() -> None:
    device = Device()
    offload = Offload(device)
    for _ in range(2):
        offload.install([route(1, 1), route(2, 2)])
        offload.admit(1, [member(1), member(2)])
        offload.redirect(route(1, 2))
    before, calls = device.state(), len(device.calls)
    offload.install([route(1, 1), route(2, 2)])
    offload.admit(1, [member(1), member(2)])
    offload.redirect(route(1, 2))
    assert (device.state(), len(device.calls)) == (before, calls)
    offload.withdraw(1)
    offload.withdraw(1)
    offload.restore(address(1))
    offload.restore(address(1))
    assert offload.routes == (route(1, 1), route(2, 2))
    assert not device.groups
    assert len(device.entries) == 2


def test_a_member_is_replaced_in_place() -> None:
    device = Device()
    offload = Offload(device)
    offload.admit(1, [member(1), member(2)])
    offload.admit(1, [member(2), member(3)])
    other = Device()
    Offload(other).admit(1, [member(2), member(3)])
    assert device.state() == other.state()
    assert "delete ingress.admission" not in device.calls


def test_a_redirection_survives_new_routes_and_can_be_removed() -> None:
    device = Device()
    offload = Offload(device)
    key = ("ingress.route", (("hdr.ipv4.destination", "10.0.0.1/32"),))
    offload.redirect(route(1, 9))
    offload.install([route(1, 1)])
    assert device.entries[key][1]["port"] == 9
    offload.install([route(1, 2)])
    offload.restore(address(1))
    assert device.entries[key] == ("ingress.to_port", {"port": 2, "mac": 0x020000000002})
    offload.redirect(route(1, 9))
    offload.install([])
    assert device.entries[key][1]["port"] == 9
    offload.close()
    assert device.state() == ({}, {})


def test_entries_of_an_earlier_controller_are_taken_over() -> None:
    device = Device()
    Offload(device).admit(1, [member(1)], group=4)
    offload = Offload(device)
    offload.admit(1, [member(1)], group=5)
    entry = device.entries["ingress.admission", (("hdr.midflight.application", 1),)]
    assert entry == ("ingress.admit", {"group": 5, "epoch": 1, "token": 0, "bound": 0})


def test_two_applications_have_separate_groups() -> None:
    device = Device()
    offload = Offload(device)
    offload.admit(1, [member(1)])
    alone = device.state()
    with pytest.raises(MidflightError, match="group 1 is used by application 1"):
        offload.admit(2, [member(1)], group=1)
    offload.admit(2, [member(1), member(2)])
    offload.withdraw(2)
    assert device.state() == alone


def test_two_members_on_one_port_are_rejected_without_effect() -> None:
    device = Device()
    with pytest.raises(MidflightError, match="share a port"):
        Offload(device).admit(1, [member(1), member(1)])
    assert not device.calls


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.integers(1, 3), st.sets(st.integers(1, 4), min_size=1)),
        st.tuples(st.just("withdraw"), st.integers(1, 3), st.just(set[int]())),
        st.tuples(st.just("redirect"), st.integers(1, 3), st.sets(st.integers(1, 4), min_size=1, max_size=1)),
        st.tuples(st.just("restore"), st.integers(1, 3), st.just(set[int]())),
        st.tuples(st.just("install"), st.integers(1, 3), st.sets(st.integers(1, 4))),
    ),
    max_size=12,
)


def act(offload: Offload, what: str, number: int, ports: set[int]) -> None:
    match what:
        case "admit":
            offload.admit(number, [member(port) for port in ports])
        case "withdraw":
            offload.withdraw(number)
        case "redirect":
            offload.redirect(route(number, min(ports)))
        case "restore":
            offload.restore(address(number))
        case _:
            offload.install([route(port, port) for port in ports])


@given(ACTS, st.integers(0, 40))
def test_a_rejected_operation_leaves_the_switch_unchanged(
    acts: list[tuple[str, int, set[int]]], refuse_at: int
) -> None:
    device = Device()
    device.refuse_at = refuse_at
    offload = Offload(device)
    for what, number, ports in acts:
        before = device.state()
        try:
            act(offload, what, number, ports)
        except DeviceError:
            assert device.state() == before
            act(offload, what, number, ports)
    untroubled = Device()
    clean = Offload(untroubled)
    for what, number, ports in acts:
        act(clean, what, number, ports)
    assert device.state() == untroubled.state()
    assert offload.routes == clean.routes
    device.refuse_at = None
    offload.close()
    offload.install([])
    assert device.state() == ({}, {})


def test_a_mirror_is_written_once_and_removed_at_the_end() -> None:
    device = Device()
    offload = Offload(device)
    offload.mirror(7, [5, 2])
    offload.mirror(7, [2, 5])
    assert device.calls == ["mirror 7"]
    assert device.mirrors == {7: (2, 5)}
    offload.close()
    assert device.mirrors == {7: ()}


def test_requests_are_admitted_by_port_up_to_their_rate() -> None:
    device = Device()
    offload = Offload(device)
    offload.admit(7, [member(1), member(2)], ports=[2, 1, 4], rate=500)

    def admitted() -> dict[object, int]:
        return {
            dict(match).get("standard_metadata.ingress_port"): device.rates[table, match]
            for table, match in device.entries
            if table == "ingress.admission"
        }

    assert admitted() == {1: 500, 2: 500, 4: 500}
    offload.admit(7, [member(1), member(3)], ports=[1, 3], rate=100)
    assert admitted() == {1: 100, 3: 100}
    offload.admit(7, [member(1), member(3)])
    assert admitted() == {None: 0}
    with pytest.raises(MidflightError, match="requests a second, not -1"):
        offload.admit(7, [member(1)], rate=-1)
    offload.withdraw(7)
    assert device.entries == {}


def test_a_held_switch_only_forwards_and_its_state_can_be_restored_elsewhere() -> None:
    device, other = Device(), Device()
    offload = Offload(device)
    offload.install([route(1, 1), route(2, 2)])
    offload.admit(7, [member(1)], ports=[3, 4], rate=50)
    offload.redirect(route(1, 2))
    whole, rates = device.state(), dict(device.rates)
    device.calls.clear()
    standing = offload.standing()
    offload.hold()
    assert device.state() == ({}, {})
    tables = [each.removeprefix("delete ") for each in device.calls]
    assert tables == [*["ingress.route"] * 2, *["ingress.admission"] * 2, "egress.deliver", "group 7"]
    offload.resume(other, standing)
    assert (other.state(), other.rates) == (whole, rates)
    offload.restore(address(1))
    assert len(other.entries) == len(device.entries) + len(whole[0])


def test_counters_continue_with_their_entries() -> None:
    device, other = Device(), Device()
    offload = Offload(device)
    offload.admit(7, [], ports=[3, 4])
    (three, four) = sorted(device.entries)
    device.counts = {three: (2, 200), four: (1, 100)}
    assert offload.counters(7) == {3: Count(2, 200), 4: Count(1, 100)}
    standing = offload.standing()
    offload.hold()
    offload.resume(other, standing)
    other.counts = {three: (5, 500)}
    assert offload.counters(7) == {3: Count(7, 700), 4: Count(1, 100)}
    offload.admit(7, [], ports=[3])
    offload.admit(7, [], ports=[3, 4])
    assert offload.counters(7)[4] == Count(0, 0)
    offload.withdraw(7)
    with pytest.raises(MidflightError, match="not admitted"):
        offload.counters(7)
