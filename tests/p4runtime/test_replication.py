"""Multicast groups and clone sessions (specification section 9.5)."""

from __future__ import annotations

import grpc
import pytest
from finsy.proto import p4r

from midflight.runtime.devices import HostDevice
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import Session
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
        (clone(1, 1, packet_length_bytes=64), "UNIMPLEMENTED"),
        (clone(1, 1, class_of_service=1), "UNIMPLEMENTED"),
        (entity(packet_replication_engine_entry={}), "INVALID_ARGUMENT"),
    ],
)
def test_invalid_groups_are_rejected_with_the_reason(
    device: HostDevice, session: Session, entity: p4r.Entity, expected: str
) -> None:
    assert outcome(device, session, "INSERT", entity) == expected
    assert session.read_multicast() == {}


def test_backup_replicas_are_not_supported(device: HostDevice, session: Session) -> None:
    entity = group(1, (1, 0))
    replica = entity.packet_replication_engine_entry.multicast_group_entry.replicas[0]
    replica.backup_replicas.add(port=b"\2")
    assert outcome(device, session, "INSERT", entity) == "UNIMPLEMENTED"


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
