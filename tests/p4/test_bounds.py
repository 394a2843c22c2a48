"""Preprocessing of untrusted programs: which files they may read, and the limits on its work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from midflight.errors import P4Error
from midflight.p4.bounded import DEEPEST, EXPANSION, INCLUDE, INCLUDES, LARGEST, MACRO_DEPTH, MACRO_PARAMETERS
from midflight.p4.conditions import ConditionError, evaluate
from midflight.p4.frontend import check, check_file
from midflight.p4.preprocess import preprocess
from tests.p4.skeleton import skeleton


def refusal(text: str, *, confined: bool = False, file: str = "test.p4") -> P4Error:
    with pytest.raises(P4Error) as caught:
        preprocess(text, file, confined=confined)
    assert caught.value.place is not None
    return caught.value


# Included files


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.p4"
    path.write_text("SECRET_WORD\n")
    return path


@pytest.mark.parametrize(
    "include",
    [
        '#include "{path}"',
        "#include <{path}>",
        '#include "{relative}"',
        "#include <{relative}>",
        '#include "secret.p4"',
        '#define WHERE "{path}"\n#include WHERE',
        "#define WHERE <{path}>\n#include WHERE",
        '#inc\\\nlude "{path}"',
        '# /* */ include "{path}"',
        '#if 1\n#include "{path}"\n#endif',
        '??=include "{path}"',
        "#include <{own}/../{up}{path}>",
    ],
)
def test_a_confined_program_reads_no_file_of_the_host(
    include: str, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(secret.parent)
    relative = os.path.relpath(secret, INCLUDE)
    line = include.format(path=secret, relative=relative, own=INCLUDE, up="../" * 20)
    try:
        text = preprocess(f"{line}\n", "test.p4", confined=True).text
    except P4Error as error:
        text = str(error)
    assert "SECRET_WORD" not in text


def test_messages_do_not_reveal_whether_a_file_exists(secret: Path) -> None:
    reported = [
        str(refusal(f'#include "{each}"\n', confined=True)).replace(str(each), "").replace("^", "")
        for each in (secret, secret.with_name("nothing.p4"), secret.parent, Path("/dev/zero"))
    ]
    assert len({each.strip() for each in reported}) == 1
    assert "may include only <core.p4> and <v1model.p4>" in reported[0]


def test_a_confined_program_includes_the_architecture() -> None:
    assert check(skeleton(), confined=True).tables == check(skeleton()).tables
    assert preprocess('#include "core.p4"\n', confined=True).text


def test_symbolic_links_may_leave_a_folder_but_devices_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "endless.p4").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.p4")
    for name in ("endless.p4", "pipe.p4"):
        error = refusal(f'#include "{name}"\n', file=str(tmp_path / "test.p4"))
        assert "not a regular file" in error.message


# Limits


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("// padding\n" * (LARGEST // 11 + 1), f"at most {LARGEST} characters"),
        ("#define A0 x\n" + "".join(f"#define A{n + 1} A{n} A{n}\n" for n in range(60)) + "A60\n", "expand to more"),
        ("#define D(x) x x\n" + "D(" * 40 + "x" + ")" * 40 + "\n", "expand to more"),
        (
            "#define C(a, b) a ## b\n#define D0 x\n"
            + "".join(f"#define D{n + 1} E(D{n}, D{n})\n" for n in range(60))
            + "#define E(a, b) C(a, b)\nD60\n",
            "macros expand",
        ),
        ("#define S(x) #x\n#define T(x) S(x x x x)\n#define U(x) T(x)\n" + "U(" * 90 + "y" + ")" * 90 + "\n", "macros"),
        ("#define MANY(x) " + "x " * 4000 + "\n#define M2(x) MANY(MANY(x))\nM2(1)\n", "expand to more"),
        ("".join(f"#define N{n + 1} N{n}\n" for n in range(MACRO_DEPTH + 1)) + f"N{MACRO_DEPTH + 1}\n", "deep"),
        ("#define F(x) x\n" + "F(" * 1000 + "1" + ")" * 1000 + "\n", "deep"),
        ("#define LONG " + "1 + " * 10_000 + "1\n", "at most 10000 tokens"),
        (
            "#define P(" + ", ".join(f"a{n}" for n in range(MACRO_PARAMETERS + 1)) + ") 1\n",
            f"{MACRO_PARAMETERS} parameters",
        ),
        ("#if " + "(" * 100_000 + "\n#endif\n", "incomplete"),
        ("#if 1 << 99999999999999999999999\n#endif\n", "64 bits"),
        ("#if 9999999999999999999999999\n#endif\n", "64 bits"),
        ("#if " + "9" * 5000 + "\n#endif\n", "64 bits"),
        ("#if 1 / 0\n#endif\n", "divides by zero"),
        ("#if 'a' == 97\n#endif\n", "cannot be evaluated"),
        ("#if f(3)\n#endif\n", "an operator is missing"),
        ("#if defined(\n#endif\n", "defined takes a name"),
        ("#if\n#endif\n", "incomplete"),
        ("/* " * 500_000, "not closed"),
        ('x = "' + '\\"' * 500_000 + "\n", "escaped quotes"),
        ("#ifdef\n#endif\n", "incomplete"),
        ("#ifndef\n#endif\n", "incomplete"),
        ("#undef\n", "incomplete"),
    ],
)
def test_the_work_of_macros_is_bounded(text: str, said: str) -> None:
    error = refusal(text)
    assert said in error.message
    assert len(str(error)) < 1000


def test_text_within_the_bounds_is_expanded() -> None:
    nested = "".join(f"#define N{n + 1} N{n}\n" for n in range(MACRO_DEPTH - 5)) + f"N{MACRO_DEPTH - 5}\n"
    assert preprocess(nested).text.split() == ["N0"]
    many = "#define W 8\n" + "const bit<W> c = W;\n" * 5000
    assert preprocess(many).text.count("8") == 10_000
    assert EXPANSION > 10_000


def test_the_work_of_includes_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "leaf.p4").write_text("\n")
    error = refusal('#include "leaf.p4"\n' * (INCLUDES + 1), file=str(tmp_path / "test.p4"))
    assert f"at most {INCLUDES} files" in error.message
    for level in range(DEEPEST - 1):  # each includes the next one twice: 2**49 in total
        (tmp_path / f"f{level + 1}.p4").write_text(f'#include "f{level}.p4"\n' * 2)
    (tmp_path / "f0.p4").write_text("x\n")
    assert "files" in refusal('#include "f45.p4"\n', file=str(tmp_path / "test.p4")).message
    (tmp_path / "large.p4").write_text("// x\n" * (LARGEST // 10))
    error = refusal('#include "large.p4"\n' * 3, file=str(tmp_path / "test.p4"))
    assert f"at most {LARGEST} characters" in error.message


def test_an_endless_file_is_rejected() -> None:
    with pytest.raises(P4Error):
        check_file("/dev/zero")


# Conditions


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("( 1 + 2 ) * 3", 9),
        ("- 7 / 2", -3),
        ("- 7 % 2", -1),
        ("1 << 4 | 1", 17),
        ("~ 0", -1),
        ("! 0 + ! 5", 1),
        ("- 1 < 0", 1),
        ("- 1 > 0u", 1),
        ("0 && 1 / 0", 0),
        ("1 || 1 / 0", 1),
        ("1 ? 2 : 1 / 0", 2),
        ("0 ? 1 / 0 : 3", 3),
        ("0 ? 1 : 0 ? 2 : 3", 3),
        ("1 ? 0 ? 4 : 5 : 6", 5),
        ("0x10 + 010 + 0b11", 27),
        ("NAME", 0),
        ("1 == 1 != 0", 1),
        ("6 & 3 ^ 1", 3),
        ("9223372036854775807 + 1", -(1 << 63)),
        ("- - - 1", -1),
    ],
)
def test_conditions_are_computed_as_in_c(text: str, value: int) -> None:
    assert evaluate(text.split()) == value


@pytest.mark.parametrize("text", ["", "1 +", "( 1", "1 )", "1 2", "1 ? 2", "1 : 2", "* 2", "08", "1 ? 2 : "])
def test_an_invalid_condition_is_reported(text: str) -> None:
    with pytest.raises(ConditionError):
        evaluate(text.split())


def test_conditions_may_be_arbitrarily_deep() -> None:
    assert evaluate(["("] * 50_000 + ["1"] + [")"] * 50_000) == 1
    assert evaluate(["0", "||"] * 50_000 + ["1"]) == 1
    assert evaluate(["-"] * 50_000 + ["1"]) == 1
    assert evaluate(["0", "?", "1", ":"] * 50_000 + ["7"]) == 7
