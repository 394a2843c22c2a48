"""Parsers: states, keysets, stacks, look-ahead and sub-parsers."""

from __future__ import annotations

from midflight.p4 import ir
from midflight.p4.types import Bits, HeaderType, StackType
from tests.p4.skeleton import program


def test_states_and_transitions() -> None:
    parser = program(transition="more;", states="state more { transition accept; } state last { }").parser
    assert {name: state.next for name, state in parser.states.items()} == {
        "start": "more",
        "more": "accept",
        "last": "reject",
    }
    extract = parser.states["start"].body[0]
    assert isinstance(extract, ir.Extract)
    assert isinstance(extract.header, ir.Member)
    assert [each.variable.name for each in parser.parameters] == ["hdr", "meta", "standard_metadata"]


def test_keysets_of_every_form() -> None:
    made = program(
        top="const bit<16> IPV4 = 0x0800; enum bit<8> kind_t { one = 1, two = 2 }",
        transition="""select(hdr.ethernet.type, meta.small, meta.flag) {
            (IPV4, 1, true): accept;
            (0x8000 &&& 0xF000, 5 .. 9, _): reject;
            (0x0806, default, false): start;
            (_, kind_t.two, _): accept;
            default: reject;
        }""",
    )
    select = made.parser.states["start"].next
    assert isinstance(select, ir.Select)
    assert [each.type for each in select.expressions][:2] == [Bits(16), Bits(8)]
    e = ir.EntryKey
    assert select.cases == (
        ((e(0x0800), e(1), e(1)), "accept"),
        ((e(0x8000, mask=0xF000), e(5, high=9), e(None)), "reject"),
        ((e(0x0806), e(None), e(0)), "start"),
        ((e(None), e(2), e(None)), "accept"),
        ((e(None), e(None), e(None)), "reject"),
    )


def test_stacks_and_look_ahead() -> None:
    made = program(
        transition="labels;",
        states="""
            state labels {
                packet.extract(hdr.labels.next);
                meta.small = hdr.labels.last.ttl;
                meta.wide = hdr.labels.lastIndex;
                meta.medium = packet.lookahead<bit<16>>();
                packet.advance(16);
                verify(meta.small > 1, error.NoMatch);
                transition select(hdr.labels.last.last) { 0: labels; 1: options; }
            }
            state options {
                packet.extract(hdr.options, (bit<32>)packet.lookahead<bit<8>>() * 8);
                packet.extract<ethernet_t>(_);
                transition accept;
            }
        """,
    )
    extract, last, index, ahead, advance, verify = made.parser.states["labels"].body
    assert isinstance(extract, ir.Extract)
    assert isinstance(extract.header, ir.Next)
    assert isinstance(extract.header.base.type, StackType)
    assert isinstance(last, ir.Assign)
    assert isinstance(last.value, ir.Member)
    assert isinstance(last.value.base, ir.Last)
    assert isinstance(index, ir.Assign)
    assert isinstance(index.value, ir.Last)
    assert index.value.index
    assert isinstance(ahead, ir.Assign)
    assert ahead.value == ir.Lookahead(Bits(16))
    assert isinstance(advance, ir.Advance)
    assert advance.bits == ir.Literal(16, Bits(32))
    assert isinstance(verify, ir.CallStatement)
    assert verify.call.name == "verify"
    sized, unused, skipped = made.parser.states["options"].body
    assert isinstance(sized, ir.Extract)
    assert sized.bits is not None
    assert isinstance(unused, ir.Declare)
    assert isinstance(skipped, ir.Extract)
    assert isinstance(skipped.header.type, HeaderType)


def test_a_sub_parser_with_a_constructor_argument() -> None:
    made = program(
        top="""
            parser Inner(packet_in packet, out ethernet_t ethernet)(bit<16> wanted) {
                state start {
                    packet.extract(ethernet);
                    transition select(ethernet.type) { wanted: accept; default: reject; }
                }
            }
        """,
        parser_locals="Inner(0x0800) inner;",
        state="inner.apply(packet, hdr.ethernet);",
    )
    applied = made.parser.states["start"].body[1]
    assert isinstance(applied, ir.Apply)
    assert isinstance(applied.callee, ir.Parser)
    assert applied.callee.name == "MyParser.inner"
    assert len(applied.arguments) == 1, "the packet is left out"
    select = applied.callee.states["start"].next
    assert isinstance(select, ir.Select)
    assert select.cases[0][0] == (ir.EntryKey(0x0800),)
