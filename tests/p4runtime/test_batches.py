"""Batches: atomicity, and the errors of elements (specification sections 10, 12 and 13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import grpc
import pytest
from finsy.proto import p4r

from midflight.errors import DeviceError
from midflight.runtime.devices import HostDevice
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import RequestError, Session
from tests.p4runtime.support import Controller, code_of, details_of, entity, ipv4, names

INSERT, MODIFY, DELETE = p4r.Update.INSERT, p4r.Update.MODIFY, p4r.Update.DELETE


def register(ids: dict[str, int], index: int, value: int) -> p4r.Update:
    entry = p4r.RegisterEntry(register_id=ids["ingress.totals"], index=p4r.Index(index=index))
    entry.data.bitstring = bytes([value])
    return p4r.Update(type=MODIFY, entity=p4r.Entity(register_entry=entry))


def fill(session: Session) -> None:
    session.insert("route", {"hdr.ipv4.destination": "10.0.0.0/8"}, "to_port", {"port": 3, "mac": 1}, metadata=b"m")
    session.insert("route", {"hdr.ipv4.destination": "11.0.0.0/8"}, "to_port", {"port": 4, "mac": 1})
    session.multicast(5, [1, 2])
    session.write_register("totals", range(16))
    session.write_counter("arrivals", 2, packets=5, bytes=50)
    session.subscribe("seen_t")


def state(device: HostDevice) -> list[bytes]:
    """Return the complete readable state of a switch."""
    entities = [
        entity(table_entry={"counter_data": {}}),
        entity(register_entry={}),
        entity(counter_entry={}),
        entity(meter_entry={}),
        entity(packet_replication_engine_entry={"multicast_group_entry": {}}),
        entity(packet_replication_engine_entry={"clone_session_entry": {}}),
        entity(digest_entry={}),
        *(
            entity(table_entry={"table_id": number, "is_default_action": True})
            for number in getattr(device.switch.pipeline, "tables")  # noqa: B009
        ),
    ]
    with Controller(device.address) as raw:
        return sorted(each.SerializeToString() for each in raw.read(*entities))


def everything(session: Session) -> None:
    """Make a change of every kind."""
    session.delete("route", {"hdr.ipv4.destination": "10.0.0.0/8"})
    session.modify("route", {"hdr.ipv4.destination": "11.0.0.0/8"}, "to_controller")
    session.insert("route", {"hdr.ipv4.destination": "12.0.0.0/8"}, "to_controller")
    session.set_default("route", "to_controller")
    session.write_register("totals", 77)
    session.write_counter("arrivals", packets=1)


def batch(session: Session, work: Callable[[], None], *, atomic: bool = False) -> RequestError:
    """Run `work` in a batch that must be rejected, and return the error."""

    def whole() -> None:
        with session.batch(atomic=atomic):
            work()

    with pytest.raises(DeviceError) as refused:
        whole()
    return cast(RequestError, refused.value)


def test_an_atomic_batch_is_rolled_back_completely(device: HostDevice, session: Session, ids: dict[str, int]) -> None:
    fill(session)
    device.process(Packets.from_list([(1, ipv4("10.0.0.1"))]))
    before = state(device)

    def work() -> None:
        everything(session)
        session.write_register("totals", 1, 99)

    refused = batch(session, work, atomic=True)
    assert "register totals: ingress.totals: index 99 is out of range; it has 16 cells" in str(refused)
    assert refused.code.name == "OUT_OF_RANGE"
    assert state(device) == before
    with session.batch(atomic=True):
        everything(session)
    assert state(device) != before


@pytest.mark.parametrize("atomicity", ["ROLLBACK_ON_ERROR", "DATAPLANE_ATOMIC"])
def test_groups_sessions_digests_and_meters_are_rolled_back(
    device: HostDevice, session: Session, ids: dict[str, int], atomicity: str
) -> None:
    fill(session)
    before = state(device)

    def update(kind: p4r.Update.Type.ValueType, **parts: object) -> p4r.Update:
        return p4r.Update(type=kind, entity=entity(**parts))

    batch = [
        update(DELETE, packet_replication_engine_entry={"multicast_group_entry": {"multicast_group_id": 5}}),
        update(INSERT, packet_replication_engine_entry={"multicast_group_entry": {"multicast_group_id": 6}}),
        update(INSERT, packet_replication_engine_entry={"clone_session_entry": {"session_id": 6}}),
        update(MODIFY, digest_entry={"digest_id": ids["seen_t"], "config": {"max_list_size": 9}}),
        update(DELETE, digest_entry={"digest_id": ids["seen_t"]}),
        update(MODIFY, meter_entry={"meter_id": ids["ingress.police"], "config": {"cir": 1, "pir": 1}}),
        register(ids, 16, 1),
        register(ids, 1, 1),
    ]
    with Controller(device.address) as raw, pytest.raises(grpc.RpcError) as refused:
        raw.write(*batch, election=session.election_id, atomicity=p4r.WriteRequest.Atomicity.Value(atomicity))
    assert code_of(refused.value) == "UNKNOWN"
    assert names(details_of(refused.value)) == ["ABORTED"] * 6 + ["OUT_OF_RANGE", "ABORTED"]
    assert state(device) == before


def test_other_batches_continue_after_an_error_and_report_each(
    device: HostDevice, session: Session, ids: dict[str, int]
) -> None:
    batch = [register(ids, 1, 11), register(ids, 16, 1), register(ids, 2, 12), p4r.Update(), p4r.Update(type=INSERT)]
    batch.append(p4r.Update(type=INSERT, entity=entity(value_set_entry={"value_set_id": 1})))
    with Controller(device.address) as raw, pytest.raises(grpc.RpcError) as refused:
        raw.write(*batch, election=session.election_id)
    assert code_of(refused.value) == "UNKNOWN"
    errors = details_of(refused.value)
    assert names(errors) == ["OK", "OUT_OF_RANGE", "OK", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT"]
    assert errors[0] == p4r.Error()
    assert "value_set_entry" in errors[5].message
    assert list(session.read_register("totals"))[:3] == [0, 11, 12]


def test_a_session_reports_the_rejected_writes_of_a_batch(session: Session) -> None:
    session.insert("route", {"hdr.ipv4.destination": "10.0.0.0/8"}, "to_controller")

    def work() -> None:
        for network in (9, 10, 11):
            session.insert("route", {"hdr.ipv4.destination": f"{network}.0.0.0/8"}, "to_controller")
        session.delete("route", {"hdr.ipv4.destination": "99.0.0.0/8"})

    refused = batch(session, work)
    assert {at: code.name for at, (code, _) in refused.refused.items()} == {1: "ALREADY_EXISTS", 3: "NOT_FOUND"}
    assert "insert into route {'hdr.ipv4.destination': '10.0.0.0/8'}" in str(refused)
    assert "1 more of the batch's 4" in str(refused)
    assert len(session.read_table("route")) == 3


def test_nothing_is_sent_if_the_block_of_a_batch_raises(session: Session) -> None:

    def work() -> None:
        session.insert("route", {"hdr.ipv4.destination": "10.0.0.0/8"}, "to_controller")
        session.insert("route", {"hdr.ipv4.destination": "11.0.0.0/8"}, "nowhere")

    assert "no action 'nowhere'" in str(batch(session, work))
    assert session.read_table("route") == []
    with pytest.raises(DeviceError, match="another batch is open"), session.batch(), session.batch():
        pass


def test_a_batch_with_thousands_of_errors_is_reported(session: Session) -> None:
    """The details of 3,000 errors with their messages would exceed gRPC's limit."""

    def work() -> None:
        for index in range(3000):
            session.write_register("totals", 1, 15 + index)

    refused = batch(session, work)
    assert list(refused.refused) == list(range(1, 3000))
    assert refused.code.name == "OUT_OF_RANGE"
    assert session.read_register("totals", 15) == 1


def test_entities_of_a_read_are_rejected_individually(device: HostDevice, ids: dict[str, int]) -> None:
    requests = [
        entity(register_entry={"register_id": ids["ingress.totals"], "index": {"index": 3}}),
        p4r.Entity(),
        entity(register_entry={"register_id": ids["ingress.totals"], "index": {"index": 16}}),
        entity(action_profile_member={}),
        entity(action_profile_member={"action_profile_id": 3}),
        entity(extern_entry={}),
    ]
    found: list[p4r.Entity] = []
    with Controller(device.address) as raw:
        responses = raw.stub.Read(p4r.ReadRequest(device_id=1, entities=requests))
        found.extend(next(responses).entities)
        with pytest.raises(grpc.RpcError) as refused:
            next(responses)
    assert [each.register_entry.index.index for each in found] == [3]
    expected = ["OK", "INVALID_ARGUMENT", "OUT_OF_RANGE", "OK", "INVALID_ARGUMENT", "UNIMPLEMENTED"]
    assert names(details_of(refused.value)) == expected


@pytest.mark.parametrize("rpc", ["Write", "Read", "GetForwardingPipelineConfig"])
def test_another_device_is_not_found(device: HostDevice, rpc: str) -> None:
    kinds = {"Write": p4r.WriteRequest, "Read": p4r.ReadRequest}
    request = kinds.get(rpc, p4r.GetForwardingPipelineConfigRequest)(device_id=2)
    with Controller(device.address) as raw, pytest.raises(grpc.RpcError) as refused:
        list(getattr(raw.stub, rpc)(request))
    assert code_of(refused.value) == "NOT_FOUND"


def test_bytes_that_are_not_a_message_are_rejected(device: HostDevice, session: Session) -> None:
    garbage = b"\xff\xff\xff\xff garbage"
    with grpc.insecure_channel(device.address) as channel:
        for method in ("Write", "SetForwardingPipelineConfig", "GetForwardingPipelineConfig", "Capabilities"):
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(f"/p4.v1.P4Runtime/{method}")(garbage, timeout=10)
            assert code_of(refused.value) == "INVALID_ARGUMENT"
        with pytest.raises(grpc.RpcError) as refused:
            list(channel.unary_stream("/p4.v1.P4Runtime/Read")(garbage, timeout=10))
        assert code_of(refused.value) == "INVALID_ARGUMENT"
        with pytest.raises(grpc.RpcError) as refused:
            list(channel.stream_stream("/p4.v1.P4Runtime/StreamChannel")(iter([garbage]), timeout=10))
        assert code_of(refused.value) == "INVALID_ARGUMENT"
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/p4.v1.P4Runtime/Nonsense")(garbage, timeout=10)
        assert code_of(refused.value) == "UNIMPLEMENTED"
    session.write_register("totals", 4, 4)
    assert session.read_register("totals", 4) == 4
