"""Comparison with p4c, if it is installed: it accepts the same programs, with the same P4Info."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from finsy.proto import p4i
from google.protobuf import text_format

from midflight.p4.bounded import INCLUDE
from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from tests.p4.samples import same_info
from tests.p4.skeleton import skeleton

pytestmark = [
    pytest.mark.bmv2,
    pytest.mark.skipif(shutil.which("p4c-bm2-ss") is None, reason="p4c-bm2-ss is not installed"),
]

EVERYTHING = skeleton(
    top="""
        enum bit<16> kind_t { arp = 0x806, ip = 0x800 }
        @controller_header("packet_in") header in_t { bit<16> port; }
        control Inner(inout bit<8> x)(bit<32> slots) {
            register<bit<8>>(slots) total;
            action bump(bit<8> by) { x = x + by; }
            table steps { key = { x: range; } actions = { bump; NoAction; } size = 16; }
            apply { steps.apply(); total.write(0, x); }
        }
        bit<16> folded(in bit<32> x) { if (x > 0xFFFF) { return x[31:16] ^ x[15:0]; } return x[15:0]; }
    """,
    transition="""select(hdr.ethernet.type, hdr.ethernet.source) {
        (0x8847, _): labels; (0x800 &&& 0xFF00, 1 .. 9): accept; default: reject; }""",
    states="""state labels {
        packet.extract(hdr.labels.next);
        transition select(hdr.labels.last.last) { 0: labels; 1: accept; } }""",
    locals="""
        Inner(16) one; Inner(32) two;
        register<kind_t>(4) kinds;
        counter(8, CounterType.packets_and_bytes) seen; direct_counter(CounterType.packets) hits;
        @name("renamed") meter(8, MeterType.bytes) rate;
        action drop() { mark_to_drop(standard_metadata); }
        action go(bit<9> port, @name("where") bit<48> mac) {
            standard_metadata.egress_spec = port; hdr.ethernet.destination = mac; }
        action tag(inout bit<8> x, bit<8> y) { x = x |+| y; }
        table route {
            key = {
                hdr.ethernet.destination: lpm @name("address");
                hdr.labels[0].isValid(): exact;
                meta.pair.first: ternary;
            }
            actions = { go; tag(meta.small); @defaultonly drop; }
            const default_action = drop(); counters = hits; size = 100;
        }
        table last { key = { hdr.ethernet.type: exact; } actions = { drop; NoAction; } }
        table fixed {
            key = { meta.medium: ternary; meta.small: optional; }
            actions = { go; NoAction; }
            const entries = { (1, 7): go(1, 2); (0x10 &&& 0xF0, _): NoAction(); }
        }
    """,
    apply="""
        kinds.write(1, kind_t.ip); one.apply(meta.small); two.apply(hdr.labels[0].ttl);
        meta.medium = folded(meta.wide / 4);
        switch (route.apply().action_run) { go: { seen.count(1); } drop: { exit; } default: { fixed.apply(); } }
        if (!last.apply().hit) { rate.execute_meter(2, meta.small); digest<pair_t>(1, meta.pair); }
        hash(meta.medium, HashAlgorithm.crc32, 16w0, { hdr.ethernet.source, meta.small ++ 8w1 }, 16w1024);
        hdr.labels.push_front(1); hdr.labels[0] = { 1, 0, 1, 64 }; hdr.ethernet.source[7:0] = (bit<8>)meta.signed;
    """,
)

NEW_TYPES = skeleton(
    top="""
        @p4runtime_translation("example.org/port", 32) type bit<9> port_t;
        @p4runtime_translation("example.org/vrf", string) type bit<16> vrf_t;
        @p4runtime_translation("example.org/mac", bit<64>) type bit<48> mac_t;
        type bit<8> plain_t;
        type port_t above_t;
        typedef port_t same_t;
        enum bit<16> kind_t { arp = 0x806, ip = 0x800 }
        struct learned_t { port_t port; vrf_t vrf; plain_t plain; bit<8> other; }
        @controller_header("packet_in") header in_t { bit<9> port; bit<7> pad; }
        struct local_t { port_t port; vrf_t vrf; mac_t mac; plain_t plain; above_t above; same_t same; kind_t kind; }
    """,
    locals="""
        local_t here;
        register<plain_t>(4) plains;
        action go(port_t port, vrf_t vrf, plain_t plain, kind_t kind) { here.port = port; here.vrf = vrf; }
        table first {
            key = { here.port: exact; here.vrf: exact; here.mac: ternary; here.plain: exact; here.kind: exact; }
            actions = { go; NoAction; }
        }
        table second { key = { here.above: exact; here.same: exact; } actions = { go; NoAction; } }
    """,
    apply="""
        here.port = (port_t)standard_metadata.ingress_port; here.vrf = (vrf_t)16w1; here.mac = (mac_t)48w2;
        here.plain = (plain_t)8w3; here.above = (above_t)here.port; here.same = here.port; here.kind = kind_t.ip;
        learned_t learned;
        learned.port = here.port; learned.vrf = here.vrf; learned.plain = here.plain; learned.other = 0;
        first.apply(); second.apply(); plains.write(0, here.plain); digest<learned_t>(1, learned);
    """,
)

ANNOTATIONS = skeleton(
    top="""
        const int LIMIT = 5;
        enum color_t { red, green }
        enum bit<8> kind_t { some = 3 }
        struct inner_t { bit<16> low; @id(7) bit<16> high; }
        @controller_header("packet_in") header in_t { bit<9> port; @mark(a, b) bit<7> pad; inner_t inner; }
    """,
    locals="""
        direct_counter(CounterType.packets) unused; direct_counter(CounterType.bytes) used;
        @brief("Sends.") @tags["fast", LIMIT + 1, true] action go(@mark(x  y) bit<9> port, color_t color) {
            standard_metadata.egress_spec = port; }
        @values[first = 1, second = "two", third = kind_t.some == kind_t.some] @description("Where to.")
        @pragma stage 3
        table route {
            key = { meta.small: exact @brief("Small.") @note[1]; }
            actions = { @note["here"] go; @defaultonly @other NoAction; }
            counters = used;
        }
    """,
    apply="""
        if (false) { mark_to_drop(standard_metadata); }
        route.apply();
        digest(1, { meta.small, meta.signed });
    """,
).replace("V1Switch(", """@pkginfo(name = "mine", version = "1.2", url = "here") @more("of it")
    @platform_property(multicast_group_table_size = 12) V1Switch(""")  # fmt: skip

PROGRAMS = {"everything": EVERYTHING, "new types": NEW_TYPES, "annotations": ANNOTATIONS, "nothing": skeleton()}


def compiled(text: str, folder: Path) -> p4i.P4Info:
    """Return p4c's P4Info for a program that includes our declarations of the architecture."""
    source, info = folder / "program.p4", folder / "info.txtpb"
    source.write_text(text)
    command = ["p4c-bm2-ss", "-I", INCLUDE, "--p4runtime-files", info, "-o", folder / "program.json", source]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    message = p4i.P4Info()
    text_format.Parse(info.read_text(), message)
    return message


@pytest.mark.parametrize("name", PROGRAMS)
def test_p4c_accepts_the_same_programs_with_the_same_p4info(name: str, tmp_path: Path) -> None:
    ours = p4info(check(PROGRAMS[name], "program.p4"))
    assert same_info(ours, compiled(PROGRAMS[name], tmp_path)) == ""
