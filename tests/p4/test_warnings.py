"""Warnings: valid but questionable code is reported once, with its place, and the program is accepted."""

from __future__ import annotations

import pytest

from tests.p4.skeleton import program

TABLE = "table t {{ key = {{ meta.small: exact; }} actions = {{ NoAction; }} {} }}"

# The gap and its text, the warning, and the marked part of the line.
DOUBTFUL: list[tuple[str, str, str, str]] = [
    ("apply", "meta.small = 256;", "256 does not fit bit<8>: it becomes 0", "256"),
    ("apply", "meta.small = 8w257;", "257 does not fit bit<8>: it becomes 1", "8w257"),
    ("apply", "meta.small = -1;", "-1 does not fit bit<8>: it becomes 255", "-1"),
    ("apply", "meta.signed = 200;", "200 does not fit int<8>: it becomes -56", "200"),
    ("apply", "meta.small = meta.small + 0x100;", "256 does not fit bit<8>: it becomes 0", "0x100"),
    ("apply", "meta.small += 0x100;", "256 does not fit bit<8>: it becomes 0", "0x100"),
    ("apply", "if (meta.small == 300) { exit; }", "300 does not fit bit<8>: it becomes 44", "300"),
    ("apply", "meta.pair = { 1, 65537 };", "65537 does not fit bit<16>: it becomes 1", "65537"),
    ("apply", "meta.small = meta.small << 8;", "a shift of bit<8> by 8 always gives 0", "meta.small << 8"),
    ("top", "const bit<4> NIBBLE = 16;", "16 does not fit bit<4>: it becomes 0", "16"),
    ("top", "bit<8> unused() { return 256; }", "256 does not fit bit<8>: it becomes 0", "256"),
    ("top", "control Unused() { apply { bit<8> x = 256; } }", "256 does not fit bit<8>: it becomes 0", "256"),
    ("transition", "select(meta.small) { 256: accept; }", "256 does not fit bit<8>: it becomes 0", "256"),
    ("locals", TABLE.format("const entries = { 256: NoAction(); }"), "256 does not fit bit<8>: it becomes 0", "256"),
    (
        "locals",
        "action pick() { switch (meta.small) { 1: { } } }",
        "p4c takes no switch in an action for BMv2",
        "meta.small",
    ),
    ("locals", TABLE.format("sise = 16;"), "sise is not a table property and has no effect", "sise"),
]


@pytest.mark.parametrize(("gap", "text", "message", "caret"), DOUBTFUL, ids=[each[1] for each in DOUBTFUL])
def test_a_warning_has_its_place(gap: str, text: str, message: str, caret: str) -> None:
    (warning,) = program(**{gap: text}).warnings
    assert warning.message == message
    place = warning.place
    assert place.text[place.column - 1 : place.column - 1 + place.length] == caret


def test_explicit_truncation_gives_no_warning() -> None:
    text = """
        meta.small = (bit<8>)256; meta.small = 8w255 + 8w1; meta.small = ~8w0; meta.small = -8w1; meta.small = 255;
        meta.signed = -128; meta.signed = meta.signed >> 8; meta.small = 0x1234[7:0]; meta.small = 16w256[7:0];
    """
    assert program(apply=text).warnings == ()


def test_warnings_are_in_the_order_of_the_source() -> None:
    made = program(
        top="bit<8> twice(in bit<8> x) { return x + 0x101; }",
        locals=TABLE.format("sise = 1;"),
        apply="meta.small = 256; meta.small = twice(meta.small) + twice(0x102);",
    )
    assert [each.message.split()[0] for each in made.warnings] == ["257", "sise", "256", "258"]
    shown = str(made.warnings[1]).splitlines()
    assert shown[0].startswith(f"test.p4:{made.warnings[1].place.line}:")
    assert ": warning: sise is not a table property" in shown[0]
    assert shown[-1] == "    Did you mean size?"
