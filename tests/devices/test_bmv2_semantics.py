"""Corner cases and open points of v1model: the embedded switch agrees with BMv2, with documented exceptions."""

from __future__ import annotations

from random import Random

import pytest

from midflight.primitives import Header, Packet, Primitive, Program, bit
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices import open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import Session
from tests.bmv2 import BMV2
from tests.devices.probes import compare, on_both, packet, packets, program
from tests.primitives.rig import DeviceRig, Sent

pytestmark = BMV2

PATIENCE = 20.0

ARITHMETIC = [
    # Shifts, also by the width and more.
    "hdr.h.r = (bit<64>)(hdr.h.a << hdr.h.n);",
    "hdr.h.r = (bit<64>)(hdr.h.a >> hdr.h.n);",
    "hdr.h.r = (bit<64>)(bit<16>)(hdr.h.s << hdr.h.n);",
    "hdr.h.r = (bit<64>)(bit<16>)(hdr.h.s >> hdr.h.n);",
    "hdr.h.r = hdr.h.w << hdr.h.n;",
    "hdr.h.r = hdr.h.w >> hdr.h.n;",
    "if ((hdr.h.s >> 1) < 0) { hdr.h.r = 1; } else { hdr.h.r = 0; }",
    "if ((hdr.h.s << 3) < 0) { hdr.h.r = 1; } else { hdr.h.r = 0; }",
    "if ((hdr.h.a << 3) > 0x8000) { hdr.h.r = 1; } else { hdr.h.r = 0; }",
    # Saturating operators.
    "hdr.h.r = (bit<64>)(hdr.h.a |+| hdr.h.b);",
    "hdr.h.r = (bit<64>)(hdr.h.a |-| hdr.h.b);",
    "hdr.h.r = (bit<64>)(bit<16>)(hdr.h.s |+| hdr.h.t);",
    "hdr.h.r = (bit<64>)(bit<16>)(hdr.h.s |-| hdr.h.t);",
    "if ((hdr.h.s |+| hdr.h.t) < -100) { hdr.h.r = 1; } else { hdr.h.r = 0; }",
    "if ((hdr.h.a |-| hdr.h.b) == 0) { hdr.h.r = 1; } else { hdr.h.r = 0; }",
    # Operators that wrap, also inside a larger expression.
    "hdr.h.r = (bit<64>)(hdr.h.a - hdr.h.b);",
    "hdr.h.r = (bit<64>)(hdr.h.a * hdr.h.b);",
    "hdr.h.r = (bit<64>)(bit<16>)(hdr.h.s * hdr.h.t);",
    "hdr.h.r = (bit<64>)(-hdr.h.a);",
    "hdr.h.r = (bit<64>)(bit<16>)(-hdr.h.s);",
    "if (hdr.h.s - hdr.h.t < 0) { hdr.h.r = 1; } else { hdr.h.r = 0; }",
    "if (hdr.h.s * hdr.h.t > 9) { hdr.h.r = 1; } else { hdr.h.r = 0; }",
    "if (hdr.h.a - hdr.h.b > 3) { hdr.h.r = 1; } else { hdr.h.r = 0; }",
    "if ((hdr.h.a + hdr.h.b) > hdr.h.a) { hdr.h.r = 1; } else { hdr.h.r = 0; }",
    "if (-hdr.h.s > 0) { hdr.h.r = 1; } else { hdr.h.r = 0; }",
    "if (~hdr.h.a > 5) { hdr.h.r = 1; } else { hdr.h.r = 0; }",
    "if (~hdr.h.s > 5) { hdr.h.r = 1; } else { hdr.h.r = 0; }",
    "int<16> x = hdr.h.s; if (x < 0) { x = -x; } hdr.h.t = x; if (x < 0) { hdr.h.r = 77; }",
    "int<16> x = hdr.h.s |-| 1000; x = x >> 2; if (x >= -5) { x = x + 32767; } hdr.h.t = x;",
    "bit<128> x = hdr.h.w ++ hdr.h.r; x = x * x + (bit<128>)hdr.h.a; hdr.h.w = x[127:64]; hdr.h.r = x[63:0];",
    # Conversions between types.
    "hdr.h.r = (bit<64>)(bit<32>)(int<32>)hdr.h.s;",
    "hdr.h.r = (bit<64>)(int<64>)hdr.h.s;",
    "int<8> x = (int<8>)hdr.h.n; hdr.h.t = (int<16>)x; if (x < -1) { hdr.h.r = 8; }",
    "hdr.h.t = (int<16>)(hdr.h.a + 1); if (hdr.h.t < 0) { hdr.h.r = 9; }",
    "hdr.h.r = (bit<64>)(hdr.h.a[11:4] ++ hdr.h.b[3:0]);",
    "hdr.h.r[19:4] = hdr.h.a;",
    "hdr.h.r = (bit<64>)(bit<32>)(hdr.h.s ++ hdr.h.t);",
    "hdr.h.r = (bit<64>)(bit<16>)(hdr.h.s & hdr.h.t | hdr.h.s ^ 5);",
    "bit<16> x = hdr.h.a % 8; bit<16> y = hdr.h.b / 4; hdr.h.r = (bit<64>)(x ++ y);",
    "hash(hdr.h.a, HashAlgorithm.crc32, 16w60000, {hdr.h.w, hdr.h.b}, 16w65000);",
    "hash(hdr.h.a, HashAlgorithm.crc16, 16w5, {hdr.h.n, hdr.h.s}, 16w0);",
    "hash(hdr.h.a, HashAlgorithm.csum16, 16w5, {hdr.h.n, 4w3, 4w1}, 16w1);",
]


def test_arithmetic() -> None:
    random = Random(1)
    arrivals = [(1, each) for number in range(len(ARITHMETIC)) for each in packets(number, random, 20)]
    left, _ = compare(program(ARITHMETIC), ARITHMETIC, arrivals)
    assert len(left) == len(arrivals)


HEADERS = [
    "hdr.o.setValid(); hdr.o.x = 1; hdr.o.y = 2; hdr.o.setInvalid(); hdr.o.setValid(); hdr.o.y = 3; hdr.o.x = 4;",
    "hdr.o.setValid(); hdr.o = {1, 2}; hdr.o.setValid();",
    "hdr.o = {3, 4};",
    "hdr.o = {3, 4}; hdr.o2 = hdr.o;",
    "hdr.o2 = hdr.o;",
    "if (hdr.o == hdr.o2) { hdr.h.r = 1; } else { hdr.h.r = 2; }",
    "hdr.o = {3, 4}; if (hdr.o == hdr.o2) { hdr.h.r = 1; } else { hdr.h.r = 2; }",
    "hdr.o = {3, 4}; hdr.o2 = {3, 4}; if (hdr.o == hdr.o2) { hdr.h.r = 1; } else { hdr.h.r = 2; }",
    "hdr.k[0] = {1}; hdr.k[1] = {2}; hdr.k.push_front(1);",
    "hdr.k[0] = {1}; hdr.k[1] = {2}; hdr.k.push_front(2); hdr.k[0] = {9};",
    "hdr.k[0] = {1}; hdr.k[1] = {2}; hdr.k.pop_front(1);",
    "hdr.k[0] = {1}; hdr.k[2] = {2}; hdr.k.pop_front(2);",
    "hdr.h.setInvalid();",
    "hdr.h.r = (bit<64>)standard_metadata.packet_length;",
    "truncate(10);",
    "truncate(0);",
    "hdr.h.setInvalid(); truncate(3);",
    "hdr.o = {1, 2}; truncate(30);",
    "hdr.h.r = (bit<64>)standard_metadata.egress_port | (bit<64>)standard_metadata.ingress_port << 16;",
    "if (hdr.h.n < 9) { exit; } hdr.h.r = 1;",
    "if (hdr.h.n < 9) { return; } hdr.h.r = 1;",
]

PARSER = """
    state one { packet.extract(hdr.o); transition accept; }
    state stack { packet.extract(hdr.k.next); transition select(hdr.k.last.v) { 0: accept; default: stack; } }
    state verified { verify(hdr.h.n != 7, error.HeaderTooShort); transition one; }
    state looks { meta.mark = packet.lookahead<item_t>().v; transition select(meta.mark) { 1: one; default: accept; } }
    state far { packet.advance((bit<32>)hdr.h.n << 3); transition one; }
    state both { transition select(hdr.h.n, hdr.h.a) { (1, _): one; (_, 5): one; default: accept; } }
    state masked { transition select(hdr.h.n) { 2 &&& 6: one; 9..12: one; default: accept; } }
    state rejects { packet.extract(hdr.o); transition select(hdr.o.x) { 1: reject; default: accept; } }
"""
START = """select(hdr.h.piece) {
        100: one; 101: stack; 102: verified; 103: looks; 104: far; 105: both; 106: masked; 107: rejects;
        default: accept;
    }"""
VERDICTS = """
    if (standard_metadata.parser_error == error.NoError) { hdr.h.b = 1; }
    else if (standard_metadata.parser_error == error.PacketTooShort) { hdr.h.b = 2; }
    else if (standard_metadata.parser_error == error.StackOutOfBounds) { hdr.h.b = 3; }
    else if (standard_metadata.parser_error == error.HeaderTooShort) { hdr.h.b = 4; }
    else if (standard_metadata.parser_error == error.NoMatch) { hdr.h.b = 5; }
    else { hdr.h.b = 6; }
"""


def test_headers_and_parsing() -> None:
    random = Random(2)
    arrivals = [(1, each) for number in range(len(HEADERS)) for each in packets(number, random, 10)]
    for piece in range(100, 108):
        for _ in range(40):
            rest = bytes(random.choice((0, 0, 1, 1, 2, 7)) for _ in range(random.choice((0, 1, 2, 3, 4, 5, 9, 20))))
            n = random.choice((0, 1, 2, 3, 4, 6, 7, 8, 9, 12, 13, 200))
            arrivals.append((1, packet(piece, n, random.choice((5, 6)), rest=rest)))
    arrivals += [(1, packet(100)[:length]) for length in range(1, 28)]
    random.shuffle(arrivals)
    # Also in egress, where the length differs.
    length = "hdr.h.w = (bit<64>)standard_metadata.packet_length;"
    egress = {number: length for number, piece in enumerate(HEADERS) if "setInvalid" not in piece}
    source = program([*HEADERS], egress, start=START, states=PARSER)
    source = source.replace("if (!hdr.h.isValid()) { return; }", "if (!hdr.h.isValid()) { return; }" + VERDICTS, 1)
    left, _ = compare(source, HEADERS, arrivals)
    verdicts = {data[5] for number, each in left.items() for _, data in each if len(data) > 25 and data[0] >= 100}
    assert verdicts == {1, 2, 3, 4}


TRAFFIC = [
    ("standard_metadata.mcast_grp = 3; mark_to_drop(standard_metadata);", ""),
    ("mark_to_drop(standard_metadata); standard_metadata.mcast_grp = 3;", ""),
    ("standard_metadata.mcast_grp = 3; standard_metadata.egress_spec = 511;", ""),
    ("standard_metadata.mcast_grp = 99;", ""),
    ("mark_to_drop(standard_metadata); standard_metadata.egress_spec = 4;", ""),
    ("standard_metadata.egress_spec = 511;", ""),
    ("standard_metadata.egress_spec = 0;", "hdr.h.w = (bit<64>)standard_metadata.egress_spec;"),
    ("", "standard_metadata.egress_spec = 511;"),
    ("", "mark_to_drop(standard_metadata); standard_metadata.egress_spec = 4;"),
    ("", "standard_metadata.egress_spec = 5;"),
    (
        "clone(CloneType.I2E, 7); hdr.h.a = 5;",
        "hdr.h.b = (bit<16>)standard_metadata.instance_type; hdr.h.w = (bit<64>)standard_metadata.packet_length;",
    ),
    ("clone(CloneType.I2E, 7); mark_to_drop(standard_metadata);", ""),
    ("clone(CloneType.I2E, 7); clone(CloneType.I2E, 8);", "hdr.h.b = (bit<16>)standard_metadata.egress_rid;"),
    ("clone(CloneType.I2E, 99);", ""),
    ("standard_metadata.mcast_grp = 3; clone(CloneType.I2E, 7);", ""),
    ("hdr.o = {1, 2}; truncate(12); clone(CloneType.I2E, 7);", ""),
    (
        "meta.kept = 77; meta.lost = 66; clone_preserving_field_list(CloneType.I2E, 7, 1); meta.kept = 78;",
        "hdr.h.b = meta.kept; hdr.h.r = (bit<64>)meta.lost;",
    ),
    (
        "",
        "if (standard_metadata.instance_type == 0) { meta.kept = 3; meta.lost = 4; hdr.h.a = 6;"
        " clone_preserving_field_list(CloneType.E2E, 7, 1); hdr.h.b = 7; }"
        " else { hdr.h.w = (bit<64>)meta.kept; hdr.h.r = (bit<64>)meta.lost; }",
    ),
    (
        "meta.mark = 2;",
        "if (standard_metadata.instance_type == 0) { clone(CloneType.E2E, 7); mark_to_drop(standard_metadata); }"
        " else { hdr.h.a = (bit<16>)standard_metadata.ingress_port; hdr.h.r = (bit<64>)meta.mark; }",
    ),
    (
        "if (standard_metadata.instance_type == 0) { meta.kept = 5; meta.lost = 6; resubmit_preserving_field_list(1);"
        " hdr.h.r = 1; mark_to_drop(standard_metadata); }"
        " else { hdr.h.w = (bit<64>)meta.kept; hdr.h.a = (bit<16>)standard_metadata.ingress_port; }",
        "hdr.h.b = meta.lost; hdr.h.t = (int<16>)(bit<16>)standard_metadata.instance_type;",
    ),
    (
        "hdr.h.w = (bit<64>)standard_metadata.instance_type; hdr.h.a = (bit<16>)standard_metadata.ingress_port;"
        " hdr.h.b = meta.kept; hdr.h.r = (bit<64>)standard_metadata.packet_length;",
        "if (hdr.h.n != 99) { meta.kept = 12; hdr.o = {1, 2}; hdr.h.n = 99; recirculate_preserving_field_list(1); }",
    ),
    (
        "meta.kept = 9; standard_metadata.mcast_grp = 4; hdr.h.a = 1;",
        "hdr.h.b = (bit<16>)standard_metadata.egress_rid; hdr.h.n = (bit<8>)meta.kept;"
        " hdr.h.w = (bit<64>)standard_metadata.instance_type; hdr.h.r = (bit<64>)standard_metadata.egress_port;"
        " if (standard_metadata.egress_port == 2) { hdr.h.a = 8; }"
        " if (standard_metadata.egress_rid == 2) { mark_to_drop(standard_metadata); }",
    ),
    ("standard_metadata.egress_spec = 510;", ""),
    ("counted.count((bit<32>)hdr.h.n & 15); hdr.o = {1, 2};", ""),
    (
        "bit<16> x; numbers.read(x, (bit<32>)hdr.h.n & 15); numbers.write((bit<32>)hdr.h.n & 15, x + 1); hdr.h.a = x;",
        "",
    ),
    ("int<16> x; signed.read(x, 1); x = (int<16>)(bit<16>)x; x = (x - 3) >> 1; signed.write(1, x); hdr.h.s = x;", ""),
]
STATE = """
    counter(16, CounterType.packets_and_bytes) counted;
    register<bit<16>>(16) numbers;
    register<int<16>>(4) signed;
"""


def test_destinations_of_packets() -> None:
    def prepare(session: Session) -> None:
        session.multicast(3, [2, 3])
        session.multicast(4, [(1, 1), (2, 2), (3, 3), (3, 4)])
        session.clone_session(7, [6])
        session.clone_session(8, [(7, 1), (8, 2)])

    def ask(session: Session) -> object:
        counts = session.read_counter("counted")
        return counts.packets.tolist(), counts.bytes.tolist(), [each.payload for each in session.packets_in()]

    random = Random(3)
    pieces = [each for each, _ in TRAFFIC]
    arrivals = [
        (random.choice((1, 2, 5)), each) for number in range(len(TRAFFIC)) for each in packets(number, random, 5)
    ]
    random.shuffle(arrivals)
    source = program(pieces, {number: each for number, (_, each) in enumerate(TRAFFIC) if each}, declarations=STATE)
    left, (counted, _, inward) = compare(source, pieces, arrivals, prepare=prepare, ask=ask)
    assert sum(counted) == len(inward) == 5
    assert {port for each in left.values() for port, _ in each} >= {0, 2, 3, 4, 6, 7, 8}


TABLES = """
    action set(bit<64> v) { hdr.h.r = v; }
    action swapped() { bit<16> t = hdr.h.a; hdr.h.a = hdr.h.b; hdr.h.b = t; }
    action both(bit<16> x, bit<16> y) { hdr.h.a = y; hdr.h.b = x + hdr.h.b; }
    action leave() { exit; }
    table exactly { key = { hdr.h.a: exact; hdr.h.n: exact; } actions = { set; both; } default_action = set(99); }
    table prefix { key = { hdr.h.n: exact; hdr.h.a: lpm; } actions = { set; swapped; leave; NoAction; } }
    table masked { key = { hdr.h.a: ternary; hdr.h.n: ternary; } actions = { set; swapped; NoAction; } }
    table ranged { key = { hdr.h.a: range; hdr.h.b: optional; hdr.h.n: exact; } actions = { set; NoAction; } }
    table fixed {
        key = { hdr.h.a: ternary; hdr.h.n: range; }
        actions = { set; NoAction; }
        const entries = { (1 &&& 1, 1..9): set(1); (_, 3..200): set(2); (0x8001, _): set(3); }
    }
    table shape {
        key = { hdr.o.isValid(): exact; hdr.h.w ++ hdr.h.r: ternary @name("wide"); hdr.h.a + 1: exact @name("next"); }
        actions = { set; NoAction; }
    }
"""
APPLIES = [
    "exactly.apply();",
    "switch (prefix.apply().action_run) { set: { hdr.h.t = 3; } swapped: { hdr.h.t = 4; } default: { hdr.h.t = 5; } }",
    "if (masked.apply().hit) { hdr.h.t = 1; } else { hdr.h.t = 2; }",
    "if (ranged.apply().miss) { hdr.h.t = 1; }",
    "fixed.apply();",
    "if (hdr.h.n > 8) { hdr.o = {1, 2}; } shape.apply();",
    "switch (hdr.h.n) { 1: { hdr.h.t = 3; } 2: 3: { hdr.h.t = 4; } default: { hdr.h.t = 5; } }",
]


def fill(session: Session) -> None:
    """Insert overlapping entries, some with equal priorities."""
    for a in (0, 1, 7, 0x8000, 0xFFFF):
        session.insert("exactly", {"hdr.h.a": a, "hdr.h.n": a & 7}, "set", {"v": a * 3})
    session.insert("exactly", {"hdr.h.a": 8, "hdr.h.n": 8}, "both", {"x": 1, "y": 2})
    match: dict[str, object]
    prefixes = [(0, 0, 1), (0, 0x8000, 1), (0, 0x8000, 16), (1, 0, 0), (1, 0x8000, 8), (2, 0xFF00, 8), (3, 0, 15)]
    for number, (n, a, length) in enumerate(prefixes):
        action, params = [("set", {"v": number}), ("swapped", {}), ("leave", {})][number % 3]
        match = {"hdr.h.n": n} | ({"hdr.h.a": (a, length)} if length else {})
        session.insert("prefix", match, action, params)
    masks = [
        (1, 1, 0, 0, 5),
        (0, 0x8000, 0, 0, 3),
        (0x8000, 0x8000, 1, 1, 9),
        (0xFFFF, 0xFFFF, 0, 0, 5),
        (0, 1, 2, 2, 1),
    ]
    for number, (a, a_mask, n, n_mask, priority) in enumerate(masks):
        match = {"hdr.h.a": (a, a_mask)}
        match |= {"hdr.h.n": (n, n_mask)} if n_mask else {}
        session.insert("masked", match, "set", {"v": number + 1}, priority=priority)
    ranges = [(0, 10, None, 0), (5, 20, None, 0), (5, 20, 1, 0), (0x7FFF, 0xFFFF, None, 1), (1, 0xFFFF, 7, 1)]
    for number, (low, high, b, n) in enumerate(ranges):
        match = {"hdr.h.n": n, "hdr.h.a": (low, high)} | ({} if b is None else {"hdr.h.b": b})
        session.insert("ranged", match, "set", {"v": number + 1}, priority=9 - number if number != 2 else 20)
    for number in range(6):
        match = {"hdr.o.$valid$": number & 1, "wide": (number, number or 1), "next": number}
        session.insert("shape", match, "set", {"v": number + 50}, priority=number + 1)


def test_tables() -> None:
    random = Random(4)
    values = (0, 1, 2, 3, 5, 7, 8, 10, 11, 20, 21, 0x4000, 0x7FFF, 0x8000, 0x8001, 0x80FF, 0x8100, 0xFF00, 0xFFFF)
    arrivals = []
    for piece in range(len(APPLIES)):
        for _ in range(60):
            a = random.choice(values)
            n = min(a, 8 if a == 8 else a & 7) if piece == 0 else random.choice((0, 0, 1, 1, 2, 3, 7, 8, 9, 200, 201))
            b, w, r = random.choice((0, 1, 7)), random.choice((0, 1, 2**63)), random.choice((0, 1, 3, 5))
            arrivals.append((1, packet(piece, n, a, b, w=w, r=r)))
    compare(program(APPLIES, declarations=TABLES), APPLIES, arrivals, prepare=fill)


class Two(Primitive):
    """Raises alerts in two places."""

    class Wire(Header):
        a = bit[16]
        b = bit[32]

    def setup(self) -> None:
        pass

    def ingress(self, packet: Packet, wire: Wire) -> None:
        if wire.a > 5:
            packet.alert(wire.a, wire.b)
        elif wire.b > 7:
            packet.alert(wire.a, bit[32](0))
        packet.forward()


@pytest.mark.parametrize("kind", ["host", "bmv2"])
def test_alerts_of_several_places_in_a_kernel_arrive_in_order(kind: str) -> None:
    with DeviceRig(Program(Two("two")), kind) as rig:
        for a, b in ((1, 1), (6, 3), (2, 9), (7, 9)):
            rig.process(Packets.from_list([(1, rig.frame(Sent("two", 1, {"a": a, "b": b})))]))
        reported: list[tuple[int, ...]] = []
        while len(reported) < 3 and (more := rig.session.digests(timeout=PATIENCE)):
            reported += [tuple(each.values.values()) for each in more]
    assert reported == [(6, 3), (2, 0), (7, 9)]


# Differences, which the docstring of the module `bmv2` lists.


def test_bmv2_accepts_a_packet_without_a_matching_case() -> None:
    """By the specification (section 12.6) it is an error, also on the embedded switch."""
    states = "state nowhere { transition select(hdr.h.n) { 1: accept; } }"
    source = program([VERDICTS], start="nowhere;", states=states)
    (host, _), (bmv2, _) = on_both(source, [(1, packet(0, n=1)), (1, packet(0, n=2))])
    assert [host[each][0][1][5] for each in (0, 1)] == [1, 5]
    assert [bmv2[each][0][1][5] for each in (0, 1)] == [1, 1]


def test_bmv2_sends_one_digest_per_packet() -> None:
    declarations = "struct also_t { bit<16> first; bit<16> second; }"
    source = program(["digest<told_t>(1, {hdr.h.a, 1}); digest<also_t>(1, {hdr.h.a, 2});"])
    source = source.replace("struct told_t", declarations + "\nstruct told_t")
    reported = []
    for kind in ("host", "bmv2"):
        with open_device(kind) as device, device.session() as session:
            assert isinstance(device, PacketDevice)
            pipeline = device.compile(CheckedProgram(source))
            session.load(pipeline.p4info, pipeline.config)
            session.subscribe("told_t")
            session.subscribe("also_t")
            device.process(Packets.from_list([(1, packet(0, a=5))]))
            reported.append([each.name for each in session.digests(timeout=PATIENCE)])
    assert reported == [["told_t", "also_t"], ["also_t"]]


def test_bmv2_reads_a_negative_number_from_a_register_as_a_large_one() -> None:
    """A cast to bits and back corrects it, as in generated programs."""
    declarations = "register<int<16>>(1) signed;"
    reads = "int<16> x; signed.write(0, -5); signed.read(x, 0); %s if (x < 0) { hdr.h.r = 1; }"
    source = program([reads % "", reads % "x = (int<16>)(bit<16>)x;"], declarations=declarations)
    (host, _), (bmv2, _) = on_both(source, [(1, packet(0)), (1, packet(1))])
    assert [host[each][0][1][25] for each in (0, 1)] == [1, 1]
    assert [bmv2[each][0][1][25] for each in (0, 1)] == [0, 1]
