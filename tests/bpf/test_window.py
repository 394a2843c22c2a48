"""The number of bytes of a packet that a parser can read."""

from __future__ import annotations

import pytest

from midflight.runtime.engine.bpf.window import most_read
from tests.engine.build import checked, source

TAGS = "header tag_t { bit<15> value; bit<1> last; } header wide_t { bit<64> x; varbit<80> rest; }"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("state start { packet.extract(hdr.h); transition accept; }", 4),
        ("state start { packet.extract(hdr.h); packet.advance(24); transition accept; }", 7),
        ("state start { packet.extract(hdr.h); packet.advance((bit<32>)hdr.h.x); transition accept; }", None),
        ("state start { packet.extract(hdr.w, 8); transition accept; }", 18),
        (
            """
            state start { packet.extract(hdr.h); transition select(packet.lookahead<bit<8>>()) { 1: a; default: b; } }
            state a { packet.extract(hdr.w, 8); transition b; }
            state b { packet.extract(hdr.tags.next); transition accept; }
            """,
            5 + 18 + 3 * 2,
        ),
        (
            """
            state start { packet.extract(hdr.h); transition more; }
            state more { packet.extract(hdr.tags.next); transition select(hdr.tags.last.last) { 0: more; _: end; } }
            state end { packet.extract(hdr.w, 8); transition accept; }
            """,
            4 + 3 * 2 + 18,
        ),
        (
            """
            state start { packet.extract(hdr.h); transition select(hdr.h.x) { 0: start; default: accept; } }
            """,
            None,
        ),
    ],
    ids=["one header", "a fixed step", "any step", "a varbit", "the longer way", "a stack", "any number of headers"],
)
def test_the_longest_way_through_the_parser_counts(states: str, expected: int | None) -> None:
    text = source(types=TAGS, header="bit<32> x;", headers="wide_t w; tag_t[3] tags;", parser=states)
    assert most_read(checked(text).parser) == expected
