"""Constructs of P4_16 whose meaning packets show: the embedded switch and BMv2 give the same bytes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from midflight.runtime.devices import open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.engine import Packets
from tests.bmv2 import BMV2
from tests.engine.build import source

KINDS = ["host", pytest.param("bmv2", marks=BMV2)]


@dataclass(frozen=True, slots=True)
class Case:
    """A program, and pairs of a packet and what leaves for it, in hexadecimal digits; an empty text if nothing does."""

    name: str
    program: str
    packets: tuple[tuple[str, str], ...]


FUNCTIONS = """
    bit<8> plus(inout bit<8> q) { q = q + 3; return q; }
    bit<8> minus(in bit<8> p, in bit<8> w) { return p - w; }
"""

CASES = [
    Case(
        "an inout argument is copied in before a later argument changes it",
        source(
            types=FUNCTIONS + "control sub(inout bit<8> p, in bit<8> w) { apply { p = p + w; } }",
            header="bit<8> kind; bit<8> a; bit<8> b;",
            declarations="""
                sub() part;
                action increment(inout bit<8> p, in bit<8> w) { p = p + 1; hdr.h.b = w; }
            """,
            ingress="""
                if (hdr.h.kind == 0) { increment(hdr.h.a, plus(hdr.h.a)); }
                else { part.apply(hdr.h.a, plus(hdr.h.a)); }
                hdr.h.kind = 0xff;
            """,
        ),
        (("001000", "ff1113"), ("011000", "ff2300")),
    ),
    Case(
        "a key is calculated each time before the match, from left to right",
        source(
            types=FUNCTIONS,
            header="bit<8> a; bit<8> b; bit<8> c;",
            declarations="""
                action found(bit<8> n) { hdr.h.c = n; }
                action missed() { hdr.h.c = hdr.h.a; }
                table t {
                    key = {
                        hdr.h.a: exact;
                        plus(hdr.h.a): exact @name("sum");
                        minus(hdr.h.a, hdr.h.b): exact @name("rest");
                    }
                    actions = { found; missed; }
                    default_action = missed;
                    const entries = { (1, 4, 2): found(0xaa); (4, 7, 5): found(0xbb); }
                }
            """,
            ingress="if (t.apply().hit) { hdr.h.b = 0xee; }",
        ),
        (("010200", "04eeaa"), ("040200", "07eebb"), ("020200", "050205")),
    ),
    Case(
        "an argument in a list of actions is calculated when that action runs",
        source(
            types=FUNCTIONS,
            header="bit<8> a; bit<8> b; bit<8> c;",
            declarations="""
                action use(in bit<8> n, bit<8> k) { hdr.h.c = n + k; }
                action other() { }
                table t {
                    key = { hdr.h.a: exact; }
                    actions = { use(plus(hdr.h.b)); other; }
                    default_action = use(plus(hdr.h.b), 0x10);
                    const entries = { 2: other(); }
                }
            """,
            ingress="t.apply();",
        ),
        (("010200", "010515"), ("020200", "020200")),
    ),
    Case(
        "a parser state extracts, advances and verifies under conditions",
        source(
            types="header o_t { bit<8> y; bit<8> z; }",
            headers="o_t o; o_t p;",
            header="bit<8> x; bit<8> e;",
            parser="""
                state start {
                    packet.extract(hdr.h);
                    if (hdr.h.x == 1) { packet.extract(hdr.o); if (hdr.o.y == 7) { packet.extract(hdr.p); } }
                    else if (hdr.h.x == 2) { packet.advance(8); packet.extract(hdr.o); }
                    else { bit<8> n = 4; verify(hdr.h.x < n, error.StackOutOfBounds); hdr.h.e = n; }
                    transition accept;
                }
            """,
            ingress="""
                if (hdr.o.isValid()) { hdr.o.z = 0xaa; }
                if (hdr.p.isValid()) { hdr.p.z = 0xbb; }
                if (std.parser_error == error.PacketTooShort) { hdr.h.e = 1; }
                if (std.parser_error == error.StackOutOfBounds) { hdr.h.e = 2; }
            """,
        ),
        (
            ("0100060011", "010006aa11"),
            ("010007000011", "010007aa00bb"),
            ("01000700", "010107aa"),
            ("010007", "010107"),
            ("0200665544", "020055aa"),
            ("0300", "0304"),
            ("0900", "0902"),
        ),
    ),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=lambda each: each.name)
def test_packets(case: Case, kind: str) -> None:
    with open_device(kind, case.program) as device:
        assert isinstance(device, PacketDevice)
        out = device.process(Packets.from_list([(1, bytes.fromhex(given)) for given, _ in case.packets]))
        left = {int(number): data.hex() for number, (_, data) in zip(out.sources, out, strict=True)}
    assert [left.get(number, "") for number in range(len(case.packets))] == [wanted for _, wanted in case.packets]
