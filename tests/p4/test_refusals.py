"""Unsupported features of the language are rejected by name, with their place, and never with a traceback."""

from __future__ import annotations

import pytest

from midflight.errors import P4Error
from midflight.p4.frontend import check
from tests.p4.skeleton import skeleton

UNION = "header_union u_t { ethernet_t a; label_t b; }"
TABLE = "table t {{ key = {{ meta.small: {kind}; }} actions = {{ NoAction; }} {more} }}"

REFUSED: list[tuple[str, dict[str, str]]] = [
    ("list types are", {"top": "const list<bit<8>> numbers = { 1, 2 };"}),
    (
        "generic controls and parsers are",
        {"top": "control Any<T>(inout T x) { apply { } }", "locals": "Any<bit<8>>() a;"},
    ),
    ("the match kind fuzzy is", {"top": "match_kind { fuzzy }", "locals": TABLE.format(kind="fuzzy", more="")}),
    ("values of bit<0> are", {"top": "struct none_t { bit<0> x; }"}),
    ("a varbit that does not begin at a whole byte is", {"top": "header odd_t { bit<4> a; varbit<8> v; bit<4> b; }"}),
    ("a range of signed numbers is", {"locals": TABLE.format(kind="range", more="").replace("small", "signed")}),
    ("update_checksum_with_payload by crc16 is", {"apply": """update_checksum_with_payload(
        true, { meta.wide }, meta.medium, HashAlgorithm.crc16);"""}),
    ("the deprecated extern Checksum16 is", {"locals": "Checksum16() sum;"}),
    ("a register of pair_t is", {"locals": "register<pair_t>(4) pairs;"}),
    ("the extern lookup is", {"top": "extern void lookup(in bit<8> x);", "apply": "lookup(meta.small);"}),
    ("the extern bucket is", {"top": "extern bucket { bucket(); }", "locals": "bucket() b;"}),
    (
        "extern objects as parameters are",
        {"top": "control User(register<bit<8>> r) { apply { } }", "locals": "User() user;"},
    ),
    ("packet_in's length() is", {"state": "meta.wide = packet.length();"}),
    ("abstract methods are", {"locals": "register<bit<8>>(4) r = { };"}),
]  # fmt: skip


@pytest.mark.parametrize(("words", "parts"), REFUSED, ids=[words for words, _ in REFUSED])
def test_a_feature_is_refused_by_name(words: str, parts: dict[str, str]) -> None:
    with pytest.raises(P4Error) as caught:
        check(skeleton(**parts), "test.p4")
    assert caught.value.message == f"{words} not supported yet"
    assert caught.value.place is not None
    assert caught.value.place.file == "test.p4"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("clone3(CloneType.I2E, 1, { meta.small });", "clone3 is deprecated, and p4c refuses it too"),
        ("resubmit({ meta.small });", "resubmit is deprecated, and p4c refuses it too"),
        ("recirculate({ meta.small });", "recirculate is deprecated, and p4c refuses it too"),
        ("mark_to_drop();", "mark_to_drop without an argument is deprecated, and p4c refuses it too"),
        ("clone(CloneType.E2E, 1);", "clone of CloneType.E2E can be called in egress only, not in ingress"),
        ("recirculate_preserving_field_list(1);",
         "recirculate_preserving_field_list can be called in egress only, not in ingress"),
        ("digest(1, hdr.options);", "digest takes no varbit"),
        ('log_msg("{}", { hdr.options.data });', "log_msg takes no varbit"),
        ("hash(meta.wide, meta.how, 32w0, { meta.small }, 32w9);",
         "the algorithm of hash must be known at compile time"),
        ("hdr.odd.setValid();", "header odd_t has 3 bits"),
        ("meta.small = meta.flag ? 8w1 : meta.flag ? 8w2 : 8w3;", "a '?:' after another one needs brackets"),
    ],
)  # fmt: skip
def test_what_p4c_refuses_is_refused_at_its_place(call: str, message: str) -> None:
    text = skeleton(apply=call).replace("options_t options; }", "options_t options; odd_t odd; }")
    text = text.replace("struct headers_t", "header odd_t { bit<3> x; }\nstruct headers_t")
    with pytest.raises(P4Error) as caught:
        check(text.replace("bool flag;", "bool flag; HashAlgorithm how;"), "test.p4")
    assert caught.value.message == message
    assert caught.value.place is not None
    assert call in caught.value.place.text


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"top": "header_union u_t { ethernet_t a; bit<8> b; }"}, "a header union contains headers, not bit<8>"),
        ({"top": "header_union u_t { ethernet_t a; label_t a; }"}, "u_t has two fields named a"),
        ({"top": UNION, "apply": "u_t u; u = { 1, 2 };"}, "the value of u must be u_t, not a list"),
        ({"top": UNION, "apply": "u_t u; u.setValid();"}, "u_t has no method setValid"),
        ({"top": UNION, "apply": "u_t u; meta.small = u.c;"}, "u_t has no field c"),
        ({"parser_locals": "value_set<bit<16>>(0) v;"}, "a value set has 1 to 2147483647 members, not 0"),
        ({"parser_locals": "value_set<error>(4) v;"}, "a value set consists of numbers, bools and enums, not error"),
        (
            {"parser_locals": "value_set<pair_t>(4) v;", "transition": "select(meta.small) { v: accept; }"},
            "the value set has the types bit<8>, bit<16>, and select has bit<8>",
        ),
        ({"apply": "break;"}, "break can only be used in a loop"),
        (
            {"locals": "action a() { continue; }", "apply": "for (;true;) { a(); }"},
            "continue can only be used in a loop",
        ),
        ({"apply": "for (; 1; ) { }"}, "a for's condition must be bool, not int"),
        ({"apply": "for (bit<8> i in 16w0 .. 3) { }"}, "the value of i must be bit<8>, not bit<16>"),
        ({"apply": "for (bit<8> i in hdr) { }"}, "for takes a range, a header stack or a list, not headers_t"),
        ({"apply": "for (bit<8> i in hdr.labels) { }"}, "the value of i must be bit<8>, not label_t"),
        ({"apply": "for (bool b in false .. true) { }"}, "a range needs a variable of type bit<W> or int<W>, not bool"),
        ({"apply": "for (bit<8> i = 0; i < 3; i = i + 1) { } i = 1;"}, "i is not declared"),
    ],
)
def test_mistakes_are_named(parts: dict[str, str], message: str) -> None:
    with pytest.raises(P4Error) as caught:
        check(skeleton(**parts), "test.p4")
    assert caught.value.message == message


def test_a_header_has_one_varbit_field() -> None:
    with pytest.raises(P4Error, match="header two_t has more than one varbit field"):
        check(skeleton(top="header two_t { varbit<8> a; varbit<8> b; }"))


def test_a_call_is_found_in_the_stage_that_reaches_it() -> None:
    text = skeleton(
        locals="""
            action again() { recirculate_preserving_field_list(1); }
            table t { key = { meta.small: exact; } actions = { again; NoAction; } }
        """,
        apply="if (t.apply().hit) { }",
    )
    with pytest.raises(P4Error, match="can be called in egress only"):
        check(text)


def test_another_architecture_is_refused_by_name() -> None:
    text = "control C(); package Other(C c); control Mine() { apply { } } Other(Mine()) main;"
    with pytest.raises(P4Error, match="the architecture of Other is not supported yet"):
        check(text)
