"""Evaluation order: from left to right, each part once (P4_16 sections 8.1 and 6.8)."""

from __future__ import annotations

import pytest

from midflight.runtime.engine import Engine, Packets
from tests.p4.skeleton import program


def test_an_unused_lookahead_still_detects_a_short_packet() -> None:
    made = program(
        state="packet.lookahead<label_t>();",
        apply="""
            standard_metadata.egress_spec = 1;
            if (standard_metadata.parser_error == error.PacketTooShort) { standard_metadata.egress_spec = 2; }
        """,
    )
    packets = [(0, bytes(14)), (0, bytes(17)), (0, bytes(18)), (0, bytes(30))]
    assert [port for port, _ in Engine(made).process(Packets.from_list(packets))] == [2, 2, 1, 1]


TOP = """
    bit<8> next(inout bit<8> n) { n = n + 1; return n; }
    bit<8> third(in bit<8> a, in bit<8> b, in bit<8> c) { return c; }
    struct three_t { bit<8> a; bit<8> b; bit<8> c; }
    struct nested_t { bit<8> a; pair_t b; }
    struct two_t { bit<8> a; bit<8> b; }
"""

LOCALS = """
    bit<8> n = 0; bit<8> a = 0; bit<8> b = 0; bit<8> c = 0; bit<16> d = 0; bit<32> e = 0;
    register<bit<8>>(8) cells;
    action swap(inout bit<8> x, in bit<8> y, in bit<8> z) { n = 3; x = y; a = z; }
    action move(inout bit<8> x) { n = 0; x = 7; }
"""

# Statements with the final values of n, a, b and c; n is 1 at first, and the labels' ttl are 10, 11, 12 and 13.
CASES = {
    "three_t t = { n, next(n), n }; a = t.a; b = t.b; c = t.c;": (2, 1, 2, 2),
    "three_t t = { c = n, b = next(n), a = n + next(n) }; a = t.a; b = t.b; c = t.c;": (3, 5, 2, 1),
    "three_t t = (three_t){ next(n), n, next(n) }; a = t.a; b = t.b; c = t.c;": (3, 2, 2, 3),
    "nested_t t = { n, { n, (bit<16>)next(n) } }; a = t.a; b = t.b.first; c = t.b.second[7:0];": (2, 1, 1, 2),
    "two_t t = { n, n }; bool same = t == { n, next(n) }; a = same ? 8w1 : 2;": (2, 2, 0, 0),
    "swap(a, n, next(n));": (3, 1, 0, 0),
    "a = third(n, next(n), n); b = third(next(n), n, next(n));": (4, 2, 4, 0),
    "cells.write((bit<32>)n, next(n)); cells.read(a, 1); cells.read(b, 2);": (2, 2, 0, 0),
    "hdr.labels[n].ttl = next(n); a = hdr.labels[1].ttl; b = hdr.labels[2].ttl;": (2, 2, 12, 0),
    "hdr.labels[next(n)].ttl = n; a = hdr.labels[2].ttl;": (2, 2, 0, 0),
    "hdr.labels[next(n)].ttl += 5; a = hdr.labels[2].ttl; b = hdr.labels[3].ttl;": (2, 17, 13, 0),
    "hdr.labels[n].ttl += next(n); a = hdr.labels[1].ttl; b = hdr.labels[2].ttl;": (2, 13, 12, 0),
    "hdr.labels[next(n)].ttl[3:0] |= 1; a = hdr.labels[2].ttl;": (2, 13, 0, 0),
    "n += next(n); a = n;": (3, 3, 0, 0),
    "move(hdr.labels[n].ttl); a = hdr.labels[0].ttl; b = hdr.labels[1].ttl;": (0, 10, 7, 0),
    "swap(hdr.labels[n].ttl, 5, next(n)); b = hdr.labels[1].ttl; c = hdr.labels[3].ttl;": (3, 2, 5, 13),
    "a = next(hdr.labels[next(n)].ttl); b = hdr.labels[2].ttl; c = hdr.labels[3].ttl;": (2, 13, 13, 13),
    "hash(d, HashAlgorithm.identity, 16w0, { n, next(n) }, 16w0xFFFF); c = next(n);": (3, 0, 0, 3),
}


@pytest.fixture(scope="module")
def results() -> dict[str, tuple[int, ...]]:
    """Run all cases in one program, with a packet for each."""
    branches = "".join(f"if (which == {i}) {{ {text} }} " for i, text in enumerate(CASES))
    made = program(
        top=TOP,
        locals=LOCALS,
        apply=f"""
            hdr.labels[0] = {{ 0, 0, 0, 10 }}; hdr.labels[1] = {{ 0, 0, 0, 11 }};
            hdr.labels[2] = {{ 0, 0, 0, 12 }}; hdr.labels[3] = {{ 0, 0, 1, 13 }};
            n = 1;
            bit<8> which = hdr.ethernet.type[7:0];
            {branches}
            hdr.ethernet.destination = n ++ a ++ b ++ c ++ 16w0;
            standard_metadata.egress_spec = 1;
        """,
    )
    packets = [(0, bytes(13) + bytes([i])) for i in range(len(CASES))]
    sent = Engine(made).process(Packets.from_list(packets))
    return {text: tuple(data[:4]) for text, (_, data) in zip(CASES, sent, strict=True)}


@pytest.mark.parametrize("text", CASES)
def test_parts_run_from_left_to_right_and_once(text: str, results: dict[str, tuple[int, ...]]) -> None:
    assert results[text] == CASES[text]


def test_select_reads_its_expressions_from_left_to_right() -> None:
    made = program(
        top=TOP,
        parser_locals="bit<8> n = 1;",
        transition="select(n, next(n), n) { (1, 2, 2): accept; default: reject; }",
        apply="standard_metadata.egress_spec = standard_metadata.parser_error == error.NoError ? 9w1 : 2;",
    )
    assert [port for port, _ in Engine(made).process(Packets.from_list([(0, bytes(14))]))] == [1]
