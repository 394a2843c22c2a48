"""Includes and macros, and the places of the expanded text."""

from __future__ import annotations

from pathlib import Path

import pytest

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4.frontend import check, check_file
from midflight.p4.preprocess import preprocess
from midflight.p4.types import Bits
from tests.p4.skeleton import assigned, skeleton


def complaint(text: str, **more: dict[str, str]) -> P4Error:
    with pytest.raises(P4Error) as caught:
        check(text, "test.p4", **more)  # type: ignore[arg-type]
    return caught.value


def test_macros_are_expanded() -> None:
    top = "#define WIDTH 32\n#define TWICE(x) ((x) + (x))\nconst bit<WIDTH> limit = TWICE(21);"
    assert assigned("limit", top=top) == ir.Literal(42, Bits(32))


def test_defines_from_outside_choose_a_branch() -> None:
    text = skeleton(apply="#if LEVEL > 1\nmeta.small = 1;\n#else\nmeta.small = 2;\n#endif")
    values = [check(text, defines={"LEVEL": level}).ingress.body.body[0] for level in ("2", "1")]
    assert [each.value for each in values if isinstance(each, ir.Assign)] == [
        ir.Literal(1, Bits(8)),
        ir.Literal(2, Bits(8)),
    ]


@pytest.mark.parametrize(
    ("line", "needle"),
    [
        ("meta.small = LONG_NAME + meta.smal;", "smal;"),
        ("meta.smal = LONG_NAME;", "smal ="),
        ("meta.small = 1 + LOST;", "LOST"),
        ("/* LONG_NAME */ meta.small = LONG_NAME + LONG_NAME + metta.small;", "metta"),
    ],
)
def test_the_caret_is_correct_on_a_line_with_macros(line: str, needle: str) -> None:
    place = complaint(skeleton(top="#define LONG_NAME 1\n#define LOST nowhere", apply=line)).place
    assert place is not None
    assert place.text == line
    assert place.column - 1 == line.index(needle)


def test_a_mistake_in_an_include_is_shown_there(tmp_path: Path) -> None:
    (tmp_path / "types.p4").write_text("// shared\nstruct broken_t { bit<8> x; bitt y; }\n")
    program = tmp_path / "main.p4"
    program.write_text('#include <core.p4>\n#include "types.p4"\n')
    with pytest.raises(P4Error) as caught:
        check_file(program)
    place = caught.value.place
    assert place is not None
    assert (place.file, place.line, place.column) == (str(tmp_path / "types.p4"), 2, 29)
    assert place.text == "struct broken_t { bit<8> x; bitt y; }"


def test_includes_are_found_beside_the_file_and_in_the_folders_given(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "deep.p4").write_text("#define DEEP 3\n")
    (tmp_path / "near.p4").write_text("#include <deep.p4>\n")
    source = preprocess('#include "near.p4"\nDEEP\n', str(tmp_path / "main.p4"), [tmp_path / "lib"])
    assert source.text.split() == ["3"]


def test_a_recursive_include_is_reported(tmp_path: Path) -> None:
    program = tmp_path / "main.p4"
    program.write_text('#include "main.p4"\n')
    with pytest.raises(P4Error, match="does a file include itself"):
        check_file(program)


@pytest.mark.parametrize("text", ["#if 1\n", "#define TWO(a, b) a\nTWO(1)\n", "#include\n#endif\n"])
def test_a_bad_directive_has_a_place(text: str) -> None:
    assert complaint(text).place is not None


def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(P4Error, match=r"cannot read .*missing\.p4: No such file"):
        check_file(tmp_path / "missing.p4")
    (tmp_path / "latin.p4").write_bytes(b"// \xe9")
    with pytest.raises(P4Error, match="it is not UTF-8 text"):
        check_file(tmp_path / "latin.p4")


def test_an_include_in_a_comment_does_not_count() -> None:
    error = complaint("/*\n#include <v1model.p4>\n*/\n#include <core.p4>\nstruct s { standard_metadata_t m; }\n")
    assert "standard_metadata_t" in error.message


def test_a_long_row_of_comments_is_read_once() -> None:
    assert complaint("/* a */ " * 20_000 + "x").place is not None


@pytest.mark.parametrize(
    "start", ["#include <core.p4>\n", "// it\r\n#include <core.p4>\r\n\r\n  #include <v1model.p4>\r\n"]
)
def test_places_are_the_same_with_and_without_the_preprocessor(start: str) -> None:
    text = f"{start}/* two\nlines */ struct s {{ bit<8> a; wrong_t b; }}\n"
    plain, preprocessed = complaint(text), complaint(text, defines={"UNUSED": "1"})
    assert plain.place == preprocessed.place
    assert plain.message == preprocessed.message


@pytest.mark.parametrize(
    "macro",
    [
        "#define VALUE 7 // a line comment; it's not a value",
        "#define VALUE /* before */ 7 /* after */",
        "#define VALUE 3 + /* over\ntwo lines */ 4",
        "#define VALUE 3 \\\n    + 4 // at the end",
        "#define VALUE 7 // goes on \\\n 9 here",
        "#define PLUS(a /* left */, b) a + b // sum\n#define VALUE PLUS(3, 4)",
        "/* before */ #define VALUE 7",
        '#define TEXT "//" // and a string\n#define VALUE 7',
        "#if 1 // chosen\n#define VALUE 7\n#else // not\n#define VALUE 8\n#endif // VALUE",
    ],
)
def test_comments_are_no_part_of_a_directive(macro: str) -> None:
    assert assigned("VALUE", top=macro) == ir.Literal(7, Bits(32))


def test_a_macro_with_a_comment_does_not_move_the_caret() -> None:
    line = "meta.small = /* first */ VALUE + /* second */ wrong; // third"
    place = complaint(skeleton(top="#define VALUE 7 // seven", apply=line)).place
    assert place is not None
    assert (place.text, place.column - 1) == (line, line.index("wrong"))


@pytest.mark.parametrize(
    "line", ["# a comment, it's not a directive", "#######", "#pragma stage 0", "#pragma", '# 7 "other.p4"', "  #!"]
)
def test_lines_that_are_no_directives_are_skipped(line: str) -> None:
    text = skeleton(top=f"{line}\nconst bit<32> seven = 7;", apply="meta.wide = seven + wrong;")
    place = complaint(text).place
    assert place is not None
    assert text.split("\n")[place.line - 1] == place.text == "meta.wide = seven + wrong;"


def test_error_directives_stop_only_where_they_are_reached() -> None:
    guarded = "#define WIDTH 9\n#ifndef WIDTH\n#error WIDTH is missing\n#warning never\n#endif\n"
    assert check(guarded + skeleton(), "test.p4").warnings == ()
    error = complaint("#define A 1\n#ifdef A\n  #error A is old // and gone\n#endif\n" + skeleton())
    assert error.message == "A is old"
    assert error.place is not None
    assert error.place.line == 3


def test_a_warning_directive_warns_at_its_line() -> None:
    (warning,) = check("\n#warning soon gone\n" + skeleton(), "test.p4").warnings
    assert (warning.message, warning.place.line) == ("soon gone", 2)


def test_an_open_comment_is_reported_where_it_begins() -> None:
    error = complaint("#define A 1\n" + skeleton(apply="meta.small = 1; /* never closed"))
    assert error.message == "this comment is not closed"
    assert error.place is not None
    assert error.place.text == "meta.small = 1; /* never closed"


def table_annotations(text: str, top: str = "") -> dict[str, str]:
    """Return the annotations of a table without a key."""
    source = skeleton(top=top, locals=f"{text}\ntable here {{ actions = {{ NoAction; }} }}", apply="here.apply();")
    return dict(check(source, "test.p4").tables["MyIngress.here"].annotations)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@pragma stage 0", {"stage": "0"}),
        ('@pragma stage 0 "x" (a b) // comment\n@pragma other', {"stage": '0 "x" ( a b )', "other": ""}),
        ("@plain(a /* comment */ b,{x;}[1]\n  second line)", {"plain": "a b , { x ; } [ 1 ] second line"}),
        ("@odd(]}) @two() @three", {"odd": "] }", "two": "", "three": ""}),
        ("@spaced /* ( */ (1)", {"spaced": "1"}),
        ("@nested(f(1)(2))", {"nested": "f ( 1 ) ( 2 )"}),
    ],
)
@pytest.mark.parametrize("top", ["", "#define UNUSED 1"])
def test_bodies_of_annotations_hold_any_balanced_tokens(text: str, expected: dict[str, str], top: str) -> None:
    assert table_annotations(text, top) == expected


def test_annotations_may_come_from_macros() -> None:
    top = '#define ACL(stage, words) @acl(stage, /* of */ \\\n    words)\n#define NAME "a name"'
    assert table_annotations("ACL(ingress,\n  one two)\n@name_of(NAME)", top) == {
        "acl": "ingress , one two", "name_of": '"a name"'}  # fmt: skip


def test_an_open_annotation_is_reported() -> None:
    assert complaint(skeleton(locals="@open(a (b)")).message == "the annotation's bracket is not closed"
    assert complaint(skeleton(locals="@pragma 7\n")).message == "@pragma needs a name"
