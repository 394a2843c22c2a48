"""Multicast groups and clone sessions (specification section 9.5)."""

from __future__ import annotations

import grpc
import pytest
from finsy.proto import p4r

from midflight.runtime.devices import HostDevice
from midflight.runtime.engine import Packets
from midflight.runtime.engine.queues import QueueOptions
from midflight.runtime.p4runtime.client.session import Session
from tests.engine.build import source
from tests.p4runtime.support import Controller, details_of, entity, ipv4, names, updates


def group(number: int, *pairs: tuple[int, int], metadata: bytes = b"") -> p4r.Entity:
    entry = p4r.MulticastGroupEntry(multicast_group_id=number, metadata=metadata)
    for port, instance in pairs:
        entry.replicas.add(port=port.to_bytes(1 if port < 256 else 2, "big"), instance=instance)
    return entity(packet_replication_engine_entry={"multicast_group_entry": entry})


def clone(number: int, *ports: int, **parts: int) -> p4r.Entity:
    entry = p4r.CloneSessionEntry(session_id=number, **parts)  # type: ignore[arg-type]
    for port in ports:
        entry.replicas.add(port=bytes([port]), instance=1)
    return entity(packet_replication_engine_entry={"clone_session_entry": entry})


def outcome(device: HostDevice, session: Session, kind: str, entity: p4r.Entity) -> str:
    with Controller(device.address) as raw:
        try:
            raw.write(*updates(kind, entity), election=session.election_id)
        except grpc.RpcError as error:
            (name,) = names(details_of(error))
            return name
    return "OK"


def test_a_packet_goes_to_every_port_of_its_group(device: HostDevice, session: Session) -> None:
    packet = Packets.from_list([(1, ipv4("10.0.0.1")), (1, ipv4("10.0.0.2"))])
    session.insert("route", {"hdr.ipv4.destination": "10.0.0.0/8"}, "to_group", {"group": 9})
    assert not list(device.process(packet))
    session.multicast(9, [4, 5, (6, 2)])
    output = device.process(packet)
    assert [port for port, _ in output] == [4, 5, 6] * 2
    assert list(output.sources) == [0, 0, 0, 1, 1, 1]
    assert session.read_multicast() == {9: [(4, 0), (5, 0), (6, 2)]}
    session.multicast(9, [7])
    assert [port for port, _ in device.process(packet)] == [7, 7]
    session.multicast(9, [])
    session.multicast(9, [])
    assert not list(device.process(packet))
    assert session.read_multicast() == {}


def test_groups_are_inserted_modified_and_deleted(device: HostDevice, session: Session) -> None:
    assert outcome(device, session, "MODIFY", group(3, (1, 0))) == "NOT_FOUND"
    assert outcome(device, session, "DELETE", group(3)) == "NOT_FOUND"
    assert outcome(device, session, "INSERT", group(3, (1, 0), (1, 1), metadata=b"x")) == "OK"
    assert outcome(device, session, "INSERT", group(3, (1, 0))) == "ALREADY_EXISTS"
    assert outcome(device, session, "INSERT", group(4, (300, 65535))) == "OK"
    with Controller(device.address) as raw:
        everything = entity(packet_replication_engine_entry={"multicast_group_entry": {}})
        assert raw.read(everything) == [group(3, (1, 0), (1, 1), metadata=b"x"), group(4, (300, 65535))]
        assert raw.read(group(4)) == [group(4, (300, 65535))]
    assert outcome(device, session, "DELETE", group(3)) == "OK"
    assert outcome(device, session, "DELETE", group(3)) == "NOT_FOUND"


def test_ports_in_the_deprecated_field_are_accepted(device: HostDevice, session: Session) -> None:
    entity = group(3)
    entity.packet_replication_engine_entry.multicast_group_entry.replicas.add(egress_port=5, instance=1)
    assert outcome(device, session, "INSERT", entity) == "OK"
    assert session.read_multicast() == {3: [(5, 1)]}


@pytest.mark.parametrize(
    ("entity", "expected"),
    [
        (group(0, (1, 0)), "INVALID_ARGUMENT"),
        (group(1 << 16, (1, 0)), "INVALID_ARGUMENT"),
        (group(1, (1, 0), (1, 0)), "INVALID_ARGUMENT"),
        (group(1, (512, 0)), "INVALID_ARGUMENT"),
        (group(1, (1, 1 << 16)), "INVALID_ARGUMENT"),
        (clone(0, 1), "INVALID_ARGUMENT"),
        (clone(1, 1, packet_length_bytes=-1), "INVALID_ARGUMENT"),
        (clone(1, 1, class_of_service=8), "INVALID_ARGUMENT"),
        (entity(packet_replication_engine_entry={}), "INVALID_ARGUMENT"),
    ],
)
def test_invalid_groups_are_rejected_with_the_reason(
    device: HostDevice, session: Session, entity: p4r.Entity, expected: str
) -> None:
    assert outcome(device, session, "INSERT", entity) == expected
    assert session.read_multicast() == {}


def test_a_backup_replaces_a_replica_while_its_port_is_down(device: HostDevice, session: Session) -> None:
    session.insert("route", {"hdr.ipv4.destination": "10.0.0.0/8"}, "to_group", {"group": 9})
    entity = group(9, (1, 0), (5, 0))
    replica = entity.packet_replication_engine_entry.multicast_group_entry.replicas[0]
    replica.backup_replicas.add(port=b"\2", instance=4)
    replica.backup_replicas.add(port=b"\3", instance=5)
    assert outcome(device, session, "INSERT", entity) == "OK"
    with Controller(device.address) as raw:
        assert raw.read(group(9)) == [entity]
    assert device.switch.pipeline is not None
    engine = device.switch.pipeline.engine
    packet = Packets.from_list([(1, ipv4("10.0.0.1"))])

    def ports() -> list[int]:
        return [port for port, _ in device.process(packet)]

    assert ports() == [1, 5]
    engine.set_port(1, up=False)
    engine.set_port(5, up=False)  # has no backup
    assert ports() == [2, 5]
    engine.set_port(2, up=False)
    assert ports() == [3, 5]
    engine.set_port(3, up=False)
    assert ports() == [5]
    engine.set_port(1, up=True)
    assert ports() == [1, 5]
    replica.backup_replicas.add(port=b"\2\0", instance=4)
    assert outcome(device, session, "MODIFY", entity) == "INVALID_ARGUMENT"
    for port in (2, 3, 5):
        engine.set_port(port, up=True)


CLONING = source(
    header="bit<8> kind; bit<8> priority;",
    ingress="std.egress_spec = 2; std.priority = 3; if (hdr.h.kind == 1) { clone(CloneType.I2E, 7); }",
    egress="hdr.h.priority = (bit<8>)std.priority;"
    " if (hdr.h.kind == 2 && std.instance_type == 0) { clone(CloneType.E2E, 7); }",
)


@pytest.mark.parametrize("kind", [1, 2])
def test_clones_have_the_class_and_the_length_of_their_session(kind: int) -> None:
    with HostDevice(CLONING, queueing=QueueOptions(queues=6).queueing()) as device, device.session() as session:
        assert outcome(device, session, "INSERT", clone(7, 4, class_of_service=5, packet_length_bytes=20)) == "OK"
        with Controller(device.address) as raw:
            (found,) = raw.read(clone(7))
        entry = found.packet_replication_engine_entry.clone_session_entry
        assert (entry.class_of_service, entry.packet_length_bytes) == (5, 20)
        packet = Packets.from_list([(1, bytes([kind]) + bytes(59))])
        left = dict(device.process(packet))
        assert (len(left[2]), left[2][1]) == (60, 3)
        assert (len(left[4]), left[4][1]) == (20, 5)
        assert device.queues.state(4, 5).sent == 1
        assert outcome(device, session, "MODIFY", clone(7, 4)) == "OK"
        left = dict(device.process(packet))
        assert (len(left[4]), left[4][1]) == (60, 0)


def test_clone_sessions_are_read_back(device: HostDevice, session: Session) -> None:
    session.clone_session(7, [1, 2])
    with Controller(device.address) as raw:
        everything = entity(packet_replication_engine_entry={"clone_session_entry": {}})
        (found,) = raw.read(everything)
        entry = found.packet_replication_engine_entry.clone_session_entry
        assert (entry.session_id, [each.port for each in entry.replicas]) == (7, [b"\1", b"\2"])
        session.clone_session(7, [])
        assert raw.read(everything) == []
        with pytest.raises(grpc.RpcError) as refused:
            raw.read(clone(7))
        assert names(details_of(refused.value)) == ["NOT_FOUND"]
