"""Small P4 programs as XDP programs, by test runs: what leaves is what leaves the embedded switch."""

from __future__ import annotations

import pytest

from midflight.p4 import ir
from midflight.runtime.engine import Entry, Packets
from tests.bpf.build import both, compare, needs_bpf
from tests.engine.build import source

pytestmark = needs_bpf

WIDE = "bit<64> a; bit<32> b; bit<16> c; bit<128> d;"
FRAME = bytes(range(40))


def forwarding(kind: str) -> str:
    return source(
        header=WIDE,
        declarations=f"""
            action to(bit<9> port, bit<16> c) {{ std.egress_spec = port; hdr.h.c = c; }}
            action drop() {{ mark_to_drop(std); }}
            table t {{ key = {{ hdr.h.b: {kind}; }} actions = {{ to; drop; }} default_action = drop(); size = 64; }}
        """,
        ingress="t.apply();",
    )


def frame(b: int, length: int = 40) -> bytes:
    return bytes(8) + b.to_bytes(4, "big") + bytes(range(length - 12))


@pytest.mark.parametrize("length", [30, 31, 60, 61, 1514, 3500])
def test_a_packet_is_forwarded_with_its_payload(length: int) -> None:
    engines = both(source(header=WIDE, ingress="std.egress_spec = 3; hdr.h.c = hdr.h.c + 1;"))
    ((port, packet),) = compare(engines, [(1, bytes(n % 251 for n in range(length)))])
    assert port == 3
    assert len(packet) == length


def test_packets_that_are_too_short_for_the_parser_keep_their_bytes() -> None:
    engines = both(source(header=WIDE, ingress="std.egress_spec = 3;"))
    assert compare(engines, [(1, bytes(range(20)))]) == [(3, bytes(range(20)))]


def test_short_packets_are_tested_too() -> None:
    engines = both(source(ingress="std.egress_spec = 3; hdr.h.x = hdr.h.x + 1;"))
    sent = [(1, b"a"), (1, b"bcd"), (1, bytes(13))]
    assert compare(engines, sent) == [(3, b"b"), (3, b"ccd"), (3, b"\1" + bytes(12))]


@pytest.mark.parametrize("valid", ["setInvalid", "setValid"])
def test_headers_come_and_go(valid: str) -> None:
    engines = both(
        source(
            header=WIDE, headers="h_t more;", ingress=f"std.egress_spec = 3; hdr.more.{valid}(); hdr.h.setInvalid();"
        )
    )
    ((_, packet),) = compare(engines, [(1, bytes(range(100)))])
    assert len(packet) == (70 if valid == "setInvalid" else 100)


@pytest.mark.parametrize("kind", ["exact", "lpm", "ternary", "range", "optional"])
def test_tables_choose_as_on_the_embedded_switch(kind: str) -> None:
    engines = both(forwarding(kind))
    for number in range(40):
        key = {
            "exact": ir.EntryKey(number * 7),
            "lpm": ir.EntryKey(number << 24, mask=(0xFFFFFFFF << (24 - number % 9)) & 0xFFFFFFFF),
            "ternary": ir.EntryKey(number << (number % 20), mask=0xFF << (number % 20)),
            "range": ir.EntryKey(number * 5, high=number * 5 + number % 13),
            "optional": ir.EntryKey(number * 3),
        }[kind]
        entry = Entry((key,), "ingress.to", (number + 1, number), 0 if kind in ("exact", "lpm") else number + 1)
        for engine in engines:
            engine.tables["ingress.t"].insert(entry)
    found = compare(engines, [(1, frame(n * 3 << shift)) for n in range(100) for shift in (0, 9, 22)])
    assert 10 < len(found) < 300


def test_a_deleted_entry_no_longer_matches() -> None:
    engines = both(forwarding("exact"))
    for engine in engines:
        engine.tables["ingress.t"].insert(Entry((ir.EntryKey(9),), "ingress.to", (4, 5)))
    assert len(compare(engines, [(1, frame(9))])) == 1
    for engine in engines:
        engine.tables["ingress.t"].delete((ir.EntryKey(9),))
        engine.tables["ingress.t"].set_default("ingress.to", (6, 7))
    assert [port for port, _ in compare(engines, [(1, frame(9))])] == [6]


def test_registers_counters_and_meters_keep_what_packets_did() -> None:
    text = source(
        header=WIDE,
        metadata="bit<8> colour;",
        declarations="""
            register<bit<48>>(16) r; counter(4, CounterType.packets_and_bytes) n; meter(2, MeterType.packets) m;
        """,
        ingress="""
            bit<48> old; r.read(old, (bit<32>)hdr.h.c); r.write((bit<32>)hdr.h.c, old + 3); n.count(2);
            m.execute_meter(32w1, meta.colour); hdr.h.a = (bit<64>)old; hdr.h.b = (bit<32>)meta.colour;
            std.egress_spec = 3;
        """,
    )
    engines = both(text)
    packets = [(1, bytes(12) + c.to_bytes(2, "big") + bytes(30)) for c in (0, 1, 1, 15, 16, 999)]
    for now in (1000, 2000):
        compare(engines, packets, now)
    assert engines[0].registers["ingress.r"].read_all().tolist() == [6, 12] + [0] * 13 + [6]
    assert engines[0].counters["ingress.n"].read(2) == engines[1].counters["ingress.n"].read(2)
    engines[0].registers["ingress.r"].write(15, 77)
    ((_, packet),) = engines[0].process(Packets.from_list([packets[3]]))
    assert packet[7] == 77


def test_copies_of_multicasts_and_clones_leave_with_their_own_egress() -> None:
    text = source(
        header=WIDE,
        metadata="@field_list(1) bit<8> kept;",
        ingress="""
            meta.kept = 5;
            if (hdr.h.c == 1) { std.mcast_grp = 3; }
            else { std.egress_spec = 9; clone_preserving_field_list(CloneType.I2E, 2, 1); }
        """,
        egress="""
            hdr.h.b = (bit<32>)std.egress_rid;
            hdr.h.a[7:0] = meta.kept;
            hdr.h.a[8:8] = (bit<1>)(std.instance_type == 1);
        """,
    )
    engines = both(text)
    for engine in engines:
        engine.multicast.set(3, [(port, port * 2) for port in range(1, 40)])
        engine.clones.set(2, [(7, 70), (8, 80)])
    packets = [(1, bytes(12) + c.to_bytes(2, "big") + bytes(300)) for c in (1, 2)]
    assert len(compare(engines, packets)) == 39 + 3


def test_each_copy_has_its_payload() -> None:
    text = source(
        types="header more_t { bit<32> y; }",
        header="bit<16> x;",
        headers="more_t more;",
        parser="""
            state start { packet.extract(hdr.h); transition select(hdr.h.x) { 1: more; default: accept; } }
            state more { packet.extract(hdr.more); transition accept; }
        """,
        ingress="std.mcast_grp = 3; if (hdr.h.x == 2) { hdr.more.setValid(); hdr.more.y = 7; }",
        egress="hdr.h.x = (bit<16>)std.egress_port; if (std.egress_port == 5) { hdr.more.setInvalid(); }",
        deparser="packet.emit(hdr.h); packet.emit(hdr.more);",
    )
    engines = both(text)
    for engine in engines:
        engine.multicast.set(3, [(port, 0) for port in (4, 5, 6)])
    payload = bytes(range(100, 200))
    compare(engines, [(1, bytes([0, kind]) + payload[:length]) for kind in (0, 1, 2) for length in (3, 20, 100)])


def test_packets_go_round_again() -> None:
    text = source(
        header=WIDE,
        metadata="@field_list(1) bit<8> rounds;",
        ingress="""
            std.egress_spec = 4;
            if (hdr.h.c == 1 && meta.rounds < 3) { meta.rounds = meta.rounds + 1; resubmit_preserving_field_list(1); }
        """,
        egress="""
            hdr.h.b = (bit<32>)meta.rounds;
            if (hdr.h.c > 100) { hdr.h.c = hdr.h.c - 1; recirculate_preserving_field_list(1); }
            if (hdr.h.c == 55 && std.instance_type == 0) { clone_preserving_field_list(CloneType.E2E, 2, 1); }
        """,
    )
    engines = both(text)
    for engine in engines:
        engine.clones.set(2, [(7, 70)])
    packets = [(1, bytes(12) + c.to_bytes(2, "big") + bytes(30)) for c in (1, 104, 55)]
    assert len(compare(engines, packets)) == 4


def test_digests_checksums_hashes_and_wide_arithmetic() -> None:
    text = source(
        header=WIDE,
        types="struct note_t { bit<128> d; bit<16> c; }",
        metadata="bit<16> sum; note_t note;",
        ingress="""
            std.egress_spec = 4;
            hash(hdr.h.b, HashAlgorithm.crc32, 32w0, { hdr.h.a, hdr.h.d }, 32w0xFFFFFFFF);
            hdr.h.d = hdr.h.d * (bit<128>)hdr.h.a + (hdr.h.d >> hdr.h.c[6:0]);
            meta.note.d = hdr.h.d; meta.note.c = hdr.h.c; digest<note_t>(1, meta.note);
        """,
        compute="update_checksum(true, { hdr.h.a, hdr.h.b, hdr.h.d }, hdr.h.c, HashAlgorithm.csum16);",
    )
    engines = both(text)
    packets = [(1, bytes((n * n + k * 7) % 256 for k in range(60))) for n in range(20)]
    assert len(compare(engines, packets)) == 20


def test_packets_to_the_controller_and_drops() -> None:
    engines = both(source(header=WIDE, ingress="std.egress_spec = (bit<9>)hdr.h.c;"))
    packets = [(1, bytes(12) + c.to_bytes(2, "big") + bytes(2000)) for c in (510, 511, 5)]
    assert [port for port, _ in compare(engines, packets)] == [510, 5]
    assert engines[0].stats.dropped["ingress"] == 1
    assert engines[0].stats.received == 3


def test_random_numbers_come_from_the_seed() -> None:
    engines = both(source(header=WIDE, ingress="random(hdr.h.b, 0, 1000000); std.egress_spec = 1;"))
    assert len({packet for _, packet in compare(engines, [(1, FRAME)] * 10)}) == 10


def test_stacks_are_parsed_in_a_loop() -> None:
    text = source(
        types="header tag_t { bit<15> value; bit<1> last; }",
        header=WIDE,
        headers="tag_t[4] tags;",
        parser="""
            state start { packet.extract(hdr.h); transition more; }
            state more {
                packet.extract(hdr.tags.next);
                transition select(hdr.tags.last.last) { 0: more; default: accept; }
            }
        """,
        ingress="""
            std.egress_spec = 3;
            hdr.tags.pop_front(1);
            hdr.h.c = (bit<16>)(bit<1>)(std.parser_error != error.NoError);
        """,
    )
    engines = both(text)
    packets = [(1, bytes(30) + bytes([0, 2] * count + [0, 3]) + bytes(9)) for count in range(6)]
    assert len(compare(engines, packets)) == 6
