"""Programs far deeper than Python's stack are checked. Types of excessive depth are rejected with their place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4.frontend import check
from midflight.p4.nodes import within
from midflight.p4.p4info import p4info
from midflight.p4.parse import parse
from midflight.p4.preprocess import preprocess
from tests.p4.skeleton import program, skeleton

DEPTH = 1100


def chained(form: str, end: str, close: str = "") -> str:
    """Return a text with nested copies of a form, numbered from 0."""
    return "".join(form % {"i": number} for number in range(DEPTH)) + end + close * DEPTH


DEEP = {
    "if within if": {"apply": chained("if (meta.wide != %(i)d) { ", "meta.wide = 1;", "}")},
    "else if": {"apply": chained("if (meta.wide == %(i)d) { meta.wide = 1; } else ", "{ }")},
    "block within block": {"apply": chained("{ ", "meta.wide = 1;", "}")},
    "variables of nested blocks": {"apply": chained("{ bit<32> v%(i)d = meta.wide; ", "meta.wide = 1;", "}")},
    "switch within switch": {"apply": chained("switch (meta.wide) { %(i)d: { ", "meta.wide = 1;", "} }")},
    "ifs that return": {"apply": chained("if (meta.wide == %(i)d) { return; } ", "meta.wide = 1;")},
    "if within if in a parser": {"state": chained("if (meta.wide != %(i)d) { ", "meta.wide = 1;", "}")},
    "sum": {"apply": "meta.wide = " + "meta.wide + " * DEPTH + "meta.wide;"},
    "sum from the right": {"apply": "meta.wide = " + chained("meta.wide + (", "meta.wide", ")") + ";"},
    "parentheses": {"apply": "meta.wide = " + chained("(", "meta.wide", ")") + ";"},
    "operators of one side": {"apply": "meta.wide = " + chained("~", "meta.wide") + ";"},
    "casts": {"apply": "meta.wide = " + chained("(bit<32>)(bit<16>)", "meta.wide") + ";"},
    "choices": {"apply": "meta.wide = " + chained("meta.wide == %(i)d ? %(i)d : (", "meta.wide", ")") + ";"},
    "conditions": {"apply": "if (" + chained("meta.wide != %(i)d && ", "true") + ") { meta.wide = 1; }"},
    "slices": {"apply": "meta.wide = meta.wide" + chained("[31:0]", "") + ";"},
    "indices": {"apply": "meta.small = " + chained("hdr.labels[", "0", "].ttl") + ";"},
    "constants": {"apply": "meta.wide = " + chained("1 + ", "1") + ";"},
    "calls": {
        "top": "T same<T>(in T x) { return x; }",
        "apply": "meta.wide = " + chained("same(", "meta.wide", ")") + ";",
    },
    "returns of a function": {
        "top": "bit<32> f(in bit<32> x) { " + chained("if (x == %(i)d) { return %(i)d; } ", "return x; }"),
        "apply": "meta.wide = f(meta.wide);",
    },
}
CALLED = {
    "actions": {
        "locals": "action a0() { }" + "".join(f"action a{i + 1}() {{ a{i}(); }}\n" for i in range(DEPTH)),
        "apply": f"a{DEPTH}();",
    },
    "functions": {
        "top": "void f0() { }" + "".join(f"void f{i + 1}() {{ f{i}(); }}\n" for i in range(DEPTH)),
        "apply": f"f{DEPTH}();",
    },
    "controls": {
        "top": "control c0() { apply { } }"
        + "".join(f"control c{i + 1}() {{ c{i}() inner; apply {{ inner.apply(); }} }}\n" for i in range(DEPTH)),
        "locals": f"c{DEPTH}() c;",
        "apply": "c.apply();",
    },
}


@pytest.mark.parametrize("parts", [pytest.param(parts, id=name) for name, parts in (DEEP | CALLED).items()])
def test_depth_is_not_limited(parts: dict[str, str]) -> None:
    checked = program(**parts)
    assert p4info(checked).pkg_info.arch == "v1model"
    body = checked.ingress.body
    assert body == replace(body)
    assert hash(body) == hash(replace(body))
    assert repr(body).startswith("Block(")


@pytest.mark.parametrize("name", ["if within if", "sum"])
def test_deep_syntax_trees_are_compared_hashed_and_shown(name: str) -> None:
    text = skeleton(**DEEP[name])
    one, same, other = (parse(preprocess(each, "x.p4"), "x.p4") for each in (text, text, text + "const bit<1> c = 1;"))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert repr(one).startswith("Program(file='x.p4', declarations=(")


def test_deep_programs_are_checked_completely() -> None:
    checked = program(**DEEP["if within if"])
    conditions = [each.condition for each in within(checked.ingress.body) if isinstance(each, ir.If)]
    compared = [
        each.right.value for each in conditions if isinstance(each, ir.Binary) and isinstance(each.right, ir.Literal)
    ]
    assert compared == [*range(DEPTH)]


@pytest.mark.parametrize("text", ["meta.nothing", "meta.flag"])
def test_a_mistake_at_the_greatest_depth_is_found(text: str) -> None:
    with pytest.raises(P4Error) as caught:
        program(apply="if (meta.wide != 1) {\n" * DEPTH + f"meta.wide = {text};" + "}" * DEPTH)
    assert caught.value.place is not None
    assert caught.value.place.line == 25 + DEPTH


@pytest.mark.parametrize(
    "parts",
    [
        {"top": "struct t0 { bit<8> a; }\n" + "".join(f"struct t{i + 1} {{ t{i} a; }}\n" for i in range(65))},
        {"apply": f"meta.pair = {'{' * 100}1{'}' * 100};"},
        {"apply": f"{'tuple<' * 100}bit<8>{'>' * 100} x;"},
    ],
)
def test_the_depth_of_types_is_limited(parts: dict[str, str]) -> None:
    with pytest.raises(P4Error, match="types nest 65 deep here, above the limit of 64") as caught:
        program(**parts)
    assert caught.value.place is not None


def test_types_of_the_maximum_depth_are_accepted() -> None:
    top = "struct t0 { bit<8> a; }" + "".join(f"struct t{i + 1} {{ t{i} a; }}" for i in range(62))
    whole = skeleton(top=top, locals="t62 deep;", apply=f"deep = {'{' * 63}1{'}' * 63}; meta.small = deep{'.a' * 63};")
    assert check(whole, "test.p4").ingress.locals
