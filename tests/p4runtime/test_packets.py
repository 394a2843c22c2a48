"""Packet-out, packet-in and digests (specification sections 6.4.6, 9.7 and 16)."""

from __future__ import annotations

import time

import grpc
import pytest
from finsy.proto import p4r

from midflight.errors import DeviceError
from midflight.runtime.devices import HostDevice
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import DigestMessage, RequestError, Session
from tests.p4runtime.support import Controller, details_of, ipv4, names, other, updates

INVALID_ARGUMENT, PERMISSION_DENIED, UNIMPLEMENTED = 3, 7, 12


def arrive(device: HostDevice, *packets: bytes, port: int = 1, now: int = 0) -> list[tuple[int, bytes]]:
    return list(device.process(Packets.from_list([(port, packet) for packet in packets]), now))


def test_packets_go_to_the_controller_or_to_ports(device: HostDevice, session: Session) -> None:
    session.insert("route", {"hdr.ipv4.destination": "10.0.0.0/8"}, "to_port", {"port": 4, "mac": 1})
    batch = [
        (1, other(b"one")),
        (2, ipv4("10.0.0.1", load=b"first")),
        (300, other(b"two")),
        (4, ipv4("10.0.0.2", load=b"second")),
    ]
    output = device.process(Packets.from_list(batch))
    assert [port for port, _ in output] == [4, 4]
    assert list(output.sources) == [1, 3]
    assert [packet[42:] for _, packet in output] == [b"first", b"second"]
    assert [(each.payload, each.metadata) for each in session.packets_in()] == [
        (other(b"one"), {"ingress_port": 1}),
        (other(b"two"), {"ingress_port": 300}),
    ]


def test_packet_outs_leave_in_order(device: HostDevice, session: Session) -> None:
    for number in range(20):
        session.packet_out(other(bytes([number])), egress_port=number)
    assert list(device.transmitted()) == [(number, other(bytes([number]))) for number in range(20)]


def test_a_returned_packet_out_has_arrived_when_the_call_returns(device: HostDevice, session: Session) -> None:
    session.packet_out(other(), egress_port=510)
    (back,) = session.packets_in()
    assert back.payload[-len(other()) + 2 :] == other()[2:]


def test_a_session_names_the_fields_of_the_header(session: Session) -> None:
    with pytest.raises(DeviceError, match="has the fields egress_port, not port"):
        session.packet_out(b"x", port=1)
    with pytest.raises(DeviceError, match=r"egress_port: 65536 does not fit bit<16>"):
        session.packet_out(b"x", egress_port=65536)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ([], "egress_port is missing"),
        ([(1, b"\1"), (7, b"\1")], "id 7"),
        ([(1, b"\1"), (1, b"\1")], "twice"),
        ([(1, b"\1\0\0")], "bit<16>"),
        ([(1, b"")], "empty"),
    ],
)
def test_invalid_metadata_is_reported_and_the_stream_continues(
    device: HostDevice, metadata: list[tuple[int, bytes]], said: str
) -> None:
    with Controller(device.address) as raw:
        raw.become_primary()
        packet = p4r.PacketOut(payload=b"mine")
        for number, value in metadata:
            packet.metadata.add(metadata_id=number, value=value)
        raw.send(packet=packet)
        error = raw.receive().error
        assert error.canonical_code == INVALID_ARGUMENT
        assert said in error.message
        assert error.packet_out.packet_out == packet
        raw.send(packet=p4r.PacketOut(payload=other(), metadata=[{"metadata_id": 1, "value": b"\5"}]))  # type: ignore[list-item]
        raw.bid(raw.election)
        assert raw.receive().HasField("arbitration")
        assert list(device.transmitted()) == [(5, other())]


def test_only_the_primary_sends_and_receives_packets(device: HostDevice, session: Session) -> None:
    with device.session(election_id=0) as backup:
        assert not backup.is_primary
        with pytest.raises(RequestError, match="only a role's primary") as refused:
            backup.packet_out(other(), egress_port=1)
        assert refused.value.code.name == "PERMISSION_DENIED"
        arrive(device, other())
        assert len(session.packets_in()) == 1
        assert backup.packets_in() == []


def test_a_stream_message_of_an_unknown_kind_is_reported(device: HostDevice) -> None:
    with Controller(device.address) as raw:
        message = p4r.StreamMessageRequest()
        message.other.Pack(p4r.Uint128(low=1))
        raw.send(other=message.other)
        error = raw.receive().error
        assert (error.canonical_code, error.other.other) == (UNIMPLEMENTED, message.other)


def test_packets_too_short_for_the_program_are_harmless(device: HostDevice, session: Session) -> None:
    arrive(device, b"", b"\0", other()[:13])
    arrive(device, ipv4("10.0.0.1")[:20])
    session.packet_out(b"", egress_port=3)
    assert session.read_counter("arrivals").packets.sum() >= 4


# Digests


def seen(source: int, ttl: int) -> DigestMessage:
    return DigestMessage("seen_t", {"source": source, "ttl": ttl})


def test_all_digests_arrive_after_subscribing(device: HostDevice, session: Session) -> None:
    arrive(device, ipv4("10.0.0.1", "10.0.0.7"))
    session.subscribe("seen_t")
    assert session.digests() == []
    arrive(device, ipv4("10.0.0.1", "10.0.0.7"), ipv4("10.0.0.1", "10.0.0.8", ttl=3), ipv4("10.0.0.1", "10.0.0.7"))
    assert session.digests() == [seen(0x0A000007, 64), seen(0x0A000008, 3), seen(0x0A000007, 64)]
    assert session.digests() == []
    session.unsubscribe("seen_t")
    arrive(device, ipv4("10.0.0.1", "10.0.0.7"))
    assert session.digests() == []
    with pytest.raises(RequestError) as refused:
        session.unsubscribe("seen_t")
    assert refused.value.code.name == "NOT_FOUND"


class Listener:
    """A controller with a separate digest configuration."""

    def __init__(self, device: HostDevice, digest: int, **config: int) -> None:
        self.device = device
        self.digest = digest
        self.raw = Controller(device.address)
        self.raw.become_primary()
        entry = p4r.DigestEntry(digest_id=digest, config=p4r.DigestEntry.Config(**config))
        self.raw.write(*updates("INSERT", p4r.Entity(digest_entry=entry)))

    def lists(self) -> list[p4r.DigestList]:
        """Return the lists so far. The answer to an arbitration update shows that they are complete."""
        self.raw.bid(self.raw.election)
        found = []
        while (response := self.raw.receive()).HasField("digest"):
            found.append(response.digest)
        return found

    def sources(self) -> list[list[int]]:
        return [[int.from_bytes(each.struct.members[0].bitstring, "big") for each in one.data] for one in self.lists()]


def packets(*sources: int) -> list[bytes]:
    return [ipv4("10.0.0.1", f"0.0.0.{source}") for source in sources]


def test_lists_hold_distinct_messages_up_to_their_size(device: HostDevice, ids: dict[str, int]) -> None:
    listener = Listener(device, ids["seen_t"], max_timeout_ns=10**9, max_list_size=3)
    with listener.raw:
        arrive(device, *packets(1, 1, 2, 1, 3, 4, 4))
        assert listener.sources() == [[1, 2, 3]]
        arrive(device, *packets(1), now=999_000)
        assert listener.sources() == []
        assert device.due == 10**9
        device.advance(10**9)
        assert listener.sources() == [[4, 1]]
        assert device.due is None
        arrive(device, *packets(5), now=1_000_001)
        arrive(device, *packets(6, 5), now=2_000_001)
        assert listener.sources() == [[5]]
        arrive(device, *packets(7, 8), now=2_000_002)
        assert listener.sources() == [[6, 5, 7]]


def test_a_list_that_is_not_full_is_sent_when_its_time_has_come(device: HostDevice, ids: dict[str, int]) -> None:
    """Even if no further packet arrives."""
    device.switch.clock = time.monotonic_ns
    listener = Listener(device, ids["seen_t"], max_timeout_ns=20_000_000, max_list_size=100)
    with listener.raw:
        arrive(device, *packets(1, 2), now=time.monotonic_ns() // 1000)
        found = listener.raw.receive().digest
        assert len(found.data) == 2


def test_lists_are_sent_before_the_program_is_replaced(device: HostDevice, ids: dict[str, int]) -> None:
    listener = Listener(device, ids["seen_t"], max_timeout_ns=10**12)
    with listener.raw:
        arrive(device, *packets(1, 2))
        pipeline = device.switch.pipeline
        assert pipeline is not None
        device.switch.load(pipeline.checked.text)
        assert listener.sources() == [[1, 2]]


def test_a_smaller_size_counts_at_once(device: HostDevice, ids: dict[str, int]) -> None:
    listener = Listener(device, ids["seen_t"], max_timeout_ns=10**12, max_list_size=9)
    with listener.raw as raw:
        arrive(device, *packets(1, 2))
        entry = p4r.DigestEntry(digest_id=ids["seen_t"])
        entry.config.max_timeout_ns, entry.config.max_list_size = 10**12, 2
        raw.write(*updates("MODIFY", p4r.Entity(digest_entry=entry)))
        arrive(device, *packets(3))
        assert listener.sources() == [[1, 2]]


def test_a_message_is_not_repeated_until_acknowledged_or_timed_out(device: HostDevice, ids: dict[str, int]) -> None:
    listener = Listener(device, ids["seen_t"], max_list_size=1, ack_timeout_ns=1_000_000)
    with listener.raw:
        arrive(device, *packets(1), now=10)
        (sent,) = listener.lists()
        assert sent.timestamp == 10_000
        arrive(device, *packets(1, 2), now=20)
        assert listener.sources() == [[2]]
        listener.raw.send(digest_ack=p4r.DigestListAck(digest_id=sent.digest_id, list_id=sent.list_id))
        assert listener.lists() == []
        arrive(device, *packets(1, 2), now=30)
        assert listener.sources() == [[1]]
        arrive(device, *packets(1, 2), now=1021)
        assert listener.sources() == [[2]]


def test_an_acknowledgement_of_an_unknown_digest_is_reported(device: HostDevice, ids: dict[str, int]) -> None:
    listener = Listener(device, ids["seen_t"], max_list_size=1)
    with listener.raw:
        listener.raw.send(digest_ack=p4r.DigestListAck(digest_id=5, list_id=1))
        error = listener.raw.receive().error
        assert (error.canonical_code, error.digest_list_ack.digest_list_ack.digest_id) == (INVALID_ARGUMENT, 5)


def test_digest_configurations_are_entities(device: HostDevice, session: Session, ids: dict[str, int]) -> None:
    listener = Listener(device, ids["seen_t"], max_list_size=7)
    with listener.raw as raw:
        (found,) = raw.read(p4r.Entity(digest_entry=p4r.DigestEntry()))
        assert found.digest_entry.config.max_list_size == 7
        found.digest_entry.config.max_list_size = 8
        raw.write(*updates("MODIFY", found))
        assert raw.read(p4r.Entity(digest_entry=p4r.DigestEntry(digest_id=ids["seen_t"]))) == [found]


def test_an_unknown_digest_cannot_be_enabled(device: HostDevice, session: Session) -> None:
    with Controller(device.address) as raw:
        unknown = p4r.Entity(digest_entry=p4r.DigestEntry(digest_id=9))
        with pytest.raises(grpc.RpcError) as refused:
            raw.write(*updates("INSERT", unknown), election=session.election_id)
        assert names(details_of(refused.value)) == ["INVALID_ARGUMENT"]
        assert raw.read(p4r.Entity(digest_entry=p4r.DigestEntry())) == []


TRANSLATED = """
#include <v1model.p4>
@p4runtime_translation("example.org/port", 32) type bit<9> port_t;
@controller_header("packet_in") header in_t { port_t port; bit<7> pad; }
@controller_header("packet_out") header out_t { port_t port; bit<7> pad; }
struct H { in_t to_controller; out_t from_controller; }
struct M { }
parser P(packet_in packet, out H hdr, inout M meta, inout standard_metadata_t std) {
    state start { transition select(std.ingress_port) { 510: sent; default: accept; } }
    state sent { packet.extract(hdr.from_controller); transition accept; }
}
control V(inout H hdr, inout M meta) { apply { } }
control I(inout H hdr, inout M meta, inout standard_metadata_t std) {
    apply {
        if (hdr.from_controller.isValid()) {
            std.egress_spec = (bit<9>)hdr.from_controller.port;
            hdr.from_controller.setInvalid();
        } else {
            std.egress_spec = 510;
            hdr.to_controller.setValid();
            hdr.to_controller.port = (port_t)std.ingress_port;
            hdr.to_controller.pad = 0;
        }
    }
}
control E(inout H hdr, inout M meta, inout standard_metadata_t std) { apply { } }
control D(packet_out packet, in H hdr) { apply { packet.emit(hdr.to_controller); } }
V1Switch(P(), V(), I(), E(), V(), D()) main;
"""


def test_translated_fields_have_their_own_width_in_the_header() -> None:
    with HostDevice(TRANSLATED) as device, Session(device.address) as session:
        session.packet_out(b"out", port=300, pad=0)
        assert list(device.transmitted()) == [(300, b"out")]
        arrive(device, b"in", port=257)
        (packet,) = session.packets_in()
        assert (packet.payload, packet.metadata) == (b"in", {"port": 257, "pad": 0})
        with pytest.raises(RequestError, match="packet metadata port does not fit 9 bits"):
            session.packet_out(b"out", port=512, pad=0)
