"""Parsing and deparsing: states, stacks, varbits, lookahead, and truncated packets."""

from __future__ import annotations

import random

import pytest

from midflight.errors import P4Error
from midflight.runtime.engine import Engine
from tests.engine.build import engine, run

NAMES = """
    if (std.parser_error == error.NoError) { hdr.h.x = 100; }
    else if (std.parser_error == error.PacketTooShort) { hdr.h.x = 101; }
    else if (std.parser_error == error.NoMatch) { hdr.h.x = 102; }
    else if (std.parser_error == error.StackOutOfBounds) { hdr.h.x = 103; }
    else if (std.parser_error == error.HeaderTooShort) { hdr.h.x = 104; }
    else if (std.parser_error == error.ParserTimeout) { hdr.h.x = 105; }
    else if (std.parser_error == error.ParserInvalidArgument) { hdr.h.x = 106; }
    else { hdr.h.x = 107; }
"""

LABELS = """
    header label_t { bit<7> value; bit<1> bottom; }
"""

STACK_PARSER = """
    state start { packet.extract(hdr.h); transition labels; }
    state labels {
        packet.extract(hdr.labels.next);
        transition select(hdr.labels.last.bottom) { 1 : accept; default : labels; }
    }
"""


@pytest.mark.parametrize("width", [8, 16, 32, 64])
@pytest.mark.parametrize("count", [3, 17, 40])
def test_runs_of_like_fields_are_read_written_and_computed_on(width: int, count: int) -> None:
    """They are copied several at once, here from odd addresses, between fields of other widths."""
    fields = " ".join(f"bit<{width}> f{number};" for number in range(count))
    switch = engine(
        types=f"header run_t {{ bit<5> before; bit<3> kind; {fields} bit<24> after; }}",
        headers="run_t run;",
        header="bit<24> x;",
        parser="state start { packet.extract(hdr.h); packet.extract(hdr.run); transition accept; }",
        ingress="".join(f"hdr.run.f{number} = hdr.run.f{number} + {number + 1};" for number in range(count)),
    )
    size, chance = width // 8, random.Random(count)
    values = [chance.randrange(1 << width) for _ in range(count)]
    more = [(each + number + 1) % (1 << width) for number, each in enumerate(values)]
    before, after, payload = b"\1\2\3\xa5", b"\4\5\6", b"payload"
    packets = [before + b"".join(each.to_bytes(size, "big") for each in them) + after for them in (values, more)]
    assert run(switch, packets[0] + payload) == [(0, packets[1] + payload)]
    assert run(switch, packets[0]) == [(0, packets[1])]
    assert run(switch, packets[0][:-1]) == [(0, packets[0][:-1])]  # too short, so nothing is extracted


def test_fields_of_any_width_and_alignment_survive_the_trip() -> None:
    fields = [("a", 1), ("b", 3), ("c", 12), ("d", 7), ("e", 33), ("f", 128), ("g", 5), ("h", 9), ("i", 2)]
    switch = engine(
        header=" ".join(f"bit<{width}> {name};" for name, width in fields),
        ingress="hdr.h.c = hdr.h.c + 1; hdr.h.h = hdr.h.h ^ 9w0x155; hdr.h.e = hdr.h.e + (bit<33>)hdr.h.g;",
    )
    total = sum(width for _, width in fields)
    values = {"a": 1, "b": 5, "c": 0xFFF, "d": 99, "e": 2**33 - 3, "f": 2**127 + 12345, "g": 21, "h": 0xAB, "i": 2}

    def pack(numbers: dict[str, int]) -> bytes:
        text = "".join(format(numbers[name], f"0{width}b") for name, width in fields)
        return int(text, 2).to_bytes(total // 8, "big")

    expected = {**values, "c": 0, "h": 0xAB ^ 0x155, "e": (2**33 - 3 + 21) % 2**33}
    assert run(switch, pack(values) + b"tail") == [(0, pack(expected) + b"tail")]


def test_a_long_row_of_fields_that_do_not_fill_bytes() -> None:
    widths = (1, *(17, 33, 2, 5, 8, 16, 32, 32, 17, 33, 2, 5, 65, 33, 8, 128) * 3, 3)
    total = sum(widths)
    assert total % 8 == 0
    switch = engine(
        header=" ".join(f"int<{width}> f{number};" for number, width in enumerate(widths)),
        ingress="hdr.h.f1 = -(hdr.h.f1 - 2); hdr.h.f17 = -(hdr.h.f17 - 2);",
    )
    text = "".join(format(number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**width, f"0{width}b")
                   for number, width in enumerate(widths))  # fmt: skip
    expected, position = text, 0
    for number, width in enumerate(widths):
        if number in (1, 17):
            value = (2 - int(text[position : position + width], 2)) % 2**width
            expected = f"{expected[:position]}{value:0{width}b}{expected[position + width :]}"
        position += width
    packet, answer = (int(each, 2).to_bytes(total // 8, "big") for each in (text, expected))
    assert run(switch, packet) == [(0, answer)]


def test_select_by_value_mask_range_and_several_fields() -> None:
    switch = engine(
        header="bit<8> x; bit<8> y; bit<8> r;",
        metadata="bit<8> r;",
        parser="""
            state start {
                packet.extract(hdr.h);
                transition select(hdr.h.x, hdr.h.y) {
                    (1, 2) : one;
                    (0x10 &&& 0xf0, _) : two;
                    (_, 7..9) : three;
                    default : accept;
                }
            }
            state one { meta.r = 1; transition accept; }
            state two { meta.r = 2; transition accept; }
            state three { meta.r = 3; transition select(hdr.h.x) { 5 : four; 6 : one; default : accept; } }
            state four { meta.r = meta.r + 1; transition accept; }
        """,
        ingress="hdr.h.r = meta.r;",
    )
    sent = [(1, 2), (1, 3), (0x1F, 8), (2, 6), (2, 7), (2, 9), (2, 10), (5, 8), (6, 8)]
    found = [data[2] for _, data in run(switch, *(bytes([x, y, 0]) for x, y in sent))]
    assert found == [1, 0, 2, 0, 3, 3, 0, 4, 1]


def test_a_select_without_a_match_sets_the_parser_error() -> None:
    switch = engine(
        parser="state start { packet.extract(hdr.h); transition select(hdr.h.x) { 1 : accept; 2 : accept; } }",
        ingress=NAMES,
    )
    assert [data[0] for _, data in run(switch, b"\1", b"\3")] == [100, 102]


def test_the_header_of_a_truncated_packet_is_invalid_and_its_bytes_are_payload() -> None:
    switch = engine(
        header="bit<8> x;",
        types="header pair_t { bit<32> left; bit<32> right; }",
        headers="pair_t pair;",
        parser="state start { packet.extract(hdr.h); packet.extract(hdr.pair); transition accept; }",
        ingress=NAMES + "if (hdr.pair.isValid()) { hdr.pair.left = hdr.pair.left + 1; }",
    )
    assert run(switch, b"\0" + bytes(8)) == [(0, b"\x64\0\0\0\1\0\0\0\0")]
    for cut in range(8):
        assert run(switch, b"\0" + b"1234567"[:cut]) == [(0, b"\x65" + b"1234567"[:cut])]
    assert run(switch, b"") == [(0, b"")]


def test_a_header_stack_fills_up_to_its_size_and_not_beyond() -> None:
    switch = engine(
        types=LABELS,
        headers="label_t[3] labels;",
        parser=STACK_PARSER,
        ingress=NAMES + "if (hdr.labels[1].isValid()) { hdr.labels[1].value = 9; }",
    )
    assert run(switch, bytes([0, 2, 5, 77])) == [(0, bytes([100, 2, 9 << 1 | 1, 77]))]
    assert run(switch, bytes([0, 2, 4, 6, 8, 9])) == [(0, bytes([103, 2, 9 << 1, 6, 8, 9]))]
    assert run(switch, bytes([0, 2])) == [(0, bytes([101, 2]))]


def test_stacks_shift_both_ways() -> None:
    switch = engine(
        header="bit<8> x;",
        types=LABELS,
        headers="label_t[3] labels;",
        parser=STACK_PARSER,
        ingress="""
            if (hdr.h.x == 1) { hdr.labels.push_front(1); hdr.labels[0].setValid(); hdr.labels[0].value = 50; }
            else if (hdr.h.x == 2) { hdr.labels.pop_front(1); }
            else if (hdr.h.x == 3) { hdr.labels.push_front(5); }
            else if (hdr.h.x == 4) { hdr.labels.pop_front(3); }
        """,
    )
    stack = bytes([2, 4, 7])
    assert [data for _, data in run(switch, *(bytes([how]) + stack + b"!" for how in range(5)))] == [
        b"\0" + stack + b"!",
        bytes([1, 100, 2, 4]) + b"!",
        bytes([2, 4, 7]) + b"!",
        b"\3!",
        b"\4!",
    ]


def test_an_element_beyond_the_stack_is_invalid_and_ignores_writes() -> None:
    switch = engine(
        header="bit<8> x; bit<8> r;",
        types=LABELS,
        headers="label_t[3] labels;",
        parser=STACK_PARSER,
        ingress="""
            hdr.labels[hdr.h.x].value = 63;
            hdr.h.r = hdr.labels[hdr.h.x].isValid() ? (bit<8>)hdr.labels[hdr.h.x].value : 200;
        """,
    )
    stack = [2, 4, 7]
    for index in (0, 1, 2, 3, 200):
        expected = list(stack)
        if index < 3:
            expected[index] = 63 << 1 | stack[index] & 1
        ((_, data),) = run(switch, bytes([index, 0, *stack]))
        assert data == bytes([index, 63 if index < 3 else 200, *expected])


def test_an_endless_parser_is_stopped() -> None:
    switch = engine(
        parser="""
            state start { packet.extract(hdr.h); transition again; }
            state again { transition select(hdr.h.x) { 1 : again; default : accept; } }
        """,
        ingress=NAMES,
    )
    assert [data[0] for _, data in run(switch, b"\1", b"\2")] == [105, 100]


def test_lookahead_reads_without_moving_and_advance_moves_without_reading() -> None:
    switch = engine(
        header="bit<8> x; bit<16> seen;",
        types="header extra_t { bit<8> e; }",
        headers="extra_t extra;",
        metadata="bit<16> seen;",
        parser="""
            state start {
                packet.extract(hdr.h);
                meta.seen = packet.lookahead<bit<16>>();
                packet.advance((bit<32>)hdr.h.x);
                packet.extract(hdr.extra);
                transition accept;
            }
        """,
        ingress=NAMES + "hdr.h.seen = meta.seen; if (hdr.extra.isValid()) { hdr.extra.e = hdr.extra.e + 1; }",
    )
    packet = b"\0\0" + b"\x12\x34\x56rest"
    # Bytes that the parser advanced over are neither header nor payload, so they are not sent.
    assert run(switch, b"\x10" + packet) == [(0, b"\x64\x12\x34\x57rest")]
    assert run(switch, b"\x08" + packet) == [(0, b"\x64\x12\x34\x35\x56rest")]
    assert run(switch, b"\x03" + packet)[0][1][0] == 106
    assert run(switch, b"\xf8" + packet)[0][1][0] == 101
    assert run(switch, b"\x10\0\0\x12")[0][1] == b"\x65\0\0\x12"


def varbit(header: str, ingress: str) -> Engine:
    """Return an engine that reads the length of a varbit in bits from the two bytes before the header."""
    return engine(
        header=header,
        types="header prefix_t { bit<16> bits; }",
        headers="prefix_t prefix;",
        parser="""
            state start { packet.extract(hdr.prefix); transition rest; }
            state rest { packet.extract(hdr.h, (bit<32>)hdr.prefix.bits); transition accept; }
        """,
        ingress=ingress,
        deparser="packet.emit(hdr.prefix); packet.emit(hdr.h);",
    )


def test_varbits_have_the_length_that_the_parser_computes() -> None:
    switch = varbit(
        "bit<8> x; bit<8> length; varbit<64> options; bit<8> last;",
        NAMES + "if (hdr.h.isValid()) { hdr.h.last = hdr.h.last + 1; }",
    )
    for count in range(9):
        bits, options = (8 * count).to_bytes(2, "big"), bytes(range(1, count + 1))
        assert run(switch, bits + b"\0\7" + options + b"\x20rest") == [(0, bits + b"\x64\7" + options + b"\x21rest")]


def test_varbits_out_of_reach_end_the_parser() -> None:
    switch = varbit(
        "varbit<64> options; bit<8> x;",
        """
            bit<8> r = 0;
            if (std.parser_error == error.HeaderTooShort) { r = 4; }
            if (std.parser_error == error.ParserInvalidArgument) { r = 6; }
            if (std.parser_error == error.PacketTooShort) { r = 1; }
            hdr.prefix.bits[7:0] = r;
        """,
    )
    cases = {72: 4, 80: 1, 65528: 1, 12: 6, 64: 0, 8: 0}
    for bits, error in cases.items():
        assert run(switch, bits.to_bytes(2, "big") + b"abcdefghij")[0][1][1] == error, bits
    assert run(switch, (64).to_bytes(2, "big") + b"abcdefgh")[0][1][1] == 1


def test_verify_ends_the_parser_with_the_programs_own_error() -> None:
    switch = engine(
        types="error { Ugly }",
        parser="state start { packet.extract(hdr.h); verify(hdr.h.x < 10, error.Ugly); transition accept; }",
        ingress=NAMES,
    )
    assert [data[0] for _, data in run(switch, b"\x09", b"\x0a")] == [100, 107]


def test_headers_can_be_added_removed_and_copied() -> None:
    switch = engine(
        header="bit<8> x; bit<8> y;",
        headers="h_t second; h_t third;",
        ingress="""
            hdr.second = hdr.h;
            hdr.second.y = hdr.second.y + 1;
            if (hdr.h.x == 1) { hdr.third.setValid(); }
            if (hdr.h.x == 2) { hdr.h.setInvalid(); }
            if (hdr.h.x == 3) { hdr.second = hdr.third; }
            if (hdr.h.x == 4) { hdr.third = { 8, hdr.h.y }; }
        """,
    )
    out = [data for _, data in run(switch, b"\0\5", b"\1\5", b"\2\5", b"\3\5", b"\4\5")]
    assert out == [b"\0\5\0\6", b"\1\5\1\6\0\0", b"\2\6", b"\3\5", b"\4\5\4\6\x08\5"]


def test_headers_compare_by_validity_and_fields() -> None:
    switch = engine(
        header="bit<8> x; bit<8> y; bit<8> r;",
        types="header p_t { bit<8> v; }",
        headers="p_t a; p_t b;",
        ingress="""
            if (hdr.h.x > 0) { hdr.a.setValid(); hdr.a.v = hdr.h.x; }
            if (hdr.h.y > 0) { hdr.b.setValid(); hdr.b.v = hdr.h.y; }
            hdr.h.r = (hdr.a == hdr.b) ? 8w1 : 8w0;
            hdr.a.setInvalid(); hdr.b.setInvalid();
        """,
    )
    cases = {(0, 0): 1, (1, 0): 0, (0, 1): 0, (3, 3): 1, (3, 4): 0}
    assert [data[2] for _, data in run(switch, *(bytes([*each, 9]) for each in cases))] == list(cases.values())


def test_packets_do_not_see_data_of_earlier_packets() -> None:
    switch = engine(
        header="bit<8> x; bit<8> r;",
        types="header secret_t { bit<8> s; }",
        headers="secret_t secret;",
        metadata="bit<8> note;",
        parser="""
            state start {
                packet.extract(hdr.h);
                transition select(hdr.h.x) { 1 : more; default : accept; }
            }
            state more { packet.extract(hdr.secret); transition accept; }
        """,
        ingress="hdr.h.r = hdr.secret.s | meta.note; meta.note = hdr.secret.s;",
    )
    assert [data[1] for _, data in run(switch, b"\1\0\x77", b"\0\0\x77", b"\0\0\x77")] == [0x77, 0, 0]


def test_sub_parsers_and_sub_controls_work_on_their_arguments() -> None:
    switch = engine(
        types="""
            header h_t2 { bit<8> v; }
            parser inner(packet_in packet, out h_t2 one, inout bit<8> seen) {
                state start { packet.extract(one); seen = seen + one.v; transition accept; }
            }
            control twice(inout bit<8> v, in bit<8> by, out bit<8> old) {
                apply { old = v; v = v * by; if (by == 0) { return; } v = v + 1; }
            }
        """,
        header="bit<8> x; bit<8> y; bit<8> z;",
        headers="h_t2 a; h_t2 b;",
        metadata="bit<8> seen;",
        parser="""
            inner() i; inner() j;
            state start {
                packet.extract(hdr.h); meta.seen = 0;
                i.apply(packet, hdr.a, meta.seen); j.apply(packet, hdr.b, meta.seen);
                transition accept;
            }
        """,
        declarations="twice() t;",
        ingress="hdr.h.x = meta.seen; t.apply(hdr.h.y, hdr.h.z, hdr.h.z);",
    )
    assert run(switch, bytes([0, 10, 3, 20, 22])) == [(0, bytes([42, 31, 10, 20, 22]))]
    assert run(switch, bytes([0, 10, 0, 20, 22])) == [(0, bytes([42, 0, 10, 20, 22]))]


def test_a_header_that_does_not_fill_bytes_is_rejected_by_name() -> None:
    with pytest.raises(P4Error, match="a multiple of 8"):
        engine(header="bit<8> x; bit<3> y;")
