"""Users' projects with tests, which run in a pytest of their own."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

__all__ = ["PROGRAM", "plugin_options", "project", "run"]

PROGRAM = """\
#include <core.p4>
#include <v1model.p4>
header ethernet_t { bit<48> dst; bit<48> src; bit<16> type; }
header ipv4_t { bit<64> front; bit<8> ttl; bit<8> protocol; bit<16> checksum; bit<32> src; bit<32> dst; }
struct empty_t {}
struct seen_t { bit<32> dst; }
@controller_header("packet_in") header in_t { bit<16> port; }
@controller_header("packet_out") header out_t { bit<16> port; }
struct all_t { in_t to; out_t from; ethernet_t ethernet; ipv4_t ipv4; }
parser parse(packet_in packet, out all_t hdr, inout empty_t meta, inout standard_metadata_t std) {
    state start { transition select(std.ingress_port) { 9w510: controller; default: ethernet; } }
    state controller { packet.extract(hdr.from); transition ethernet; }
    state ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) { 0x800: ipv4; default: accept; }
    }
    state ipv4 { packet.extract(hdr.ipv4); transition accept; }
}
control check(inout all_t hdr, inout empty_t meta) { apply {} }
control ingress(inout all_t hdr, inout empty_t meta, inout standard_metadata_t std) {
    register<bit<32>>(8) last;
    counter(8, CounterType.packets) arrivals;
    action drop() { mark_to_drop(std); }
    action forward(bit<48> mac, bit<9> port) {
        std.egress_spec = port;
        hdr.ethernet.dst = mac;
        hdr.ipv4.ttl = hdr.ipv4.ttl - 1;
    }
    action punt() { std.egress_spec = 510; hdr.to.setValid(); hdr.to.port = (bit<16>) std.ingress_port; }
    table routes {
        key = { hdr.ipv4.dst: lpm; }
        actions = { forward; punt; drop; }
        default_action = drop();
    }
    apply {
        if (hdr.from.isValid()) {
            std.egress_spec = (bit<9>) hdr.from.port;
            hdr.from.setInvalid();
        } else if (hdr.ipv4.isValid()) {
            last.write(1, hdr.ipv4.dst);
            arrivals.count(1);
            digest<seen_t>(0, { hdr.ipv4.dst });
            routes.apply();
        } else {
            drop();
        }
    }
}
control egress(inout all_t hdr, inout empty_t meta, inout standard_metadata_t std) { apply {} }
control compute(inout all_t hdr, inout empty_t meta) { apply {} }
control deparse(packet_out packet, in all_t hdr) {
    apply { packet.emit(hdr.to); packet.emit(hdr.ethernet); packet.emit(hdr.ipv4); }
}
V1Switch(parse(), check(), ingress(), egress(), compute(), deparse()) main;
"""

START = """\
import pytest

def packet(dst="10.0.2.2", ttl=64, mac="02:00:00:00:00:01"):
    ethernet = bytes.fromhex(mac.replace(":", "")) + bytes.fromhex("020000000002 0800")
    address = bytes(int(each) for each in dst.split("."))
    return ethernet + bytes(8) + bytes([ttl, 17, 0, 0]) + bytes([10, 0, 1, 1]) + address + b"hello"

def router(p4_switch, **options):
    switch = p4_switch("router.p4", **options)
    switch.insert("routes", {"hdr.ipv4.dst": "10.0.2.0/24"}, "forward", mac="02:00:00:00:00:05", port=2)
    return switch

"""


def project(pytester: pytest.Pytester, tests: str) -> None:
    """Write a project without a conftest: a program and a test file, which has `packet` and `router`."""
    pytester.path.joinpath("router.p4").write_text(PROGRAM)
    pytester.path.joinpath("test_router.py").write_text(START + tests)


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run the project's tests in a process, with the plugin as its entry point gives it."""
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:xdist", *plugin_options(), *arguments)


def plugin_options() -> list[str]:
    """Return options that load the plugin, for a checkout that was installed before the entry point was there."""
    known = [each.name for each in entry_points(group="pytest11")]
    return [] if "midflight" in known else ["-p", "midflight.testing.plugin"]
