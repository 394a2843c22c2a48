"""Reading back a device's state: entities, differences from the desired state, and which entities are ours."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from ipaddress import IPv4Address

import pytest
from finsy.proto import p4r

from midflight.primitives import Aggregate, Cache, Program, Threshold
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices import HostDevice, open_device
from midflight.runtime.devices.base import Device, PipelineConfig
from midflight.runtime.p4runtime.client.entities import difference
from midflight.runtime.p4runtime.client.journal import entity_key
from midflight.runtime.p4runtime.client.link import RequestError
from midflight.runtime.p4runtime.client.maps import Maps
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.p4runtime.status import Code
from midflight.runtime.steering import Member, Offload, Route
from tests.bmv2 import BMV2

PROGRAM = Program(
    Aggregate("sums", workers=2, lanes=4, slots=4),
    Cache("store", keys=[1, 2], lanes=2),
    Threshold("hot", above=9, clear=5),
)
KINDS = ["host", pytest.param("bmv2", marks=BMV2)]


class Notes:
    """A journal in memory."""

    def __init__(self) -> None:
        self.keys: dict[str, None] = {}

    def note(self, keys: Sequence[str]) -> Collection[str]:
        fresh = [each for each in keys if each not in self.keys]
        self.keys |= dict.fromkeys(keys)
        return fresh

    def kept(self) -> Collection[str]:
        return self.keys

    def drop(self, keys: Collection[str] | None = None) -> None:
        self.keys = {each: None for each in self.keys if keys is not None and each not in keys}


@pytest.fixture(scope="module", params=KINDS)
def running(request: pytest.FixtureRequest) -> Iterator[tuple[Device, PipelineConfig]]:
    with open_device(request.param) as device:
        yield device, device.compile(CheckedProgram(PROGRAM.p4()))


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def session(running: tuple[Device, PipelineConfig], notes: Notes) -> Iterator[Session]:
    device, pipeline = running
    with Session(device.address, device.device_id, journal=notes) as opened:
        opened.load(pipeline.p4info, pipeline.config)
        yield opened


def place(session: Session, epoch: int = 1, rate: int = 0) -> None:
    """Write maps, routes, an admission with its group, and a mirror."""
    hosts = [(IPv4Address(f"10.0.0.{port}"), port, 0x02_00_00_00_00_00 + port) for port in (1, 2)]
    Maps(session, PROGRAM).install()
    offload = Offload(session)
    offload.install([Route(*each) for each in hosts])
    members = [Member(port, mac, address, 49153) for address, port, mac in hosts]
    offload.admit(1, members, epoch=epoch, ports=[1, 2], rate=rate)
    offload.mirror(1, [2])
    session.subscribe(session.p4info.digests[0].preamble.name)


def planned(session: Session, epoch: int = 1, rate: int = 0) -> list[p4r.Entity]:
    with session.planning() as wanted:
        place(session, epoch, rate)
    session.subscriptions.clear()  # so that the session subscribes
    return wanted


def test_written_entities_are_read_back(session: Session, notes: Notes) -> None:
    wanted = planned(session)
    assert session.holding() == {}
    place(session)
    assert not difference(wanted, session.holding(), notes.keys)
    assert {*notes.keys} == {entity_key(each) for each in wanted} == {*session.holding()}


def test_only_the_difference_is_written(session: Session, notes: Notes) -> None:
    place(session)
    session.delete("ingress.route", {"hdr.ipv4.destination": "10.0.0.2/32"})
    session.multicast(1, [1])
    session.insert("ingress.route", {"hdr.ipv4.destination": "10.9.0.0/16"}, "ingress.to_port", {"port": 2, "mac": 2})
    found = difference(planned(session, rate=500), session.holding(), notes.keys)
    assert str(found) == "1 missing, 3 changed, 1 stale"  # a route; the group and two rates; another route
    session.amend(found)
    assert not difference(planned(session, rate=500), session.holding(), notes.keys)
    assert [port for port, _ in sorted(session.read_multicast()[1])] == [1, 2]


def test_entities_of_others_remain(notes: Notes, running: tuple[Device, PipelineConfig]) -> None:
    device, pipeline = running
    with Session(device.address, device.device_id, journal=notes) as session:
        session.load(pipeline.p4info, pipeline.config)
        place(session)
    with device.session() as other:
        foreign = {"hdr.ipv4.destination": "192.168.0.0/16"}
        other.insert("ingress.route", foreign, "ingress.to_port", {"port": 1, "mac": 1})
    with Session(device.address, device.device_id, journal=notes) as session:
        found = difference(planned(session), session.holding(), notes.keys)
        assert not found
        assert str(found) == "1 of others"
        session.amend(found)
        assert len(session.read_table("ingress.route")) == 3


def test_rejected_writes_are_not_recorded(session: Session, notes: Notes) -> None:
    before = dict(notes.keys)
    with pytest.raises(RequestError):
        session.delete("ingress.route", {"hdr.ipv4.destination": "10.0.0.7/32"})
    with session.batch():
        session.insert("ingress.route", {"hdr.ipv4.destination": "10.0.0.7/32"}, "ingress.unreachable", {})
    assert len(notes.keys) == len(before) + 1

    def change_and_remove() -> None:
        with session.batch():
            session.modify("ingress.route", {"hdr.ipv4.destination": "10.0.0.8/32"}, "ingress.unreachable", {})
            session.delete("ingress.route", {"hdr.ipv4.destination": "10.0.0.7/32"})

    with pytest.raises(RequestError) as caught:
        change_and_remove()
    assert [*caught.value.refused] == [0]
    assert notes.keys == before


def test_a_new_pipeline_clears_the_journal(
    session: Session, notes: Notes, running: tuple[Device, PipelineConfig]
) -> None:
    place(session)
    session.load(running[1].p4info, running[1].config)
    assert notes.keys == {}
    assert len(difference(planned(session), session.holding(), notes.keys).missing) == len(planned(session))


def test_a_controller_that_is_outbid_cannot_write() -> None:
    with HostDevice(PROGRAM.p4()) as device, device.session(election_id=1) as old:
        old.insert("ingress.route", {"hdr.ipv4.destination": "10.0.0.1/32"}, "ingress.unreachable", {})
        with device.session(election_id=3) as new:
            assert new.is_primary
            with pytest.raises(RequestError) as caught:
                old.delete("ingress.route", {"hdr.ipv4.destination": "10.0.0.1/32"})
            assert caught.value.code == Code.PERMISSION_DENIED
            assert not old.is_primary
            assert (old.has_rival, old.highest) == (True, 3)
            old.bid(5)
            assert old.is_primary
            assert not new.is_primary


def test_requests_are_observed() -> None:
    seen: list[tuple[str, bool]] = []
    with (
        HostDevice(PROGRAM.p4()) as device,
        Session(device.address, observer=lambda rpc, took, good: seen.append((rpc, good and took > 0))) as session,
    ):
        session.multicast(1, [1])
        with pytest.raises(RequestError):
            session.multicast(0, [1])
    assert [each for each in seen if each[0] == "Write"] == [("Write", True), ("Write", False)]
