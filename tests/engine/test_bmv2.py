"""The known differences between the embedded switch and BMv2, from docs/semantics.md: both still behave so."""

from __future__ import annotations

import pytest

from midflight.runtime.devices import open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.engine import Packets
from tests.bmv2 import BMV2
from tests.engine.build import source

NO_MATCH, TWICE, SHORTER, MIXED = 1, 2, 3, 5
PROGRAM = source(
    header="bit<8> which; bit<8> answer; bit<8> rounds; bit<104> rest;",
    types="struct note_t { bit<8> which; bit<8> number; } struct other_t { bit<8> which; bit<8> number; }",
    parser="""state start { packet.extract(hdr.h); transition select(hdr.h.which) { 2 .. 5: accept; } }""",
    ingress="""
        std.egress_spec = 1;
        if (std.parser_error == error.NoMatch) { hdr.h.answer = 1; }
        if (hdr.h.which == 2) { digest<note_t>(1, { hdr.h.which, 8w1 }); digest<note_t>(1, { hdr.h.which, 8w2 }); }
        if (hdr.h.which == 5) { digest<note_t>(1, { hdr.h.which, 8w3 }); digest<other_t>(1, { hdr.h.which, 8w4 }); }
    """,
    egress="""
        if (hdr.h.which == 3 && hdr.h.rounds == 0) {
            hdr.h.rounds = 1; truncate(20); recirculate_preserving_field_list(0);
        }
    """,
    deparser="packet.emit(hdr.h);",
)


@pytest.mark.parametrize(
    ("kind", "reported", "numbers", "length"),
    [("host", 1, [1, 2, 3, 4], 20), pytest.param("bmv2", 0, [2, 4], 60, marks=BMV2)],
)
def test_known_differences(kind: str, reported: int, numbers: list[int], length: int) -> None:
    packets = [(1, bytes([which]) + bytes(59)) for which in (NO_MATCH, TWICE, SHORTER, MIXED)]
    with open_device(kind, PROGRAM) as device, device.session() as session:
        for digest in ("note_t", "other_t"):
            session.subscribe(digest)
        assert isinstance(device, PacketDevice)
        no_match, _, shorter, _ = (data for _, data in device.process(Packets.from_list(packets)))
        seen: list[int] = []
        while len(seen) < len(numbers):
            found = session.digests(10.0)
            assert found
            seen += [each.values["number"] for each in found]
        assert session.digests() == []
    assert no_match[1] == reported
    assert sorted(seen) == numbers  # lists of two digests come in any order
    assert (shorter[2], len(shorter)) == (1, length)


COMPILED = source(
    types="""
        bit<8> mark(inout bit<8> q) { q = q + 3; return q; }
        void thrice(inout bit<8> q) { for (bit<8> i = 0; i < 3; i = i + 1) { q = q + 1; } }
    """,
    header="bit<8> which; bit<8> a; bit<8> b; bit<8> c;",
    declarations="""
        action leave(inout bit<8> p) { p = hdr.h.a; if (mark(hdr.h.c) == 3) { exit; } p = 7; }
        action_profile(4) members;
        action never() { }
        table missed { key = { hdr.h.a : exact; } actions = { never; NoAction; } implementation = members; }
    """,
    ingress="""
        if (hdr.h.which == 1) { leave(hdr.h.b); }
        else if (hdr.h.which == 2) { hdr.h = { hdr.h.which, hdr.h.b, hdr.h.a, hdr.h.c }; }
        else if (hdr.h.which == 4) { for (bit<8> i = 0; i < 3; i = i + 1) { hdr.h.c = hdr.h.c + 1; } }
        else if (hdr.h.which == 5) { thrice(hdr.h.c); }
        else if (hdr.h.which == 6) { switch (missed.apply().action_run) { default: { hdr.h.c = 9; } } }
        else {
            switch ((bit<2>)hdr.h.a) { 2w3: { return; } }
            hdr.h.c = 9;
        }
    """,
)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("host", ["01050503ff", "02060500ff", "03050609ff", "04050603ff", "05050603ff", "06050609ff"]),
        pytest.param("bmv2", ["01050603ff", "ff", "03050600ff", "04050601ff", "05050601ff", "06050600ff"], marks=BMV2),
    ],
)
def test_programs_that_p4c_changes(kind: str, expected: list[str]) -> None:
    """With p4c 1.2.5.16 and simple_switch_grpc 1.15.5; a later p4c may well be right."""
    packets = [(1, bytes([which, 5, 6, 0, 0xFF])) for which in (1, 2, 3, 4, 5, 6)]
    with open_device(kind, COMPILED) as device:
        assert isinstance(device, PacketDevice)
        assert [data.hex() for _, data in device.process(Packets.from_list(packets))] == expected
