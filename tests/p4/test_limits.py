"""Small texts with excessive growth are rejected at the limit that they exceed, with their place."""

from __future__ import annotations

import pytest

from midflight.errors import P4Error
from midflight.p4.check.limits import COPIED, ELEMENTS, WIDEST
from midflight.p4.frontend import check
from midflight.p4.syntax import LARGEST
from midflight.p4.tokens import MOST_TOKENS
from tests.p4.skeleton import program, skeleton

TIMES = range(60)
COPIES = f"more than {COPIED} nodes larger"
TYPES = f"above the limit of {ELEMENTS}"


def doubled(form: str) -> str:
    return "".join(form.replace("NEXT", str(number + 1)).replace("THIS", str(number)) for number in TIMES)


DOUBLED_STRUCTS = "struct s0 { bit<8> a; }" + doubled("struct sNEXT { sTHIS a; sTHIS b; }")

GROWING = {
    "functions": (
        {
            "top": "bit<32> f0(in bit<32> x) { return x; }"
            + doubled("bit<32> fNEXT(in bit<32> x) { return fTHIS(x) + fTHIS(x); }"),
            "apply": "meta.wide = f60(meta.wide);",
        },
        COPIES,
    ),
    "functions in choices": (
        {
            "top": "bit<32> f0(in bit<32> x) { return x; }"
            + doubled("bit<32> fNEXT(in bit<32> x) { return x == 1 ? fTHIS(x) : fTHIS(2); }"),
            "apply": "meta.wide = f60(meta.wide);",
        },
        COPIES,
    ),
    "generic functions": (
        {
            "top": "T f0<T>(in T x) { return x; }" + doubled("T fNEXT<T>(in T x) { return fTHIS(fTHIS(x)); }"),
            "apply": "meta.wide = f60(meta.wide);",
        },
        COPIES,
    ),
    "actions": (
        {
            "locals": "action a0() { meta.wide = 1; }" + doubled("action aNEXT() { aTHIS(); aTHIS(); }"),
            "apply": "a60();",
        },
        COPIES,
    ),
    "tables": (
        {
            "locals": f"action a() {{ {'meta.wide = meta.wide + 1; ' * 100} }}"
            + "".join(f"table t{n} {{ actions = {{ a; }} }}" for n in range(500)),
            "apply": "t1.apply();",
        },
        COPIES,
    ),
    "applications of a table": (
        {
            "locals": f"action a() {{ {'meta.wide = meta.wide + 1; ' * 100} }} table t {{ actions = {{ a; }} }}",
            "apply": "t.apply(); " * 500,
        },
        COPIES,
    ),
    "controls": (
        {
            "top": "control c0(inout bit<32> x) { apply { x = 1; } }"
            + doubled("control cNEXT(inout bit<32> x) { cTHIS() a; cTHIS() b; apply { a.apply(x); b.apply(x); } }"),
            "locals": "c60() c;",
            "apply": "c.apply(meta.wide);",
        },
        COPIES,
    ),
    "controls that nothing applies": (
        {
            "top": "control c0(inout bit<32> x) { apply { x = 1; } }"
            + doubled("control cNEXT(inout bit<32> x) { cTHIS() a; cTHIS() b; apply { a.apply(x); b.apply(x); } }"),
        },
        COPIES,
    ),
    "applications of one control": (
        {
            "top": "control c0(inout bit<32> x) { apply { x = 1; } }"
            + doubled("control cNEXT(inout bit<32> x) { cTHIS() a; apply { a.apply(x); a.apply(x); } }"),
            "locals": "c60() c;",
            "apply": "c.apply(meta.wide);",
        },
        COPIES,
    ),
    "parsers": (
        {
            "top": "parser p0(packet_in packet) { state start { transition accept; } }"
            + doubled(
                "parser pNEXT(packet_in packet) { pTHIS() a; pTHIS() b; "
                "state start { a.apply(packet); b.apply(packet); transition accept; } }"
            ),
            "parser_locals": "p60() p;",
            "state": "p.apply(packet);",
        },
        COPIES,
    ),
    "structs": ({"top": DOUBLED_STRUCTS}, TYPES),
    "structs in a header": ({"top": DOUBLED_STRUCTS + "header h { s14 a; s14 b; s14 c; s14 d; s14 e; }"}, TYPES),
    "tuples": ({"top": "typedef bit<8> s0;" + doubled("typedef tuple<sTHIS, sTHIS> sNEXT;")}, TYPES),
    "lists": ({"apply": "meta.wide = " + "{" * 40 + "1" + ", 2}" * 40 + ";"}, "must be bit<32>, not a list"),
    "a stack": ({"top": "struct s { label_t[100000000] labels; }"}, TYPES),
    "a stack of many": ({"top": "struct s { label_t[20000] labels; }"}, TYPES),
    "an enum": ({"top": f"enum E {{ {', '.join(f'e{n}' for n in range(100_000))} }}"}, TYPES),
    "squares": (
        {"top": "const int c0 = 3;" + doubled("const int cNEXT = cTHIS * cTHIS;")},
        f"more than {LARGEST} bits",
    ),
    "shifts": (
        {"top": "const int c0 = 3;" + doubled("const int cNEXT = cTHIS << 1000;")},
        f"more than {LARGEST} bits",
    ),
    "a shift": ({"top": "const int c = 1 << 99999999999999999999;"}, f"more than {LARGEST} bits"),
    "a literal": ({"apply": f"meta.wide = {'9' * 5000};"}, f"more than {LARGEST} bits"),
    "a long literal": ({"apply": f"meta.wide = {'9' * 1_000_000};"}, f"more than {LARGEST} bits"),
    "a hexadecimal literal": ({"apply": f"meta.wide = 0x{'f' * 1_000_000};"}, f"more than {LARGEST} bits"),
    "a literal's width": ({"apply": f"meta.wide = {'9' * 5000}w1;"}, "width is out of range"),
    "a wide literal": ({"apply": "meta.wide = (bit<32>)999999999w1;"}, "a width of 999999999 bits is out of range"),
    "concatenations": (
        {"top": "const bit<2000> c = 1;", "apply": "if (c ++ c == 1) { }"},
        f"above the limit of {WIDEST}",
    ),
    "tokens": ({"apply": "meta.wide = 1;\n" * 60_000}, f"at most {MOST_TOKENS} tokens"),
    "a text of 5 MB": ({"apply": "meta.wide = 1;\n" * 350_000}, "at most 2097152 characters"),
}


@pytest.mark.parametrize(("parts", "message"), [pytest.param(*each, id=name) for name, each in GROWING.items()])
def test_excessive_growth_is_rejected(parts: dict[str, str], message: str) -> None:
    with pytest.raises(P4Error, match=message) as caught:
        program(**parts)
    assert caught.value.place is not None
    assert len(str(caught.value)) < 1500


def test_frequent_use_within_the_limits_is_accepted() -> None:
    uses = COPIED // 40
    checked = check(
        skeleton(
            top="bit<32> f(in bit<32> x) { return x + 1; }" + "struct s0 { bit<8> a; }"
            ""
            + "".join(f"struct s{n + 1} {{ s{n} a; s{n} b; }}" for n in range(16))
            + f"const int c = 1 << {LARGEST - 1};",
            apply="meta.wide = f(meta.wide);" * uses + "s16 v;",
        )
    )
    assert len(checked.ingress.body.body) > uses


def test_numbers_wrap_at_their_width_as_before() -> None:
    wide = "".join(f"const bit<2048> c{n + 1} = c{n} * c{n};" for n in range(100))
    assert program(top="const bit<2048> c0 = 3;" + wide, apply="if (c100 == 1) { meta.wide = 1; }")


def test_a_message_about_a_tuple_is_short() -> None:
    with pytest.raises(P4Error) as caught:
        program(apply=f"tuple<{', '.join(['bit<8>'] * 10_000)}> x; x.nothing = 1;")
    assert len(caught.value.message) < 300
