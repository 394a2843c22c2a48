"""The same requests to the embedded switch and to BMv2, with the same results."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from finsy.proto import p4r
from google.protobuf import text_format

from midflight.errors import DeviceError
from midflight.p4.p4info import to_text
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices import Bmv2Device, HostDevice
from midflight.runtime.devices.toolchain import compile_p4
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import Count, DigestMessage, RequestError, Session, TableEntry
from tests.bmv2 import BMV2
from tests.p4runtime.support import EVERYTHING, Controller, details_of, ipv4, names, other, updates

# BMv2 may answer before its threads have processed a packet.
PATIENCE = 10.0


@pytest.fixture(scope="module", params=["host", pytest.param("bmv2", marks=BMV2)])
def device(request: pytest.FixtureRequest) -> Iterator[HostDevice | Bmv2Device]:
    with HostDevice() if request.param == "host" else Bmv2Device() as running:
        pipeline = running.compile(CheckedProgram(EVERYTHING))
        # Once for all tests, which undo their changes.
        with running.session() as loader:
            loader.load(pipeline.p4info, pipeline.config, cookie=7)
        yield running


@pytest.fixture
def session(device: HostDevice | Bmv2Device) -> Iterator[Session]:
    with device.session() as opened:
        yield opened
        for table in ("route", "acl"):
            for entry in opened.read_table(table):
                opened.delete(table, entry.match, priority=entry.priority)
        opened.reset_default("route")


ROUTE = {"hdr.ipv4.destination": "10.0.0.0/8"}


def test_entries(session: Session) -> None:
    session.insert("route", ROUTE, "to_port", {"port": 300, "mac": "02:00:00:00:00:03"}, metadata=b"mine")
    with session.batch():
        session.insert("route", {"hdr.ipv4.destination": "10.1.2.3"}, "to_controller")
        session.insert("route", {"hdr.ipv4.destination": "0.0.0.0/0"}, "to_group", {"group": 9})
    match = {"hdr.ipv4.source": ("10.0.0.0", "255.0.255.0"), "length": (10, 700), "standard_metadata.ingress_port": 3}
    session.insert("acl", match, "classify", {"class": 0}, priority=7)
    routes = {tuple(entry.match.items()): entry for entry in session.read_table("route")}
    assert routes == {
        tuple(entry.match.items()): entry
        for entry in (
            TableEntry(
                "ingress.route",
                {"hdr.ipv4.destination": (0x0A000000, 8)},
                "ingress.to_port",
                {"port": 300, "mac": 0x020000000003},
                metadata=b"mine",
            ),
            TableEntry("ingress.route", {"hdr.ipv4.destination": (0x0A010203, 32)}, "ingress.to_controller", {}),
            TableEntry("ingress.route", {}, "ingress.to_group", {"group": 9}),
        )
    }
    (rule,) = session.read_table("acl")
    assert (rule.match["hdr.ipv4.source"], rule.match["length"]) == ((0x0A000000, 0xFF00FF00), (10, 700))
    session.modify("acl", match, "drop", priority=7)
    session.delete("route", ROUTE)
    assert [entry.action for entry in session.read_table("acl")] == ["ingress.drop"]
    assert len(session.read_table("route")) == 2
    assert [entry.match for entry in session.read_table("fixed")] == [{"hdr.ipv4.ttl": 0}, {"hdr.ipv4.ttl": 1}]
    assert session.cookie == 7


def test_refusals(session: Session) -> None:
    session.insert("route", ROUTE, "to_controller")

    def code(entry: p4r.TableEntry, kind: str) -> str:
        with Controller(session.address) as raw, pytest.raises(grpc.RpcError) as refused:
            raw.write(*updates(kind, p4r.Entity(table_entry=entry)), election=session.election_id)
        (name,) = names(details_of(refused.value))
        return name

    ids = {each.preamble.name: each.preamble.id for each in (*session.p4info.tables, *session.p4info.actions)}

    def entry(text: str) -> p4r.TableEntry:
        for name, number in sorted(ids.items(), key=lambda each: -len(each[0])):
            text = text.replace(f"${name}", str(number))
        parsed: p4r.TableEntry = text_format.Parse(text, p4r.TableEntry())
        return parsed

    there = r'table_id: $ingress.route match { field_id: 1 lpm { value: "\n\000\000\000" prefix_len: 8 } }'
    action = " action { action { action_id: $ingress.to_controller } }"
    assert code(entry(there + action), "INSERT") == "ALREADY_EXISTS"
    assert code(entry(there.replace("8 }", "16 }") + action), "MODIFY") == "NOT_FOUND"
    assert code(entry(there.replace("8 }", "16 }")), "DELETE") == "NOT_FOUND"
    assert code(entry(there.replace("8 }", "40 }") + action), "INSERT") == "INVALID_ARGUMENT"
    assert code(entry(there + action.replace("to_controller", "classify")), "INSERT") == "INVALID_ARGUMENT"


def test_default_actions_multicast_and_clones(session: Session) -> None:
    session.set_default("route", "to_port", {"port": 5, "mac": 1})
    assert session.read_default("route").params == {"port": 5, "mac": 1}
    session.reset_default("route")
    assert session.read_default("route").action == "ingress.drop"
    session.multicast(4, [1, (2, 7)])
    session.multicast(5, [3])
    session.multicast(4, [6])
    assert session.read_multicast() == {4: [(6, 0)], 5: [(3, 0)]}
    session.multicast(4, [])
    session.multicast(5, [])
    assert session.read_multicast() == {}
    session.clone_session(3, [1, 2])
    session.clone_session(3, [])


def test_packets_counters_and_digests(device: HostDevice | Bmv2Device, session: Session) -> None:
    session.insert("route", ROUTE, "to_port", {"port": 3, "mac": 1})
    session.subscribe("seen_t")
    batch = [
        (1, ipv4("10.0.0.1", "10.0.0.9")),
        (2, ipv4("10.0.0.1", "10.0.0.8", ttl=5)),
        (1, ipv4("11.0.0.1", "10.0.0.7")),
    ]
    assert [port for port, _ in device.process(Packets.from_list(batch))] == [3, 3]
    seen: list[DigestMessage] = []
    while len(seen) < 3:
        found = session.digests(PATIENCE)
        assert found
        seen += found
    assert sorted((each.name, each.values["source"] & 0xFF, each.values["ttl"]) for each in seen) == [
        ("seen_t", 7, 64), ("seen_t", 8, 5), ("seen_t", 9, 64),
    ]  # fmt: skip
    assert session.read_counter("arrivals", 1) == Count(2, 2 * len(batch[0][1]))
    assert list(session.read_counter("arrivals").packets) == [0, 2, 1, 0, 0, 0, 0, 0]
    assert session.read_entry_counter("route", ROUTE).packets == 2
    session.write_counter("arrivals", 1, packets=10, bytes=20)
    assert session.read_counter("arrivals", 1) == Count(10, 20)
    session.unsubscribe("seen_t")


def test_packet_out_and_packet_in(device: HostDevice | Bmv2Device, session: Session) -> None:
    device.process(Packets.from_list([(6, other())]))
    (arrived,) = session.packets_in(PATIENCE)
    assert (arrived.payload, arrived.metadata) == (other(), {"ingress_port": 6})
    session.packet_out(other(), egress_port=9)
    # A later packet-in shows that the packet-out before it has been processed.
    session.packet_out(other(), egress_port=510)
    assert len(session.packets_in(PATIENCE)) == 1
    assert list(device.transmitted()) == [(9, other())]


def test_registers_are_read_or_reported_as_unsupported(device: HostDevice | Bmv2Device, session: Session) -> None:
    if device.capabilities.registers_over_p4runtime:
        session.write_register("totals", 4, 2)
        assert session.read_register("totals", 2) == 4
        return
    with pytest.raises(RequestError) as refused:
        session.read_register("totals")
    assert refused.value.code.name == "UNIMPLEMENTED"


def test_errors_before_sending_are_the_same_for_both(session: Session) -> None:
    with pytest.raises(DeviceError, match=r"(?s)no action 'to_prt'.*ingress\.to_port"):
        session.insert("route", ROUTE, "to_prt")
    with pytest.raises(DeviceError, match="does not fit bit<9>"):
        session.insert("route", ROUTE, "to_port", {"port": 512, "mac": 0})


@pytest.mark.bmv2
@BMV2[1]
def test_p4cs_p4info_works_with_the_embedded_switch() -> None:
    """p4c's P4Info equals ours, including ids, and either may be pushed."""
    theirs = compile_p4(EVERYTHING).p4info
    with HostDevice() as host, host.session() as opened:
        assert sorted(to_text(theirs).splitlines()) == sorted(
            to_text(host.compile(CheckedProgram(EVERYTHING)).p4info).splitlines()
        )
        opened.load(theirs, EVERYTHING)
        opened.insert("route", ROUTE, "to_port", {"port": 3, "mac": 1})
        assert [port for port, _ in host.process(Packets.from_list([(1, ipv4("10.0.0.1"))]))] == [3]
