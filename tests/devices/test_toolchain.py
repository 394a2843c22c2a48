"""p4lang's tools: how they are found, and the errors if they are missing or reject a program."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from midflight.errors import DeviceError, P4Error
from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from midflight.runtime.devices.toolchain import P4C, SIMPLE_SWITCH_GRPC, Tool, compile_p4
from tests.bmv2 import BMV2
from tests.p4runtime.support import EVERYTHING

PROGRAM = """\
#include <core.p4>
#include <v1model.p4>

struct headers_t { }
struct metadata_t { bit<8> mark; }

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    state start { transition accept; }
}
control checksums(inout headers_t hdr, inout metadata_t meta) {
    apply { }
}
control pipe(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    apply {
        /* BODY */
    }
}
control deparse(packet_out packet, in headers_t hdr) {
    apply { }
}
V1Switch(parse(), checksums(), pipe(), pipe(), checksums(), deparse()) main;
"""


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without p4lang's tools. Temporary files go to the returned folder."""
    for tool in (P4C, SIMPLE_SWITCH_GRPC):
        monkeypatch.delenv(tool.variable, raising=False)
    (tmp_path / "bin").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


@pytest.mark.parametrize(
    ("tool", "name", "variable", "package"),
    [
        (P4C, "p4c-bm2-ss or p4c", "MIDFLIGHT_P4C", "p4lang-p4c"),
        (SIMPLE_SWITCH_GRPC, "simple_switch_grpc", "MIDFLIGHT_SIMPLE_SWITCH_GRPC", "p4lang-bmv2"),
    ],
)
@pytest.mark.usefixtures("nothing")
def test_a_missing_tool_is_reported_with_ways_to_install_it(tool: Tool, name: str, variable: str, package: str) -> None:
    with pytest.raises(DeviceError) as caught:
        tool.find()
    reported = str(caught.value)
    assert reported.startswith(f"{name} is required, but not on PATH\n")
    assert all(each in reported for each in (variable, package, "p4lang/", "image"))
    assert tool.missing == f"{name} is required, but not on PATH"


def test_the_variable_has_precedence_over_path(nothing: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_path = script(tmp_path / "bin" / "p4c-bm2-ss", "echo 'Version 1.2.3 (SHA: 1)'")
    assert P4C.find() == str(on_path)
    reported = script(tmp_path / "mine", "echo 9.8")
    monkeypatch.setenv("MIDFLIGHT_P4C", str(reported))
    assert P4C.find() == str(reported)
    monkeypatch.setenv("MIDFLIGHT_P4C", str(tmp_path / "bin"))
    with pytest.raises(DeviceError, match=r"MIDFLIGHT_P4C is .*/bin, which cannot be executed"):
        P4C.find()
    monkeypatch.setenv("MIDFLIGHT_P4C", "")
    assert P4C.version() == "1.2.3"


def test_a_tool_that_cannot_run_is_reported(nothing: Path, tmp_path: Path) -> None:
    script(tmp_path / "bin" / "p4c", "echo library missing >&2; exit 127")
    with pytest.raises(DeviceError, match=r"does not print its version\n    library missing"):
        P4C.version()
    (tmp_path / "bin" / "p4c").write_text("no program at all")
    with pytest.raises(DeviceError, match=r"cannot run .*bin/p4c: Exec format error"):
        P4C.version()


def test_a_hanging_compiler_is_stopped_with_its_children(nothing: Path, tmp_path: Path) -> None:
    # The child keeps the pipe open, so the end of the compiler alone would not be noticed.
    script(tmp_path / "bin" / "p4c-bm2-ss", "/bin/sleep 300 & /bin/sleep 300")
    with pytest.raises(DeviceError, match=r"p4c-bm2-ss took more than 0\.2 s and was stopped"):
        compile_p4(PROGRAM, timeout=0.2)
    assert not list(nothing.iterdir())


def test_a_compiler_without_output_is_reported(nothing: Path, tmp_path: Path) -> None:
    script(tmp_path / "bin" / "p4c-bm2-ss", "true")
    with pytest.raises(DeviceError, match="succeeded, but wrote no program"):
        compile_p4(PROGRAM)
    assert not list(nothing.iterdir())


def test_the_driver_gets_a_folder(nothing: Path, tmp_path: Path) -> None:
    says = 'echo "$@" > "$0.arguments"; : > p4info.bin; echo config > program.json'
    driver = script(tmp_path / "bin" / "p4c", says)
    assert compile_p4(PROGRAM, defines={"WIDTH": "3"}).config == b"config\n"
    arguments = Path(f"{driver}.arguments").read_text()
    assert "--target bmv2 --arch v1model -o . program.p4" in arguments
    assert "-DWIDTH=3" in arguments


# With the real tools


@pytest.mark.usefixtures("real")
class TestReal:
    """Tests that need p4c."""

    pytestmark = BMV2

    def test_versions(self) -> None:
        for tool in (P4C, SIMPLE_SWITCH_GRPC):
            assert tool.version()[0].isdigit()

    def test_a_program_becomes_p4info_and_json(self) -> None:
        compiled = compile_p4(EVERYTHING)
        assert compiled.config.startswith(b"{")
        assert compiled.p4info == p4info(check(EVERYTHING))

    @pytest.mark.parametrize(
        ("body", "message", "marked"),
        [
            ("meta.mark = nothing;", "nothing: declaration not found", "nothing"),
            ("meta.mark = 1 1;", "syntax error, unexpected INTEGER, expecting ;", "1"),
            ("meta.mark    =   (bit<8>)  nowhere;", "nowhere: declaration not found", "nowhere"),
            (
                "standard_metadata.egress_spec = standard_metadata.egress_port; /* a long way */ meta.mark = far_away;",
                "far_away: declaration not found",
                "far_away",
            ),
            ("#error told so", "#error told so", "e"),
        ],
    )
    def test_errors_have_p4cs_message_and_the_place(self, body: str, message: str, marked: str) -> None:
        source = PROGRAM.replace("/* BODY */", body)
        with pytest.raises(P4Error) as caught:
            compile_p4(source, "lab3.p4")
        error = caught.value
        assert error.message == f"p4c: {message}"
        assert error.place is not None
        assert (error.place.file, error.place.text) == ("lab3.p4", f"        {body}")
        assert source.splitlines()[error.place.line - 1] == error.place.text
        start = error.place.column - 1
        assert error.place.text[start : start + error.place.length] == marked

    def test_further_output_of_p4c_is_quoted(self) -> None:
        source = PROGRAM.replace("/* BODY */", "log_msg(3);")
        with pytest.raises(P4Error, match=r"lab3\.p4\(15\): Type of argument '3' \(int\) does not match"):
            compile_p4(source, "lab3.p4")

    def test_a_program_without_main_is_rejected(self) -> None:
        with pytest.raises(P4Error, match=r"^p4c refuses lab3\.p4: Program does not contain a `main' module$"):
            compile_p4("", "lab3.p4")

    def test_includes_are_found_beside_the_program(self, tmp_path: Path) -> None:
        source = PROGRAM.replace("/* BODY */", '#include "body.p4"')
        program = tmp_path / "a folder" / "lab 3.p4"
        program.parent.mkdir()
        program.write_text(source)
        (program.parent / "body.p4").write_text("meta.mark = VALUE;\n")
        assert compile_p4(source, str(program), defines={"VALUE": "(3 + 4)"}).config.startswith(b"{")
        with pytest.raises(P4Error, match=r"a folder/body\.p4:1:1: p4c: VALUE: declaration not found"):
            compile_p4(source, str(program))
        with pytest.raises(P4Error, match=r"lab3\.p4:15:\d+: p4c: body\.p4: No such file or directory"):
            compile_p4(source, "lab3.p4")

    def test_temporary_files_are_removed(self, real: Path) -> None:
        compile_p4(PROGRAM)
        with pytest.raises(P4Error):
            compile_p4("", "lab3.p4")
        assert not list(real.iterdir())


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The real tools. Temporary files go to the returned folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_bug_of_p4c_is_reported_before_its_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "p4c-bm2-ss"
    fake.write_text(
        "#!/bin/sh\n"
        "echo \"program.p4(3): [--Wwarn=unused] warning: 'x' is unused\" >&2\n"
        'echo "Compiler Bug: ir.cpp:8093: Null body" >&2\n'
        "exit 1\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("MIDFLIGHT_P4C", str(fake))
    with pytest.raises(P4Error, match=r"^p4c refuses lab3\.p4: ir\.cpp:8093: Null body$"):
        compile_p4("", "lab3.p4")
