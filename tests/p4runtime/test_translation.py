"""Values of translated types: numbers of another width, and strings, in both directions."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from finsy.proto import p4r

from midflight.runtime.devices import HostDevice
from midflight.runtime.engine import Packets
from tests.p4runtime.support import Controller, details_of, names, updates

PROGRAM = """
#include <core.p4>
#include <v1model.p4>
@p4runtime_translation("example.net/port", 32) type bit<9> port_t;
@p4runtime_translation("", string) type bit<8> tenant_t;
enum color_t { red, green, blue }
header h_t { bit<8> tenant; bit<8> next; }
struct headers_t { h_t h; }
struct metadata_t { port_t port; tenant_t tenant; color_t color; }
parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.h);
        meta.port = (port_t)std.ingress_port;
        meta.tenant = (tenant_t)hdr.h.tenant;
        meta.color = color_t.green;
        transition accept;
    }
}
control verify_it(inout headers_t hdr, inout metadata_t meta) { apply { } }
control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action forward(port_t port, tenant_t tenant) {
        std.egress_spec = (bit<9>)port;
        hdr.h.next = (bit<8>)tenant;
    }
    table route {
        key = { meta.port: exact; meta.tenant: optional; meta.color: exact; }
        actions = { forward; NoAction; }
    }
    apply { std.egress_spec = 9; route.apply(); }
}
control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }
control deparse(packet_out packet, in headers_t hdr) { apply { packet.emit(hdr); } }
V1Switch(parse(), verify_it(), ingress(), egress(), verify_it(), deparse()) main;
"""


@pytest.fixture
def device() -> Iterator[HostDevice]:
    with HostDevice(PROGRAM) as running:
        yield running


@pytest.fixture
def controller(device: HostDevice) -> Iterator[Controller]:
    with Controller(device.address) as opened:
        opened.become_primary()
        yield opened


def entry(device: HostDevice, port: int, tenant: bytes, to: int, next_tenant: bytes) -> p4r.Entity:
    pipeline = device.switch.pipeline
    assert pipeline is not None
    made = p4r.TableEntry(table_id=pipeline.schema.tables.named("route").preamble.id, priority=1)
    made.match.add(field_id=1).exact.value = number(port)
    if tenant:
        made.match.add(field_id=2).optional.value = tenant
    made.match.add(field_id=3).exact.value = b"\1"
    made.action.action.action_id = pipeline.schema.actions.named("forward").preamble.id
    made.action.action.params.add(param_id=1, value=number(to))
    made.action.action.params.add(param_id=2, value=next_tenant)
    return p4r.Entity(table_entry=made)


def number(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


def outcome(controller: Controller, kind: str, *entities: p4r.Entity) -> str:
    try:
        controller.write(*updates(kind, *entities))
    except grpc.RpcError as error:
        return names(details_of(error))[-1]
    return "OK"


def sent(device: HostDevice, *packets: tuple[int, int]) -> list[tuple[int, int]]:
    """Send packets (port, tenant), and return for each its port and next tenant."""
    out = device.process(Packets.from_list([(port, bytes([tenant, 0])) for port, tenant in packets]))
    return [(port, data[1]) for port, data in out]


def test_values_reach_the_data_plane_and_come_back(device: HostDevice, controller: Controller) -> None:
    entries = [
        entry(device, 300, b"7", 2, "Zürich".encode()),
        entry(device, 1, "Zürich".encode(), 3, b"blue"),
        entry(device, 2, b"", 4, b"007"),
    ]
    assert outcome(controller, "INSERT", *entries) == "OK"
    # Decimal numbers stand for themselves, and other strings for the largest free numbers in the order of their use.
    assert sent(device, (300, 7), (300, 8), (1, 255), (2, 0)) == [(2, 255), (9, 0), (3, 254), (4, 253)]
    table = p4r.Entity(table_entry=p4r.TableEntry(table_id=entries[0].table_entry.table_id))
    assert controller.read(table) == entries
    config = controller.pull().config
    controller.push("RECONCILE_AND_COMMIT", config, election=controller.election)
    assert controller.read(table) == entries
    assert sent(device, (1, 255)) == [(3, 254)]
    assert outcome(controller, "DELETE", *entries) == "OK"


@pytest.mark.parametrize(
    ("port", "tenant", "to", "next_tenant"),
    [
        (512, b"1", 1, b"1"),  # 9 bits in the data plane
        (1, b"256", 1, b"1"),
        (1, b"1", 1, b"\xff"),
        (1, b"1", 1, b""),
        (1, b"1", 1, b"x" * 2000),
        (1, b"1", 1, b"255"),  # the number of "taken"
    ],
)
def test_values_that_do_not_fit(
    device: HostDevice, controller: Controller, port: int, tenant: bytes, to: int, next_tenant: bytes
) -> None:
    assert outcome(controller, "INSERT", entry(device, 0, b"", 0, b"taken")) == "OK"
    assert outcome(controller, "INSERT", entry(device, port, tenant, to, next_tenant)) == "INVALID_ARGUMENT"


def test_strings_are_as_many_as_the_numbers(device: HostDevice, controller: Controller) -> None:
    entries = [entry(device, each, f"t{each}".encode(), 1, b"7") for each in range(256)]
    assert outcome(controller, "INSERT", *entries[:255]) == "OK"  # 7 is taken by the decimal form
    assert outcome(controller, "INSERT", entries[255]) == "RESOURCE_EXHAUSTED"
