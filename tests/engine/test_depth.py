"""Programs far deeper than Python's stack are compiled and run, and their stages computed."""

from __future__ import annotations

import pytest

from midflight.runtime.engine import Engine
from midflight.runtime.footprint import footprint
from tests.engine.build import checked, run, source

DEPTH = 1100
X, Y = "hdr.h.x", "hdr.h.y"


def chained(form: str, end: str, close: str = "") -> str:
    """Return a text with nested copies of a form, numbered from 0."""
    return "".join(form % {"i": number} for number in range(DEPTH)) + end + close * DEPTH


# Parts of a program, with the value of y for x = 1000.
DEEP: dict[str, tuple[dict[str, str], int]] = {
    "else if": ({"ingress": chained(f"if ({X} == %(i)d) {{ {Y} = %(i)d + 1; }} else ", "{ }")}, 1001),
    "block within block": ({"ingress": chained("{ ", f"{Y} = {X};", "}")}, 1000),
    "variables": ({"ingress": chained(f"{{ bit<32> v%(i)d = {X}; ", f"{Y} = v{DEPTH - 1};", "}")}, 1000),
    "switch within switch": ({"ingress": chained(f"switch ({X}) {{ 1000: {{ ", f"{Y} = 7;", "} }")}, 7),
    "sum from the right": ({"ingress": f"{Y} = " + chained(f"{X} + (", "1", ")") + ";"}, 1_100_001),
    "operators of one side": ({"ingress": f"{Y} = " + chained("~", X) + ";"}, 1000),
    "casts": ({"ingress": f"{Y} = " + chained("(bit<32>)(bit<8>)", X) + ";"}, 1000 & 255),
    "choices": ({"ingress": f"{Y} = " + chained(f"{X} == %(i)d ? %(i)d + 5 : (", "3", ")") + ";"}, 1005),
    "conditions": (
        {"ingress": "if (" + chained(f"{X} != %(i)d && ", "true") + f") {{ {Y} = 1; }} else {{ {Y} = 2; }}"},
        2,
    ),
    "conditions from the right": (
        {"ingress": "if (" + chained(f"({X} == %(i)d || ", "false", ")") + f") {{ {Y} = 1; }} else {{ {Y} = 2; }}"},
        1,
    ),
    "slices": ({"ingress": f"{Y} = {X}" + chained("[31:0]", "") + ";"}, 1000),
    "slices that are written": ({"ingress": Y + chained("[31:0]", "") + f" = {X};"}, 1000),
    "indices": (
        {
            "types": "header item_t { bit<8> next; }",
            "headers": "item_t[2] items;",
            "ingress": f"hdr.items[0] = {{1}}; hdr.items[1] = {{0}}; {Y} = (bit<32>)"
            + chained("hdr.items[", "0", "].next")
            + "; hdr.items[0].setInvalid(); hdr.items[1].setInvalid();",
        },
        0,
    ),
    "returns of a function": (
        {
            "types": "bit<32> f(in bit<32> x) { " + chained("if (x == %(i)d) { return %(i)d + 2; } ", "return x; }"),
            "ingress": f"{Y} = f({X});",
        },
        1002,
    ),
    "functions": (
        {
            "types": "bit<32> f0(in bit<32> x) { return x; }"
            + "".join(f"bit<32> f{i + 1}(in bit<32> x) {{ return f{i}(x) + 1; }}\n" for i in range(DEPTH)),
            "ingress": f"{Y} = f{DEPTH}({X});",
        },
        1000 + DEPTH,
    ),
    "actions": (
        {
            "declarations": f"action a0() {{ {Y} = {X}; }}"
            + "".join(f"action a{i + 1}() {{ a{i}(); {Y} = {Y} + 1; }}\n" for i in range(DEPTH)),
            "ingress": f"a{DEPTH}();",
        },
        1000 + DEPTH,
    ),
    "controls": (
        {
            "types": "control c0(inout bit<32> v) { apply { } }"
            + "".join(
                f"control c{i + 1}(inout bit<32> v) {{ c{i}() inner; apply {{ inner.apply(v); v = v + 1; }} }}\n"
                for i in range(DEPTH)
            ),
            "declarations": f"c{DEPTH}() c;",
            "ingress": f"c.apply({Y});",
        },
        DEPTH,
    ),
    "states": (
        {
            "parser": "state start { packet.extract(hdr.h); transition s0; }"
            + "".join(f"state s{i} {{ transition s{i + 1}; }}\n" for i in range(DEPTH))
            + f"state s{DEPTH} {{ {Y} = 4; transition accept; }}"
        },
        4,
    ),
    "blocks of a state": (
        {"parser": "state start { packet.extract(hdr.h); " + chained("{ ", f"{Y} = 5;", "}") + " transition accept; }"},
        5,
    ),
    "blocks of a deparser": ({"deparser": chained("{ ", "packet.emit(hdr.h);", "}")}, 0),
}


@pytest.mark.parametrize(("parts", "result"), [pytest.param(*each, id=name) for name, each in DEEP.items()])
def test_depth_is_not_limited(parts: dict[str, str], result: int) -> None:
    header = "bit<32> x; bit<32> y;"
    assert footprint(checked(source(header=header, **parts))).total.stages_on() == 0
    packet = (1000).to_bytes(4, "big")
    [(_, data)] = run(Engine(checked(source(header=header, **parts))), packet + bytes(4))
    assert data == packet + result.to_bytes(4, "big")


MANY = 10_000
LONG: dict[str, tuple[dict[str, str], int]] = {
    "if within if": (
        {"ingress": "".join(f"if ({X} != {i} + 2000) {{ " for i in range(MANY)) + f"{Y} = {X};" + "}" * MANY},
        1000,
    ),
    "sum": ({"ingress": f"{Y} = " + f"{X} + " * MANY + "1;"}, 10_000_001),
    "applications": (
        {
            "types": "control once(inout bit<32> v) { apply { v = v + 1; } }",
            "declarations": "once() c;",
            "ingress": f"c.apply({Y});" * MANY,
        },
        MANY,
    ),
    "else if": (
        {"ingress": "".join(f"if ({X} == {i}) {{ {Y} = {i} + 1; }} else " for i in range(MANY)) + "{ }"},
        1001,
    ),
    "returns of a function": (
        {
            "types": "bit<32> f(in bit<32> x) { "
            + "".join(f"if (x == {i}) {{ return {i} + 2; }} " for i in range(MANY))
            + "return x; }",
            "ingress": f"{Y} = f({X});",
        },
        1002,
    ),
    "choices on the left": (
        {"ingress": f"{Y} = " + f"({X} == 5 ? " * MANY + "3" + " : 4)" * MANY + ";"},
        4,
    ),
    "slices that are written": ({"ingress": Y + "[31:0]" * MANY + f" = {X};"}, 1000),
    "a parser in circles": (
        {
            "parser": "state start { packet.extract(hdr.h); transition s0; }"
            + "".join(
                f"state s{i} {{ {Y} = {Y} + 1; "
                f"transition select({X}) {{ {i}: s{i * 17 % 5000}; default: s{i + 1}; }} }}"
                for i in range(5000)
            )
            + "state s5000 { transition accept; }"
        },
        1023,  # The parser stops after 1,024 transitions, of which the first leads here.
    ),
}


@pytest.mark.parametrize(("parts", "result"), [pytest.param(*each, id=name) for name, each in LONG.items()])
def test_ten_thousand_of_one_thing_are_compiled_in_linear_time(parts: dict[str, str], result: int) -> None:
    packet = (1000).to_bytes(4, "big")
    [(_, data)] = run(Engine(checked(source(header="bit<32> x; bit<32> y;", **parts))), packet + bytes(4))
    assert data == packet + result.to_bytes(4, "big")
