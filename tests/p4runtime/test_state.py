"""Registers, counters and meters (specification sections 9.3, 9.4 and 9.6)."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from finsy.proto import p4r

from midflight.errors import DeviceError
from midflight.runtime.devices import HostDevice
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import Count, RequestError, Session
from tests.engine.build import source
from tests.p4runtime.support import Controller, details_of, entity, ipv4, names, other, updates


def test_registers_are_read_as_arrays_of_their_type(session: Session) -> None:
    values = session.read_register("totals")
    assert isinstance(values, np.ndarray)
    assert (values.dtype, values.shape) == (np.dtype("u4"), (16,))
    session.write_register("totals", range(100, 116))
    assert list(session.read_register("totals")) == list(range(100, 116))
    session.write_register("totals", 7)
    assert set(session.read_register("totals")) == {7}
    session.write_register("totals", 8, 3)
    session.write_register("totals", np.array([9, 10]), 14)
    assert list(session.read_register("totals")) == [7, 7, 7, 8, *[7] * 10, 9, 10]
    assert session.read_register("totals", 3) == 8


def test_signed_registers(session: Session) -> None:
    session.write_register("levels", [-32768, -1, 0, 32767])
    values = session.read_register("ingress.levels")
    assert isinstance(values, np.ndarray)
    assert values.dtype == np.dtype("i2")
    assert list(values) == [-32768, -1, 0, 32767]
    assert session.read_register("levels", 1) == -1
    with pytest.raises(DeviceError, match="32768 does not fit"):
        session.write_register("levels", 32768, 0)


def test_registers_wider_than_a_machine_word(session: Session) -> None:
    session.write_register("wide", [(1 << 128) - 1, 1 << 64])
    assert session.read_register("wide") == [(1 << 128) - 1, 1 << 64]
    with pytest.raises(DeviceError, match="does not fit"):
        session.write_register("wide", 1 << 128, 0)


def test_the_data_plane_and_the_controller_share_a_register(device: HostDevice, session: Session) -> None:
    packet = ipv4("10.0.0.1")
    session.write_register("totals", 1000, 0)
    device.process(Packets.from_list([(1, packet)] * 3))
    assert session.read_register("totals", 0) == 1000 + 3 * (len(packet) - 14)


def test_counters_count_are_set_and_read(device: HostDevice, session: Session) -> None:
    session.write_counter("arrivals", 3, packets=10, bytes=1000)
    device.process(Packets.from_list([(3, other()), (2, other()), (3, other())]))
    assert session.read_counter("arrivals", 3) == Count(12, 1000 + 2 * len(other()))
    counts = session.read_counter("arrivals")
    assert list(counts.packets) == [0, 0, 1, 12, 0, 0, 0, 0]
    session.write_counter("arrivals")
    assert not session.read_counter("arrivals").packets.any()


def test_a_direct_counter_by_its_entry(device: HostDevice, session: Session) -> None:
    match = {"hdr.ipv4.destination": "10.0.0.0/8"}
    session.insert("route", match, "to_controller")
    device.process(Packets.from_list([(3, ipv4("10.0.0.1"))]))
    assert session.read_entry_counter("route", match) == Count(1, 0)


INDEX = {"index": {"index": 16}}


@pytest.mark.parametrize(
    ("kind", "change", "expected"),
    [
        ("MODIFY", {"register_entry": {"index": {"index": 16}, "data": {"bitstring": b"\1"}}}, "OUT_OF_RANGE"),
        ("MODIFY", {"register_entry": {"index": {"index": -1}, "data": {"bitstring": b"\1"}}}, "INVALID_ARGUMENT"),
        ("MODIFY", {"register_entry": {"index": {"index": 1}}}, "INVALID_ARGUMENT"),
        ("MODIFY", {"register_entry": {"index": {"index": 1}, "data": {"bool": True}}}, "INVALID_ARGUMENT"),
        ("MODIFY", {"register_entry": {"index": {"index": 1}, "data": {"bitstring": b"\1" * 5}}}, "OUT_OF_RANGE"),
        ("MODIFY", {"register_entry": {"index": {"index": 1}, "data": {"bitstring": b""}}}, "OUT_OF_RANGE"),
        ("INSERT", {"register_entry": {"index": {"index": 1}, "data": {"bitstring": b"\1"}}}, "INVALID_ARGUMENT"),
        ("DELETE", {"register_entry": {"index": {"index": 1}}}, "INVALID_ARGUMENT"),
        ("MODIFY", {"counter_entry": {"index": {"index": 8}, "data": {"packet_count": 1}}}, "OUT_OF_RANGE"),
        ("MODIFY", {"counter_entry": {"index": {"index": -8}, "data": {"packet_count": 1}}}, "INVALID_ARGUMENT"),
        ("MODIFY", {"counter_entry": {"index": {"index": 1}, "data": {"packet_count": -1}}}, "INVALID_ARGUMENT"),
        ("INSERT", {"counter_entry": {"index": {"index": 1}, "data": {"packet_count": 1}}}, "INVALID_ARGUMENT"),
        ("MODIFY", {"meter_entry": {"index": {"index": 4}, "config": {"cir": 1, "pir": 2}}}, "OUT_OF_RANGE"),
        ("MODIFY", {"meter_entry": {"index": {"index": 1}, "config": {"cir": 3, "pir": 2}}}, "INVALID_ARGUMENT"),
        ("MODIFY", {"meter_entry": {"index": {"index": 1}, "config": {"eburst": 3}}}, "INVALID_ARGUMENT"),
        ("INSERT", {"meter_entry": {"index": {"index": 1}, "config": {"cir": 1, "pir": 2}}}, "INVALID_ARGUMENT"),
    ],
)
def test_invalid_cells_are_rejected_with_the_reason(
    session: Session,
    device: HostDevice,
    ids: dict[str, int],
    kind: str,
    change: dict[str, dict[str, object]],
    expected: str,
) -> None:
    numbers = {"register_entry": "ingress.totals", "counter_entry": "ingress.arrivals", "meter_entry": "ingress.police"}
    ((part, fields),) = change.items()
    number = ids[numbers[part]]
    filled = {part: {**fields, part.replace("entry", "id"): number}}
    with Controller(device.address) as raw, pytest.raises(grpc.RpcError) as refused:
        raw.write(*updates(kind, entity(**filled)), election=session.election_id)
    assert names(details_of(refused.value)) == [expected]


def test_unknown_ids_are_rejected(session: Session, device: HostDevice) -> None:
    with Controller(device.address) as raw:
        for request in (
            {"register_entry": {"register_id": 9}},
            {"counter_entry": {"counter_id": 9}},
            {"digest_entry": {"digest_id": 9}},
        ):
            with pytest.raises(grpc.RpcError) as refused:
                raw.read(entity(**request))
            assert names(details_of(refused.value)) == ["INVALID_ARGUMENT"]


def test_wildcard_reads_cover_every_object(session: Session, device: HostDevice, ids: dict[str, int]) -> None:
    session.write_register("totals", 3, 5)
    with Controller(device.address) as raw:
        cells = [each.register_entry for each in raw.read(p4r.Entity(register_entry=p4r.RegisterEntry()))]
        counters = raw.read(p4r.Entity(counter_entry=p4r.CounterEntry()))
        meters = raw.read(p4r.Entity(meter_entry=p4r.MeterEntry()))
    assert len(cells) == 16 + 2 + 4
    assert len(counters) == 8
    assert len(meters) == 4
    (set_one,) = [each for each in cells if each.data.bitstring != b"\0"]
    assert (set_one.register_id, set_one.index.index) == (ids["ingress.totals"], 5)


def test_meters_keep_their_configuration(session: Session, device: HostDevice, ids: dict[str, int]) -> None:
    config = p4r.MeterConfig(cir=10, cburst=20, pir=30, pburst=40)
    entry = p4r.MeterEntry(meter_id=ids["ingress.police"], index=p4r.Index(index=2), config=config)
    with Controller(device.address) as raw:
        raw.write(*updates("MODIFY", p4r.Entity(meter_entry=entry)), election=session.election_id)
        found = [each.meter_entry for each in raw.read(entity(meter_entry={"meter_id": entry.meter_id}))]
        assert [each.HasField("config") for each in found] == [False, False, True, False]
        assert found[2] == entry
        entry.ClearField("config")
        raw.write(*updates("MODIFY", p4r.Entity(meter_entry=entry)), election=session.election_id)
        (again,) = raw.read(entity(meter_entry={"meter_id": entry.meter_id, "index": {"index": 2}}))
        assert not again.meter_entry.HasField("config")


def test_errors_for_unknown_names_list_the_known_ones(session: Session) -> None:
    with pytest.raises(DeviceError, match=r"(?s)no register 'total'.*ingress\.levels, ingress\.totals, ingress\.wide"):
        session.read_register("total")
    with pytest.raises(DeviceError, match=r"(?s)no counter 'arrival'.*ingress\.arrivals"):
        session.read_counter("arrival")
    with pytest.raises(RequestError, match="16 is out of range; it has 16 cells") as refused:
        session.read_register("totals", 16)
    assert refused.value.code.name == "OUT_OF_RANGE"


METERING = source(
    header="bit<8> key; bit<8> colour;",
    ingress="""std.egress_spec = 2; bit<2> colour; police.execute_meter((bit<32>)hdr.h.key, colour);
    hdr.h.colour = (bit<8>)colour; watched.apply();""",
    declarations="""meter(4, MeterType.packets) police; direct_meter<bit<2>>(MeterType.bytes) own;
    action note() { bit<2> seen; own.read(seen); }
    table watched { key = { hdr.h.key: exact; } actions = { note; } meters = own; }""",
)


def test_meters_count_by_colour_and_keep_their_cell_if_a_config_is_invalid() -> None:
    with HostDevice(METERING) as device, device.session() as session, Controller(device.address) as raw:
        info = session.p4info
        police = info.meters[0].preamble.id
        session.insert("ingress.watched", {"hdr.h.key": 1}, "ingress.note")
        key = p4r.FieldMatch(field_id=1, exact=p4r.FieldMatch.Exact(value=b"\1"))
        entry = p4r.TableEntry(table_id=info.tables[0].preamble.id, match=[key])
        config = p4r.MeterConfig(cir=1, cburst=2, pir=1, pburst=5)

        def write(election: int = session.election_id, **fields: object) -> None:
            raw.write(*updates("MODIFY", entity(**fields)), election=election)

        write(meter_entry={"meter_id": police, "index": {"index": 1}, "config": config})
        write(direct_meter_entry={"table_entry": entry, "config": p4r.MeterConfig(cir=1, cburst=130, pir=1, pburst=70)})
        device.process(Packets.from_list([(1, b"\1" + bytes(59))] * 7))

        def counts(data: p4r.MeterCounterData) -> list[tuple[int, int]]:
            return [(each.packet_count, each.byte_count) for each in (data.green, data.yellow, data.red)]

        asked = {"meter_id": police, "index": {"index": 1}, "counter_data": {}}
        (cell,) = [each.meter_entry for each in raw.read(entity(meter_entry=asked))]
        assert counts(cell.counter_data) == [(2, 120), (3, 180), (2, 120)]
        (direct,) = raw.read(entity(direct_meter_entry={"table_entry": entry, "counter_data": {}}))
        assert counts(direct.direct_meter_entry.counter_data) == [(1, 60), (0, 0), (6, 360)]
        whole = p4r.TableEntry(table_id=entry.table_id, meter_counter_data=p4r.MeterCounterData())
        (row,) = raw.read(entity(table_entry=whole))
        assert counts(row.table_entry.meter_counter_data) == [(1, 60), (0, 0), (6, 360)]
        (row,) = raw.read(entity(table_entry=p4r.TableEntry(meter_counter_data=p4r.MeterCounterData())))
        assert row.table_entry.HasField("meter_counter_data")
        (quiet,) = raw.read(entity(meter_entry={"meter_id": police, "index": {"index": 1}}))
        assert not quiet.meter_entry.HasField("counter_data")

        invalid = p4r.MeterConfig(cir=1, cburst=1, pir=1 << 50, pburst=1)
        with pytest.raises(grpc.RpcError) as refused:
            write(meter_entry={"meter_id": police, "index": {"index": 1}, "config": invalid})
        assert names(details_of(refused.value)) == ["INVALID_ARGUMENT"]
        (cell,) = [each.meter_entry for each in raw.read(entity(meter_entry=asked))]
        assert (cell.config, counts(cell.counter_data)) == (config, [(2, 120), (3, 180), (2, 120)])
        fresh = p4r.MeterCounterData(red=p4r.CounterData(packet_count=9, byte_count=8))
        write(meter_entry={"meter_id": police, "index": {"index": 1}, "config": config, "counter_data": fresh})
        (cell,) = [each.meter_entry for each in raw.read(entity(meter_entry=asked))]
        assert counts(cell.counter_data) == [(0, 0), (0, 0), (9, 8)]
