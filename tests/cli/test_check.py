"""`midflight check` and `midflight p4info`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.run import FORWARDER, listing, midflight, process


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "bridge.p4"
    path.write_text(FORWARDER.replace("SIZE", "64"))
    return path


def test_a_valid_program(program: Path) -> None:
    done = process("check", program)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{program}: no errors (1 table, ")


def test_json_of_a_valid_program(program: Path) -> None:
    reported = json.loads(midflight("check", program, "--json").stdout)
    assert reported == {"file": str(program), "ok": True, "diagnostics": []}


def test_a_mistake_has_place_and_caret(program: Path) -> None:
    program.write_text(program.read_text().replace("egress_spec = port", "egress_spek = port"))
    result = midflight("check", program)
    line = next(n for n, each in enumerate(program.read_text().splitlines(), 1) if "egress_spek" in each)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"{program}:{line}:")
    assert "egress_spek" in result.stderr.splitlines()[0]
    shown, caret = result.stderr.splitlines()[1:3]
    assert shown[caret.index("^") : caret.rindex("^") + 1].endswith("egress_spek")


def test_what_the_embedded_switch_refuses_is_refused(program: Path) -> None:
    fields = " ".join(f"bit<2048> f{n};" for n in range(200))
    text = program.read_text().replace("struct metadata_t { }", f"struct metadata_t {{ {fields} }}")
    program.write_text(text)
    result = midflight("check", program)
    assert result.exit_code == 1
    assert "bytes per packet" in result.stderr


@pytest.mark.parametrize(("wrong", "message"), [("0x05000001", "the top byte must be"), ('"x"', "must be a number")])
def test_a_wrong_id_has_a_place(program: Path, wrong: str, message: str) -> None:
    program.write_text(program.read_text().replace("action send", f"@id({wrong}) action send"))
    result = midflight("check", program)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{program}:13:")
    assert message in result.stderr


def test_json_of_a_mistake(program: Path) -> None:
    text = program.read_text().replace("egress_spec = port", "egress_spec = prot")
    program.write_text(text)
    result = midflight("check", program, "--json")
    reported = json.loads(result.stdout)
    (diagnostic,) = reported["diagnostics"]
    lines = text.splitlines()
    line = next(n for n, each in enumerate(lines, 1) if "prot;" in each)
    assert (result.exit_code, result.stderr, reported["ok"]) == (1, "", False)
    assert (diagnostic["file"], diagnostic["line"]) == (str(program), line)
    assert diagnostic["column"] == lines[line - 1].index("prot;") + 1
    assert diagnostic["length"] == 4
    assert "prot" in diagnostic["message"]


def test_questionable_code_gives_a_warning(program: Path) -> None:
    program.write_text(program.read_text().replace("size = 64", "sise = 64"))
    result = midflight("check", program)
    assert result.exit_code == 0
    assert ": warning: sise is not a table property" in result.stderr.splitlines()[0]
    assert ": no errors, 1 warning (1 table, " in result.stdout
    reported = json.loads(midflight("check", program, "--json").stdout)
    (diagnostic,) = reported["diagnostics"]
    assert (reported["ok"], diagnostic["severity"], diagnostic["length"]) == (True, "warning", 4)
    assert diagnostic["hint"] == "Did you mean size?"


def test_definitions_and_include_folders(tmp_path: Path) -> None:
    program, include = tmp_path / "bridge.p4", tmp_path / "include"
    program.write_text("#include <sizes.p4h>\n" + FORWARDER.replace("SIZE", "TIMES * UNIT"))
    include.mkdir()
    (include / "sizes.p4h").write_text("#define UNIT 16\n")
    assert midflight("check", program).exit_code == 1
    assert midflight("check", program, "-I", include).exit_code == 1
    assert midflight("check", program, "-I", include, "-DTIMES=4").exit_code == 0
    assert "size: 64" in midflight("p4info", program, "-I", include, "-D", "TIMES=4").stdout
    assert "size: 16" in midflight("p4info", program, "-I", include, "-D", "TIMES").stdout


def test_an_invalid_definition_is_rejected(program: Path) -> None:
    result = midflight("check", program, "-D", "=4")
    assert result.exit_code == 2
    assert "'=4' is not NAME or NAME=VALUE" in result.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = midflight("check", tmp_path / "none.p4")
    assert (result.exit_code, result.stderr) == (1, f"midflight: {tmp_path / 'none.p4'}: No such file or directory\n")


def test_a_binary_file_is_rejected(program: Path) -> None:
    program.write_bytes(b"header \xff")
    assert (
        midflight("check", program).stderr == f"midflight: {program}: not UTF-8 text (byte 7)\n    Save it as UTF-8.\n"
    )


def test_p4info(program: Path, tmp_path: Path) -> None:
    result = midflight("p4info", program)
    assert result.exit_code == 0
    assert 'name: "ingress.bridge"' in result.stdout
    assert midflight("p4info", program, "-o", tmp_path / "out" / "bridge.txtpb").stdout == ""
    assert listing(tmp_path / "out") == {"bridge.txtpb": result.stdout}


def test_p4info_of_an_invalid_program_writes_nothing(program: Path, tmp_path: Path) -> None:
    program.write_text("header {")
    assert midflight("p4info", program, "-o", tmp_path / "out" / "x").exit_code == 1
    assert not (tmp_path / "out").exists()
