"""Large batches: their cost is linear, and packets, reads and other controllers continue while one is prepared."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
from finsy.proto import p4r

from midflight.runtime.devices import HostDevice
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import RequestError, Session
from midflight.runtime.p4runtime.server import write
from midflight.runtime.p4runtime.status import Refusal

TIMEOUT = 60.0
INSERT, MODIFY, DELETE = p4r.Update.INSERT, p4r.Update.MODIFY, p4r.Update.DELETE

KINDS = """
#include <core.p4>
#include <v1model.p4>

header wire_t { bit<32> a; bit<32> b; bit<16> c; }
struct headers_t { wire_t wire; }
struct metadata_t { bit<2> colour; bit<32> x; }

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start { packet.extract(hdr.wire); transition accept; }
}
control verify_checksums(inout headers_t hdr, inout metadata_t meta) { apply {} }
control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    direct_counter(CounterType.packets_and_bytes) seen;
    direct_meter<bit<2>>(MeterType.packets) paced;
    register<bit<32>>(8192) cells;
    counter(8192, CounterType.packets) counts;
    meter(8192, MeterType.packets) rates;
    action send(bit<9> port) { std.egress_spec = port; }
    action watched(bit<9> port) { seen.count(); paced.read(meta.colour); std.egress_spec = port; }
    table exact_t { key = { hdr.wire.a: exact; } actions = { watched; } size = 8192; counters = seen; meters = paced; }
    table lpm_t { key = { hdr.wire.a: lpm; } actions = { send; } size = 8192; }
    table ternary_t { key = { hdr.wire.a: ternary; } actions = { send; } size = 8192; }
    table range_t { key = { hdr.wire.c: range; } actions = { send; } size = 8192; }
    table optional_t { key = { hdr.wire.a: optional; } actions = { send; } size = 8192; }
    apply {
        exact_t.apply(); lpm_t.apply(); ternary_t.apply(); range_t.apply(); optional_t.apply();
        cells.read(meta.x, hdr.wire.a);
        cells.write(hdr.wire.a, meta.x + 1);
        counts.count(hdr.wire.a);
        rates.execute_meter(hdr.wire.a, meta.colour);
        std.egress_spec = 3;
    }
}
control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply {} }
control compute_checksums(inout headers_t hdr, inout metadata_t meta) { apply {} }
control deparse(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr.wire); } }
V1Switch(parse(), verify_checksums(), ingress(), egress(), compute_checksums(), deparse()) main;
"""


@pytest.fixture
def device() -> Iterator[HostDevice]:
    with HostDevice(KINDS) as made:
        yield made


@pytest.fixture
def session(device: HostDevice) -> Iterator[Session]:
    with device.session() as made:
        yield made


def number(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


class Entities:
    """Entities of each kind by number, for a program that has them."""

    def __init__(self, session: Session) -> None:
        info = session.p4info
        self.tables = {each.preamble.alias: each for each in info.tables}
        self.actions = {each.preamble.alias: each.preamble.id for each in info.actions}
        self.cells = {each.preamble.alias: each.preamble.id for each in (*info.registers, *info.counters, *info.meters)}

    def entry(self, table: str, at: int, **match: Any) -> p4r.Entity:
        action = "watched" if table == "exact_t" else "send"
        entry = p4r.TableEntry(table_id=self.tables[table].preamble.id, match=[p4r.FieldMatch(field_id=1, **match)])
        if table in ("ternary_t", "range_t", "optional_t"):
            entry.priority = 1 + at % 7
        entry.action.action.action_id = self.actions[action]
        entry.action.action.params.add(param_id=1, value=number(at % 8))
        return p4r.Entity(table_entry=entry)

    def exact(self, at: int) -> p4r.Entity:
        return self.entry("exact_t", at, exact=p4r.FieldMatch.Exact(value=number(at)))

    def lpm(self, at: int) -> p4r.Entity:
        return self.entry("lpm_t", at, lpm=p4r.FieldMatch.LPM(value=number((at + 1) << 8), prefix_len=24))

    def ternary(self, at: int) -> p4r.Entity:
        match = p4r.FieldMatch.Ternary(value=number(at << 8), mask=number(0xFFFFFF00))
        return self.entry("ternary_t", at, ternary=match)

    def range(self, at: int) -> p4r.Entity:
        return self.entry("range_t", at, range=p4r.FieldMatch.Range(low=number(at), high=number(at + 9)))

    def optional(self, at: int) -> p4r.Entity:
        return self.entry("optional_t", at, optional=p4r.FieldMatch.Optional(value=number(at)))

    def register(self, at: int) -> p4r.Entity:
        entry = p4r.RegisterEntry(register_id=self.cells["cells"], index=p4r.Index(index=at))
        entry.data.bitstring = number(at)
        return p4r.Entity(register_entry=entry)

    def counter(self, at: int) -> p4r.Entity:
        data = p4r.CounterData(packet_count=at)
        entry = p4r.CounterEntry(counter_id=self.cells["counts"], index=p4r.Index(index=at), data=data)
        return p4r.Entity(counter_entry=entry)

    def meter(self, at: int) -> p4r.Entity:
        config = p4r.MeterConfig(cir=at, cburst=at, pir=at, pburst=at)
        entry = p4r.MeterEntry(meter_id=self.cells["rates"], index=p4r.Index(index=at), config=config)
        return p4r.Entity(meter_entry=entry)

    def direct_counter(self, at: int) -> p4r.Entity:
        entry = p4r.DirectCounterEntry(table_entry=self._key(at), data=p4r.CounterData(packet_count=at))
        return p4r.Entity(direct_counter_entry=entry)

    def direct_meter(self, at: int) -> p4r.Entity:
        config = p4r.MeterConfig(cir=at, cburst=at, pir=at, pburst=at)
        return p4r.Entity(direct_meter_entry=p4r.DirectMeterEntry(table_entry=self._key(at), config=config))

    def multicast(self, at: int) -> p4r.Entity:
        group = p4r.MulticastGroupEntry(multicast_group_id=at + 1)
        group.replicas.add(port=b"\1", instance=1)
        group.replicas.add(port=b"\2", instance=1)
        return p4r.Entity(packet_replication_engine_entry=p4r.PacketReplicationEngineEntry(multicast_group_entry=group))

    def clone(self, at: int) -> p4r.Entity:
        clone = p4r.CloneSessionEntry(session_id=at + 1)
        clone.replicas.add(port=b"\1", instance=1)
        return p4r.Entity(packet_replication_engine_entry=p4r.PacketReplicationEngineEntry(clone_session_entry=clone))

    def _key(self, at: int) -> p4r.TableEntry:
        entry = self.exact(at).table_entry
        entry.ClearField("action")
        return entry


INSERTED = ("exact", "lpm", "ternary", "range", "optional", "multicast", "clone")
MODIFIED = ("register", "counter", "meter", "direct_counter", "direct_meter")


def request(kind: p4r.Update.Type.ValueType, entities: list[p4r.Entity], **parts: Any) -> p4r.WriteRequest:
    made = p4r.WriteRequest(device_id=1, updates=[p4r.Update(type=kind, entity=each) for each in entities], **parts)
    made.election_id.low = 1
    return made


def work(action: Callable[[], object]) -> int:
    """Return how many functions an action calls."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("what", [*INSERTED, *MODIFIED])
def test_the_work_is_linear_in_the_batch(device: HostDevice, session: Session, what: str) -> None:
    entities, small, large = Entities(session), 400, 1600
    make: Callable[[int], p4r.Entity] = getattr(entities, what)
    if what.startswith("direct"):
        assert device.switch.write(request(INSERT, [entities.exact(at) for at in range(small + large)])) is None
    kind = MODIFY if what in MODIFIED else INSERT
    counts = []
    for numbers in (range(small), range(small, small + large)):
        batch = request(kind, [make(at) for at in numbers])
        counts.append(work(lambda batch=batch: device.switch.write(batch)))  # type: ignore[misc]
        counts[-1] += work(lambda: device.switch.process(Packets.from_list([(1, bytes(10))])))
    assert counts[1] < 1.25 * large / small * counts[0]
    # Rolling a whole batch back takes linear work as well.
    undone = []
    for numbers in (range(small), range(small, small + large)):
        if kind == INSERT:
            assert device.switch.write(request(DELETE, [make(at) for at in numbers])) is None
        batch = request(kind, [make(at) for at in numbers], atomicity=p4r.WriteRequest.ROLLBACK_ON_ERROR)
        batch.updates.add(type=INSERT)  # without an entity
        undone.append(work(lambda batch=batch: device.switch.write(batch)))  # type: ignore[misc]
    assert undone[1] < 1.25 * large / small * undone[0]


class Halt:
    """Halts the preparation of a batch at its third update until it may continue."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go_on, self.prepared = threading.Event(), threading.Event(), 0
        original = write._prepared

        def halting(*arguments: Any) -> Any:
            self.prepared += 1
            if self.prepared == 3:
                self.reached.set()
                assert self.go_on.wait(TIMEOUT)
            return original(*arguments)

        monkeypatch.setattr(write, "_prepared", halting)


def during(halt: Halt, action: Callable[[], object], meanwhile: Callable[[], None]) -> list[object]:
    """Run `meanwhile` while a batch is being prepared. Return the outcome of the batch."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(action())
        except (RequestError, Refusal) as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert halt.reached.wait(TIMEOUT)
    try:
        meanwhile()
    finally:
        halt.go_on.set()
        thread.join(TIMEOUT)
    return outcome


def test_reads_packets_and_other_requests_continue_while_a_batch_is_prepared(
    device: HostDevice, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    entities = Entities(session)
    assert device.switch.write(request(INSERT, [entities.exact(9)])) is None
    halt, table = Halt(monkeypatch), "ingress.exact_t"
    halt.prepared = 0

    def meanwhile() -> None:
        assert len(session.read_table(table)) == 1
        assert len(device.process(Packets.from_list([(1, bytes(10))]))) == 1
        with device.session(role="another") as other:
            assert other.is_primary
            other.write_counter("counts", 5, packets=7)
        assert session.read_counter("counts", 5).packets == 7

    batch = request(INSERT, [entities.exact(at) for at in range(5)])
    assert during(halt, lambda: device.switch.write(batch), meanwhile) == [None]
    assert len(session.read_table(table)) == 6


def test_a_batch_applies_to_the_pipeline_at_the_time_of_its_application(
    device: HostDevice, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    entities, halt = Entities(session), Halt(monkeypatch)
    batch = request(INSERT, [entities.multicast(at) for at in range(5)])
    assert during(halt, lambda: device.switch.write(batch), lambda: device.load(KINDS.replace("= 3;", "= 4;"))) == [
        None
    ]
    assert halt.prepared == 10, "what was prepared for the other pipeline does not count"
    assert sorted(session.read_multicast()) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("what", ["rights", "primary"])
def test_a_batch_of_a_controller_that_may_no_longer_write_is_rejected(
    device: HostDevice, session: Session, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    entities, halt = Entities(session), Halt(monkeypatch)
    batch = request(INSERT, [entities.multicast(at) for at in range(5)])
    others = []

    def meanwhile() -> None:
        if what == "primary":
            others.append(device.session(election_id=7))
        else:
            session.close()

    (outcome,) = during(halt, lambda: device.switch.write(batch), meanwhile)
    for each in others:
        each.close()
    assert isinstance(outcome, Refusal)
    assert outcome.code.name == "PERMISSION_DENIED"
    with device.session(election_id=9) as reader:
        assert reader.read_multicast() == {}


def test_errors_of_updates_and_of_the_state_are_reported_in_order(device: HostDevice, session: Session) -> None:
    entities = Entities(session)
    good, double = entities.exact(1), entities.exact(1)
    wrong = entities.exact(2)
    wrong.table_entry.action.action.action_id = 1
    batch = [good, wrong, double, entities.exact(3)]
    status = device.switch.write(request(INSERT, batch))
    assert status is not None
    codes = [each.canonical_code for each in map(_detail, status.details)]
    assert codes == [0, 3, 6, 0]
    assert len(session.read_table("ingress.exact_t")) == 2
    assert device.switch.write(request(DELETE, [entities.exact(1), entities.exact(3)])) is None
    for atomicity in (p4r.WriteRequest.ROLLBACK_ON_ERROR, p4r.WriteRequest.DATAPLANE_ATOMIC):
        status = device.switch.write(request(INSERT, [good, double, wrong], atomicity=atomicity))
        assert status is not None
        assert [each.canonical_code for each in map(_detail, status.details)] == [10, 6, 10]
        assert session.read_table("ingress.exact_t") == []


def _detail(detail: Any) -> p4r.Error:
    error = p4r.Error()
    assert detail.Unpack(error)
    return error
