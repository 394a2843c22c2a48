"""Unsupported features of the language are rejected by name, with their place, and never with a traceback."""

from __future__ import annotations

import pytest

from midflight.errors import P4Error
from midflight.p4.frontend import check
from midflight.runtime.engine.pipeline import lower_program
from tests.p4.skeleton import skeleton

UNION = "header_union u_t { ethernet_t a; label_t b; }"
VIRTUAL = "extern v { v(); abstract bit<8> f(in bit<8> y); }"
TABLE = "table t {{ key = {{ meta.small: {kind}; }} actions = {{ NoAction; }} {more} }}"

REFUSED: list[tuple[str, dict[str, str]]] = [
    ("the match kind fuzzy is", {"top": "match_kind { fuzzy }", "locals": TABLE.format(kind="fuzzy", more="")}),
    ("a key of bit<0> is", {"locals": "bit<0> none; table t { key = { none: exact; } actions = { NoAction; } }"}),
    ("action data of bit<0> is", {"locals": "action a(bit<0> x) { }"}),
    ("a varbit that does not begin at a whole byte is", {"top": "header odd_t { bit<4> a; varbit<8> v; bit<4> b; }"}),
    ("a range of signed numbers is", {"locals": TABLE.format(kind="range", more="").replace("small", "signed")}),
    ("update_checksum_with_payload by crc16 is", {"apply": """update_checksum_with_payload(
        true, { meta.wide }, meta.medium, HashAlgorithm.crc16);"""}),
    ("the deprecated extern Checksum16 is", {"locals": "Checksum16() sum;"}),
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
        ('log_msg("{}", { 0w0 });', "log_msg takes no bit<0>"),
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
        ({"top": "const list<bit<8>> numbers = { 1, true };"}, "field 1 of list<bit<8>> must be bit<8>, not bool"),
        ({"apply": "list<bit<8>> numbers;"}, "a variable cannot be of type list<bit<8>>"),
        ({"top": "extern e { e(); void f(in string x); }"}, "x is a string and cannot have a direction"),
        ({"top": "extern e { e(); pair_t(in bit<8> x); }"}, "the method pair_t has no return type"),
        ({"top": "type bit<8> n_t; enum n_t e_t { a = 1 }"}, "an enum's type cannot be the new type n_t"),
        ({"top": "type tuple<bit<8>> n_t;"}, "a new type is made of a base type, not of tuple<bit<8>>"),
        (
            {"locals": "action a(pair_t p) { }"},
            "p must be a number, a bool or an enum, not pair_t",
        ),
        (
            {"top": "extern void f<T>(in T x);", "apply": "f({ a = meta.small });"},
            "the type T cannot be inferred",
        ),
        (
            {
                "locals": """action a(in bit<8> x, bit<8> y) { }
                table t { actions = { a(meta.small); } default_action = a(meta.pair.first, 1); }""",
                "apply": "t.apply();",
            },
            "this argument differs from that in the list of actions",
        ),
        ({"top": VIRTUAL, "locals": "v() x;"}, "x does not implement the abstract method f"),
        ({"top": VIRTUAL, "locals": "v() x = { bit<8> g() { return 1; } };"}, "v has no abstract method g"),
        (
            {"top": VIRTUAL, "locals": "v() x = { bit<8> f(in bit<8> y) { return; } };"},
            "f must return bit<8>",
        ),
        ({"locals": "register<pair_t>(4) pairs;"}, "a register holds numbers, not pair_t"),
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


def test_an_extern_of_the_program_is_refused_by_name_when_it_would_run() -> None:
    top = (
        "extern bucket { bucket(); void fill(in bit<8> x, @optional in bool quick); } extern void lookup(in bit<8> x);"
    )
    program = check(skeleton(top=top, locals="bucket() b;", apply="b.fill(3); lookup(meta.small);"), "test.p4")
    warned = ["the extern bucket is not part of v1model", "the extern lookup is not part of v1model"]
    assert [each.message for each in program.warnings if "extern" in each.message] == warned
    with pytest.raises(P4Error, match="the extern bucket is not part of v1model, so the switch cannot run the program"):
        lower_program(program)


def test_an_unknown_version_of_v1model_is_refused() -> None:
    with pytest.raises(P4Error, match="there is no version 20190101 of v1model"):
        check("#define V1MODEL_VERSION 20190101\n" + skeleton(), "test.p4")


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


def test_a_parser_that_never_ends_is_refused() -> None:
    states = "state next {{ transition {} }} state other {{ transition next; }}"
    with pytest.raises(P4Error, match="parser MyParser never ends"):
        check(skeleton(states=states.format("other;"), transition="next;"))
    check(skeleton(states=states.format("select(meta.small) { 1: other; }"), transition="next;"))
    check(skeleton(states=states.format("select(meta.small) { 1: other; default: reject; }"), transition="next;"))


def test_a_shift_by_a_new_type_is_refused() -> None:
    parts = {"top": "type bit<8> distance_t;", "locals": "distance_t far = (distance_t) 8w3;"}
    with pytest.raises(P4Error, match="cannot shift by distance_t"):
        check(skeleton(**parts, apply="meta.small = meta.small << far;"))
    check(skeleton(**parts, apply="meta.small = meta.small << (bit<8>) far;"))


def test_a_table_in_a_list_of_actions_is_refused() -> None:
    text = """
        action set(in bool hit) { meta.small = (bit<8>)(bit<1>) hit; }
        table first { key = { meta.small: exact; } actions = { NoAction; } }
        table second { key = { meta.small: exact; } actions = { set(first.apply().hit); } }
    """
    with pytest.raises(P4Error, match="a table cannot be applied in a list of actions"):
        check(skeleton(locals=text, apply="second.apply();"))
