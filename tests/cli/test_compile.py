"""`midflight compile`: all files or none are written, and errors have their place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from midflight.p4.frontend import check
from midflight.primitives import Aggregate, Program, Threshold
from tests.cli.run import PROGRAM, listing, midflight, process

NAMES = {"lab3.p4", "lab3.p4info.txtpb", "lab3.wire.json", "lab3.html", "lab3.lua", "lab3_scapy.py"}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    path = tmp_path / "lab3.py"
    path.write_text(PROGRAM)
    return path


def test_all_files(lab: Path, tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    result = midflight("compile", lab, "-o", out)
    assert result.exit_code == 0, result.stderr
    files = listing(out)
    assert set(files) == NAMES
    assert set(result.stdout.splitlines()) == {str(out / name) for name in NAMES}
    program = Program(Aggregate("gradients", workers=4, lanes=2, slots=8), Threshold("pressure", above=900, clear=850))
    assert files["lab3.p4"] == program.p4()
    assert json.loads(files["lab3.wire.json"]) == program.schema()
    assert "ingress.gradients" in files["lab3.p4info.txtpb"]
    check(files["lab3.p4"])


def test_a_program_that_only_steers_has_no_messages(tmp_path: Path) -> None:
    lab, out = tmp_path / "forwarder.py", tmp_path / "out"
    lab.write_text("from midflight.primitives import Program, Steering\n\nprogram = Program(Steering())\n")
    result = midflight("compile", lab, "-o", out)
    assert result.exit_code == 0, result.stderr
    assert set(listing(out)) == {"forwarder.p4", "forwarder.p4info.txtpb", "forwarder.wire.json", "forwarder.html"}


def test_without_a_folder_the_p4_is_printed_and_nothing_written(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = listing(tmp_path)
    result = midflight("compile", lab)
    assert (result.exit_code, result.stderr) == (0, "")
    midflight("compile", lab, "-o", tmp_path / "out")
    assert result.stdout == listing(tmp_path / "out")["lab3.p4"]
    printed = midflight("compile", "threshold", "--set", "above=9", "--set", "clear=8")
    assert printed.stdout == Program(Threshold("threshold", above=9, clear=8)).p4()
    assert set(listing(tmp_path)) - set(before) == {f"out/{name}" for name in NAMES} | set()


@pytest.mark.parametrize("arguments", [(), ("--explain", "-o", "out")])
def test_json_requires_an_output_folder(lab: Path, arguments: tuple[str, ...]) -> None:
    result = midflight("compile", lab, "--json", *arguments)
    assert result.exit_code == 2
    assert "use it with -o" in result.stderr


def test_repeated_compilation_gives_the_same_files(lab: Path, tmp_path: Path) -> None:
    midflight("compile", lab, "-o", tmp_path / "one")
    process("compile", lab, "-o", tmp_path / "two", PYTHONHASHSEED="5")
    assert listing(tmp_path / "one") == listing(tmp_path / "two") != {}


def test_files_have_the_usual_permissions(lab: Path, tmp_path: Path) -> None:
    midflight("compile", lab, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "lab3.p4").stat().st_mode == lab.stat().st_mode


def test_json(lab: Path, tmp_path: Path) -> None:
    reported = json.loads(midflight("compile", lab, "-o", tmp_path, "--json").stdout)
    assert reported["p4"] == str(tmp_path / "lab3.p4")
    assert reported["applications"] == {"gradients": 1, "pressure": 2}


def test_the_program_is_chosen_by_name_or_is_the_only_one(lab: Path, tmp_path: Path) -> None:
    lab.write_text(PROGRAM.replace("program =", "edge ="))
    assert midflight("compile", lab, "-o", tmp_path / "only").exit_code == 0
    lab.write_text(lab.read_text() + "other = Program(Threshold('t', above=9, clear=8))\n")
    assert midflight("compile", lab, "-o", tmp_path / "x").stderr == (
        f"midflight: {lab} has several programs: edge, other\n    Choose one with --program NAME.\n"
    )
    assert midflight("compile", lab, "-o", tmp_path / "named", "--program", "other").exit_code == 0
    assert list(json.loads(listing(tmp_path / "named")["lab3.wire.json"])["applications"]) == ["t"]
    result = midflight("compile", lab, "-o", tmp_path / "x", "--program", "third")
    assert result.stderr == f"midflight: {lab} has no program named third\n    It has: edge, other.\n"
    assert not (tmp_path / "x").exists()


def test_a_file_may_import_modules_beside_it(lab: Path, tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_lab3.py").write_text("WORKERS = 3\n")
    text = PROGRAM.replace("workers=4", "workers=WORKERS")
    lab.write_text("from neighbour_of_lab3 import WORKERS\n" + text)
    assert midflight("compile", lab, "-o", tmp_path / "out").exit_code == 0
    assert '"workers": 3' in listing(tmp_path / "out")["lab3.wire.json"]


def test_a_users_own_primitive(lab: Path, tmp_path: Path) -> None:
    lab.write_text(
        "from midflight.primitives import Header, Packet, Primitive, Program, bit\n\n\n"
        "class Twice(Primitive):\n"
        '    """Double a value."""\n\n'
        "    class Wire(Header):\n"
        "        value = bit[32]\n\n"
        "    def ingress(self, packet: Packet, wire: Wire) -> None:\n"
        "        wire.value = wire.value + wire.value\n"
        "        packet.reply()\n\n\n"
        'program = Program(Twice("twice"))\n'
    )
    result = midflight("compile", lab, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "control twice_kernel" in listing(tmp_path / "out")["lab3.p4"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x = 1\nprogram = oops(2)\n",
            "{}:2:11: NameError: name 'oops' is not defined\n    program = oops(2)\n              ^^^^\n",
        ),
        ("def f(:\n    pass\n", "{}:1:7: SyntaxError: invalid syntax\n    def f(:\n          ^\n"),
        (
            "raise SystemExit(3)\n",
            "{}:1:1: SystemExit: 3\n    raise SystemExit(3)\n    ^^^^^^^^^^^^^^^^^^^\n"
            "    The file ends the program; a file with a Program is loaded as a module.\n",
        ),
        (
            "x = 1\n",
            "midflight: there is no Program in {}\n    Write `program = Program(...)` at the file's top level.\n",
        ),
        (
            "def f() -> None:\n    int('x')\n\n\nf()\n",
            "{}:2:5: ValueError: invalid literal for int() with base 10: 'x'\n    int('x')\n    ^^^^^^^^\n".replace(
                "    int('x')\n    ^^^", "        int('x')\n        ^^^"
            ),
        ),
    ],
)
def test_a_mistake_in_the_user_s_file(lab: Path, tmp_path: Path, text: str, message: str) -> None:
    lab.write_text(text)
    result = midflight("compile", lab, "-o", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (1, message.format(lab))
    assert not (tmp_path / "out").exists()


def test_an_invalid_parameter_is_reported_with_its_place(lab: Path, tmp_path: Path) -> None:
    lab.write_text(PROGRAM.replace("workers=4", "workers=0"))
    result = midflight("compile", lab, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{lab}:3:19: ")
    assert "workers" in result.stderr.splitlines()[0]
    assert "Traceback" not in result.stderr


def test_a_construct_outside_the_language_is_reported_with_its_place(lab: Path, tmp_path: Path) -> None:
    lab.write_text(
        "from midflight.primitives import Header, Packet, Primitive, Program, bit\n\n\n"
        "class Bad(Primitive):\n"
        '    """Loop for ever."""\n\n'
        "    class Wire(Header):\n"
        "        value = bit[32]\n\n"
        "    def ingress(self, packet: Packet, wire: Wire) -> None:\n"
        "        while wire.value > 3:\n"
        "            packet.drop()\n\n\n"
        'program = Program(Bad("bad"))\n'
    )
    done = process("compile", lab, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{lab}:11:9: ")
    assert "\n            while wire.value > 3:\n            ^" in done.stderr
    assert not (tmp_path / "out").exists()


def test_existing_files_remain_after_an_error(lab: Path, tmp_path: Path) -> None:
    midflight("compile", lab, "-o", tmp_path / "out")
    before = listing(tmp_path / "out")
    lab.write_text(PROGRAM + "oops\n")
    assert midflight("compile", lab, "-o", tmp_path / "out").exit_code == 1
    assert listing(tmp_path / "out") == before


def test_an_unwritable_folder_is_reported(lab: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = midflight("compile", lab, "-o", tmp_path / "file" / "below")
    assert result.exit_code == 1
    assert result.stderr == f"midflight: {tmp_path / 'file' / 'below'}: Not a directory\n"


def test_no_file_is_written_if_one_cannot_be(lab: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "lab3.wire.json").mkdir(parents=True)
    result = midflight("compile", lab, "-o", out)
    assert (result.exit_code, result.stderr) == (1, f"midflight: {out / 'lab3.wire.json'}: is a directory\n")
    assert listing(out) == {}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = midflight("compile", tmp_path / "none.py")
    assert (result.exit_code, result.stderr) == (1, f"midflight: {tmp_path / 'none.py'}: No such file or directory\n")


def test_violations_of_a_profile_are_reported_with_both_lines(tmp_path: Path) -> None:
    lab = tmp_path / "circle.py"
    lab.write_text(CIRCLE)
    assert midflight("compile", lab, "-o", tmp_path / "out").exit_code == 0
    result = midflight("compile", lab, "-o", tmp_path / "asic", "--profile", "asic")
    assert result.exit_code == 1
    assert "self.b.update(0, lambda old: old + first)" in result.stderr
    assert "self.a.update(0, lambda old: old + second)" in result.stderr
    assert not (tmp_path / "asic").exists()
    lab.write_text(CIRCLE.replace("old + second", "old + 1"))
    result = midflight("compile", lab, "-o", tmp_path / "asic", "--profile", "asic")
    assert (result.exit_code, result.stderr) == (0, "")


def test_the_needs_of_a_whole_program_are_checked_against_a_profile(tmp_path: Path) -> None:
    lab = tmp_path / "large.py"
    lab.write_text(
        "from midflight.primitives import *\n"
        "program = Program(*(Aggregate(f'a{n}', workers=4, lanes=32, slots=8) for n in range(2)))\n"
    )
    result = midflight("compile", lab, "-o", tmp_path, "--profile", "asic")
    assert result.exit_code == 1
    assert "the program does not fit asic: needs" in result.stderr
    assert "stages, has 12" in result.stderr


def test_memory_beyond_a_stage_violates_a_profile(tmp_path: Path) -> None:
    lab = tmp_path / "wide.py"
    lab.write_text(CIRCLE.replace("old + second", "old + 1").replace("size=1)", "size=1 << 19)"))
    assert "1 << 19" in lab.read_text()
    result = midflight("compile", lab, "--profile", "asic")
    assert result.exit_code == 1
    assert "needs 129 SRAM blocks in one stage, 49 more than the 80 that there are" in result.stderr


def test_an_unknown_profile_is_rejected(lab: Path, tmp_path: Path) -> None:
    result = midflight("compile", lab, "-o", tmp_path / "out", "--profile", "fpga")
    assert result.exit_code == 1
    assert "there is no profile 'fpga'" in result.stderr


CIRCLE = """\
from midflight.primitives import *


class Circle(Primitive):
    class Wire(Header):
        value = bit[32]

    def setup(self) -> None:
        self.a = Register(bit[32], size=1)
        self.b = Register(bit[32], size=1)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        if wire.value == 0:
            first = self.a.read(0)
            self.b.update(0, lambda old: old + first)
        else:
            second = self.b.read(0)
            self.a.update(0, lambda old: old + second)


program = Program(Circle("circle"))
"""


def test_all_mistakes_of_a_kernel_are_printed(tmp_path: Path) -> None:
    lab = tmp_path / "lab.py"
    lab.write_text(
        "from midflight.primitives import *\n\n\n"
        "class Lab(Primitive):\n"
        "    class Wire(Header):\n"
        "        value = bit[8]\n\n"
        "    def ingress(self, packet, wire):\n"
        "        wire.valeu = 1\n"
        "        wire.value = 256\n\n\n"
        'program = Program(Lab("lab"))\n'
    )
    result = midflight("compile", lab, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert f"{lab}:9:9: the header has no field `valeu`" in result.stderr
    assert f"{lab}:10:22: 256 does not fit bit[8]" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_chain_of_branches_that_python_cannot_compile_is_named(tmp_path: Path) -> None:
    file = tmp_path / "long.py"
    chain = "if x == 0:\n    y = 0\n" + "".join(f"elif x == {each}:\n    y = {each}\n" for each in range(1, 10_000))
    file.write_text(f"# {'x' * 200}\nx = 3\n{chain}")
    result = midflight("compile", file)
    assert result.exit_code == 1
    assert result.output.startswith(f"{file}:3:1: Python cannot compile a chain of 9999 `elif`s\n")
    assert "write it as `match`" in result.output


def test_errors_of_pythons_compiler_are_reported_with_their_place(tmp_path: Path) -> None:
    lab = tmp_path / "lab.py"
    lab.write_text("one = 1\nmany = " + " + ".join(["one"] * 100_000) + "\n")
    result = midflight("compile", lab, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert f"{lab}:2:1: Python cannot compile this file" in result.stderr
    assert len(result.stderr) < 1000
