"""Hostile and faulty streams: one controller does not affect others, and lost messages are counted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from finsy.proto import p4r, p4r_grpc, stratum
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.wrappers_pb2 import BoolValue

from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from midflight.runtime.devices import HostDevice
from midflight.runtime.engine import Digest, Packets
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.p4runtime.schema import Schema
from midflight.runtime.p4runtime.server.arbitration import ROLE_CONFIG, ROLE_NAME, ROLES, Arbitration
from midflight.runtime.p4runtime.server.digests import LONGEST, UNACKNOWLEDGED, DigestBook
from midflight.runtime.p4runtime.status import Refusal
from tests.p4runtime.support import EVERYTHING, Controller, code_of, other

TRAVELLER = """
#include <core.p4>
#include <v1model.p4>
@controller_header("packet_in") header in_t { bit<16> port; bit<8> reason; }
header h_t { bit<64> a; bit<64> b; }
struct headers { in_t pin; h_t h; }
struct metadata {}
parser parse(packet_in p, out headers hdr, inout metadata m, inout standard_metadata_t s) {
    state start { transition select(s.packet_length) { 0 .. 15: accept; default: more; } }
    state more { p.extract(hdr.h); transition accept; }
}
control verify_sums(inout headers hdr, inout metadata m) { apply {} }
control ingress(inout headers hdr, inout metadata m, inout standard_metadata_t s) {
    apply {
        s.egress_spec = 510;
        if (hdr.h.isValid()) { hdr.pin.setValid(); hdr.pin.port = 7; }
    }
}
control egress(inout headers hdr, inout metadata m, inout standard_metadata_t s) { apply {} }
control compute(inout headers hdr, inout metadata m) { apply {} }
control deparse(packet_out p, in headers hdr) { apply { p.emit(hdr.pin); p.emit(hdr.h); } }
V1Switch(parse(), verify_sums(), ingress(), egress(), compute(), deparse()) main;
"""


def arrive(device: HostDevice, *packets: bytes) -> None:
    device.process(Packets.from_list([(1, packet) for packet in packets]))


def limits(value: bytes | None = None, **parts: Any) -> AnyMessage:
    config = AnyMessage()
    config.Pack(stratum.P4RoleConfig(**parts))
    if value is not None:
        config.value = value
    return config


def another_type() -> AnyMessage:
    config = AnyMessage()
    config.Pack(BoolValue(value=True))
    return config


UNDECODABLE = {
    "cut short": limits(b"\x08"),
    "a wire type that there is not": limits(b"\x0f\x01"),
    "a length beyond the end": limits(b"\x0a\xff\xff\xff\x0f"),
    "a group that does not end": limits(b"\x0b"),
    "an end without a group": limits(b"\x0c"),
    "a varint without an end": limits(b"\x08" + b"\xff" * 20),
    "field number 0": limits(b"\x00\x00"),
    "nested groups": limits(b"\x0b" * 1000),
    "random": limits(bytes(range(1, 200, 7))),
    "large": limits(b"\x10\x01" * ROLE_CONFIG),
    "another type": another_type(),
    "no type": AnyMessage(value=b"\x08\x01"),
    "no type at all": AnyMessage(type_url="type.googleapis.com/", value=b"\x08\x01"),
}


@pytest.mark.parametrize("config", UNDECODABLE.values(), ids=UNDECODABLE)
def test_an_invalid_role_config_is_rejected_without_effect_on_others(
    device: HostDevice, session: Session, config: AnyMessage
) -> None:
    faults = dict(device.switch.faults.counts)
    with Controller(device.address) as evil:
        update = p4r.MasterArbitrationUpdate(device_id=1, election_id=p4r.Uint128(low=1))
        update.role.name = "evil"
        update.role.config.CopyFrom(config)
        evil.send(arbitration=update)
        with pytest.raises(grpc.RpcError) as refused:
            evil.receive()
        assert code_of(refused.value) == "INVALID_ARGUMENT"
        arrive(device, other())
        assert len(session.packets_in()) == 1
    assert device.switch.faults.counts == faults


def test_a_long_role_name_is_rejected(device: HostDevice) -> None:
    with Controller(device.address) as evil:
        evil.bid(1, "x" * (ROLE_NAME + 1))
        with pytest.raises(grpc.RpcError) as refused:
            evil.receive()
        assert code_of(refused.value) == "INVALID_ARGUMENT"


class Nobody:
    peer = ""

    def send(self, response: p4r.StreamMessageResponse) -> bool:
        return bool(response)


def test_the_number_of_unused_roles_is_bounded() -> None:
    arbitration = Arbitration(1)
    holder = Nobody()
    update = p4r.MasterArbitrationUpdate(device_id=1, election_id=p4r.Uint128(low=1))
    update.role.name = "held"
    arbitration.update(holder, update)
    for number in range(2 * ROLES):
        client = Nobody()
        update.role.name = f"role {number}"
        arbitration.update(client, update)
        arbitration.leave(client)
    assert len(arbitration.roles) == ROLES
    assert arbitration.role_of(holder) is arbitration.roles["held"]


def test_an_invalid_request_for_traces_is_reported_and_the_stream_continues(device: HostDevice) -> None:
    with Controller(device.address) as evil:
        evil.become_primary()
        wish = AnyMessage()
        wish.Pack(BoolValue(value=True))
        wish.value = b"\x08"
        evil.send(other=wish)
        assert evil.receive().error.canonical_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert evil.arbitrate(evil.election).status.code == 0


class Broken:
    """An observer of traces that always raises."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, trace: object) -> None:
        self.calls += 1
        raise RuntimeError("SECRET in an exception")


def test_an_exception_for_one_observer_is_logged_and_counted_without_effect_on_others(
    device: HostDevice, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken()
    device.switch.trace(broken, broken)
    try:
        with caplog.at_level(logging.ERROR, "midflight.p4runtime"):
            arrive(device, other(), other())
    finally:
        device.switch.trace(broken, None)
    assert broken.calls == 2
    assert len(session.packets_in()) == 2
    assert device.switch.faults.counts["sending a trace"] >= 2
    assert "SECRET" in caplog.text
    assert "fault-" in caplog.text


def test_an_internal_error_is_reported_by_an_id_and_the_stream_continues(
    device: HostDevice, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("SECRET in an exception")

    with Controller(device.address) as raw:
        raw.become_primary()
        with monkeypatch.context() as patch:
            patch.setattr(device.switch, "packet_out", fail)
            raw.send(packet=p4r.PacketOut(payload=b"x"))
            error = raw.receive().error
        assert error.canonical_code == grpc.StatusCode.INTERNAL.value[0]
        assert "SECRET" not in error.message
        assert any(f"{word.strip(',')}:" in caplog.text for word in error.message.split() if word.startswith("fault-"))
        assert raw.arbitrate(raw.election).status.code == 0


def test_an_unexpected_exception_of_an_rpc_is_counted_and_its_text_stays_here(
    device: HostDevice, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = device.switch.faults.counts.get("Capabilities", 0)
    with grpc.insecure_channel(device.address) as channel:
        stub: Any = p4r_grpc.P4RuntimeStub(channel)
        with monkeypatch.context() as patch:
            patch.setattr("midflight.runtime.p4runtime.server.service.API_VERSION", {"SECRET": 1})
            with pytest.raises(grpc.RpcError) as failed:
                stub.Capabilities(p4r.CapabilitiesRequest())
        assert code_of(failed.value) == "INTERNAL"
        assert "fault-" in failed.value.details()
        assert "SECRET" not in failed.value.details()
        assert stub.Capabilities(p4r.CapabilitiesRequest()).p4runtime_api_version
    assert device.switch.faults.counts["Capabilities"] == before + 1


# Packet-ins


@pytest.fixture(scope="module")
def traveller() -> Iterator[HostDevice]:
    with HostDevice(TRAVELLER) as device:
        yield device


@pytest.mark.parametrize("where", range(11))
def test_packets_shorter_than_their_header_are_counted_and_others_delivered(traveller: HostDevice, where: int) -> None:
    """A packet that is too short, with several lengths, at each position of a batch."""
    with traveller.session() as session:
        before = traveller.switch.lost.get("packet-in too short", 0)
        batch = [bytes([0xAA, number]) + bytes(58) for number in range(10)]
        batch.insert(where, bytes(where % 3))
        arrive(traveller, *batch)
        found = session.packets_in()
        assert [each.payload[1] for each in found] == list(range(10))
        assert traveller.switch.lost["packet-in too short"] == before + 1


def test_messages_that_a_controller_does_not_read_are_counted(
    traveller: HostDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("midflight.runtime.p4runtime.server.stream.BACKLOG", 0)
    with traveller.session() as session:
        before = traveller.switch.lost.get("packet-in backlog", 0)
        arrive(traveller, bytes(60), bytes(60))
        assert traveller.switch.lost["packet-in backlog"] == before + 2
        monkeypatch.undo()
        arrive(traveller, bytes(60))
        assert len(session.packets_in()) == 1


# Digests


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Schema(p4info(check(EVERYTHING)))


def book_of(schema: Schema, **config: int) -> tuple[DigestBook, int]:
    book, number = DigestBook(schema), next(iter(schema.digests)).preamble.id
    book.insert(number, p4r.DigestEntry.Config(**config))
    return book, number


def seen(*sources: int) -> list[Digest]:
    return [Digest("seen_t", (source, 64)) for source in sources]


def test_unacknowledged_digests_are_bounded_and_counted(schema: Schema) -> None:
    book, number = book_of(schema, max_list_size=100, max_timeout_ns=1, ack_timeout_ns=10**12)
    lists = []
    for start in range(0, 60_000, 1000):
        lists += book.lists(seen(*range(start, start + 1000)), now=start)
    assert sum(len(each.data) for each in lists) == UNACKNOWLEDGED
    assert book.dropped == 60_000 - UNACKNOWLEDGED
    book.acknowledge(number, lists[0].list_id)
    assert sum(len(each.data) for each in book.lists(seen(*range(200)), now=60_000)) == 100
    book.acknowledge(number, 10**6)  # an unknown list


def test_timed_out_messages_free_their_place(schema: Schema) -> None:
    book, _ = book_of(schema, max_list_size=1, ack_timeout_ns=1_000_000)
    book.lists(seen(*range(UNACKNOWLEDGED + 1)), now=0)
    assert book.dropped == 1
    assert len(book.lists(seen(*range(UNACKNOWLEDGED)), now=1000)) == UNACKNOWLEDGED
    assert book.dropped == 1


def test_without_acknowledgements_nothing_is_stored(schema: Schema) -> None:
    book, _ = book_of(schema, max_list_size=1)
    for now in range(3):
        assert len(book.lists(seen(*range(UNACKNOWLEDGED)), now=now)) == UNACKNOWLEDGED
    assert book.dropped == 0


def test_the_cost_of_a_message_is_independent_of_waiting_ones(schema: Schema) -> None:
    """The number of comparisons between messages remains small with many waiting messages."""
    compared = 0

    class Counted(tuple[int, ...]):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return tuple.__eq__(self, other)

        __hash__ = tuple.__hash__

    book, _ = book_of(schema, max_list_size=10, max_timeout_ns=1, ack_timeout_ns=10**12)
    for start in range(0, 10_000, 100):
        book.lists([Digest("seen_t", Counted((start + each, 64))) for each in range(100)], now=start)
    assert compared < 50_000


@pytest.mark.parametrize("size", [0, 1, 7, LONGEST, LONGEST + 1, 1 << 30])
def test_the_length_of_lists_is_limited(schema: Schema, size: int) -> None:
    book, _ = book_of(schema, max_list_size=size, max_timeout_ns=1)
    lists = [*book.lists(seen(*range(2 * LONGEST)), now=0), *book.rest(now=0)]
    assert sum(len(each.data) for each in lists) == 2 * LONGEST
    assert max(len(each.data) for each in lists) == min(size or LONGEST, LONGEST)


def test_re_enabling_a_digest_clears_its_messages(schema: Schema) -> None:
    book, number = book_of(schema, max_list_size=1, ack_timeout_ns=10**12)
    assert len(book.lists(seen(1), now=0)) == 1
    book.delete(number)
    assert book.lists(seen(2), now=1) == []
    with pytest.raises(Refusal):
        book.delete(number)
    book.insert(number, p4r.DigestEntry.Config(max_list_size=1, ack_timeout_ns=10**12))
    assert len(book.lists(seen(1), now=2)) == 1


@pytest.mark.parametrize("list_id", [-(2**63), -1, 0, 2, 10**6, 2**63 - 1])
def test_acknowledgements_of_other_lists_free_nothing(schema: Schema, list_id: int) -> None:
    book, number = book_of(schema, max_list_size=1, ack_timeout_ns=10**12)
    (sent,) = book.lists(seen(1), now=0)
    assert list_id != sent.list_id
    for _ in range(1000):
        book.acknowledge(number, list_id)
    assert book.lists(seen(1), now=1) == []
    book.acknowledge(number, sent.list_id)
    book.acknowledge(number, sent.list_id)  # again
    assert len(book.lists(seen(1), now=2)) == 1


@pytest.mark.parametrize("number", [0, 1, 2**32 - 1])
def test_acknowledgements_of_unknown_digests_are_refused(schema: Schema, number: int) -> None:
    book, known = book_of(schema, max_list_size=1, ack_timeout_ns=10**12)
    assert number != known
    with pytest.raises(Refusal):
        book.acknowledge(number, 1)
    assert len(book.lists(seen(1), now=0)) == 1


@pytest.mark.parametrize("timeout", [0, 1, 10**18, 2**63 - 1])
def test_equal_messages_in_a_flood_take_one_place(schema: Schema, timeout: int) -> None:
    book, _ = book_of(schema, max_list_size=100, max_timeout_ns=10**9, ack_timeout_ns=timeout)
    for _ in range(60):
        assert book.lists(seen(*[7] * 1000), now=0) == []
    assert book.dropped == 0
    (rest,) = book.rest(now=0)
    assert len(rest.data) == 1
