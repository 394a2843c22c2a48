"""Conformance tests of P4 programs that users write."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from midflight.cli.root import midflight
from midflight.testbed.conformance.p4mutants import text_mutants
from tests.bmv2 import BMV2
from tests.testing.projects import PROGRAM

MAC, SOURCE = "020000000001", "020000000002"


def packet(destination: str = "0A000202", ttl: str = "40", mac: str = MAC) -> str:
    return f"{mac} {SOURCE} 0800 0000000000000000 {ttl} 11 0000 0A000101 {destination}"


TEST = f"""
add ingress.routes hdr.ipv4.dst:0x0A000200/24 ingress.forward(mac:0x020000000005, port:2)
packet 1 {packet()}
expect 2 {packet(ttl="3F", mac="020000000005")}$
packet 1 {packet("0A090909")}
no_packet
check_counter ingress.arrivals(1) packets == 2
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "router.p4").write_text(PROGRAM)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "routes.stf").write_text(TEST)
    return tmp_path


def conformance(*arguments: str) -> Result:
    return CliRunner().invoke(midflight, ["conformance", "--p4", "router.p4", "--cases", "tests", *arguments])


def test_tests_and_mutants(folder: Path) -> None:
    done = conformance("--self-test", "--json", "out.json")
    assert "host: no traces are generated, because host is the reference" in done.output
    document = json.loads((folder / "out.json").read_text())
    assert [(each["case"], each["verdict"]) for each in document["results"]] == [("routes", "passed")]
    caught = {each["name"]: each["caught_by"] for each in document["mutants"]}
    assert caught["hdr.ipv4.ttl = hdr.ipv4.ttl - 1; -> hdr.ipv4.ttl = hdr.ipv4.ttl + 1;"] == "routes"
    missed = [name for name, by in caught.items() if by is None]
    assert 0 < len(missed) < len(caught)  # nothing reads the register or the packet-out
    assert done.exit_code == 1
    (folder / "tests" / "equivalent.txt").write_text("\n".join(missed))
    assert conformance("--self-test").exit_code == 0


def test_a_failing_test_shows_fields_and_trace(folder: Path) -> None:
    (folder / "tests" / "routes.stf").write_text(TEST.replace(packet(ttl="3F", mac="020000000005"), packet()))
    done = conformance("--junit", "out.xml", "--html", "out.html", "--keep", "kept")
    assert done.exit_code == 1
    assert "ipv4.ttl: expected 0x40, received 0x3f" in done.output
    (test,) = ElementTree.parse(folder / "out.xml").getroot().iter("testcase")
    assert (test.get("name"), test.get("classname")) == ("routes", "host.router.p4")
    assert float(test.get("time", "0")) > 0
    assert "ingress.routes: hit, ingress.forward" in (folder / "out.html").read_text()
    assert (folder / "kept" / "host" / "routes" / "routes.stf").exists()


REFERENCE = """
def reference(packets):
    answers = []
    for port, data in packets:
        route = len(data) >= 34 and data[12:14] == b"\\x08\\0" and data[30:33] == b"\\x0a\\0\\2" and port != 510
        sent = bytes.fromhex("020000000005") + data[6:22] + bytes([data[22] - 1 & 255]) + data[23:] if route else b""
        answers.append([(2, sent)] if route else [])
    return answers
"""


def test_generated_traces_beside_a_function(folder: Path) -> None:
    (folder / "ref.py").write_text(REFERENCE)
    done = conformance("--cases", "30", "--reference", "ref.py")
    assert done.exit_code == 0, done.output
    assert "31 cases pass" in done.output

    (folder / "router.p4").write_text(PROGRAM.replace("hdr.ipv4.dst: lpm", "hdr.ipv4.dst & 0xffffff7f: lpm"))
    (folder / "router.p4").write_text(
        PROGRAM.replace("if (hdr.ipv4.isValid())", "if (hdr.ipv4.isValid() && hdr.ipv4.ttl != 0)")
    )
    done = conformance("--cases", "30", "--reference", "ref.py", "--keep", "kept")
    assert done.exit_code == 1
    assert "packet 0: leaves by no port, must leave by 2" in done.output
    (kept, *_) = sorted((folder / "kept" / "host").glob("routes-0-*/*.stf"))
    text = kept.read_text()
    assert text.count("packet ") == 1  # minimised
    assert "expect 2 020000000005" in text
    played = CliRunner().invoke(midflight, ["stf", "router.p4", str(kept)])
    assert played.exit_code == 1  # the trace fails as a test, too


@pytest.mark.parametrize("", [pytest.param(marks=BMV2)])
def test_generated_traces_on_bmv2(folder: Path) -> None:
    done = conformance("--device", "bmv2", "--cases", "6")
    assert done.exit_code == 0, done.output
    assert "7 cases pass" in done.output


def test_mistakes_are_reported(folder: Path) -> None:
    command = ["conformance", "--p4", "router.p4"]
    for more, message in (
        ([], "--p4 needs the folder with the program's tests"),
        (["--cases", "nowhere"], "'nowhere' is neither a number nor a folder"),
        (["--cases", "tests", "--primitive", "Filter"], "--p4 goes with"),
        (["--cases", "tests", "--device", "grpc:127.0.0.1:1"], "--p4 starts the devices"),
    ):
        done = CliRunner().invoke(midflight, [*command, *more])
        assert done.exit_code == 2, more
        assert message in done.output
    (folder / "ref.py").write_text("")
    assert "there is no function `reference` in ref.py" in conformance("--reference", "ref.py").output
    (folder / "ref.py").write_text("def reference(packets): return []")
    done = conformance("--reference", "ref.py")
    assert done.exit_code == 1
    assert "the reference returns 0 results for" in done.output


def test_mutants_are_valid_and_the_same_each_time() -> None:
    found = text_mutants(PROGRAM, "router.p4", 10)
    assert found == text_mutants(PROGRAM, "router.p4", 10)
    assert len({each.text for each in found}) == 10
    # Comments and strings are left alone.
    assert text_mutants("// a == b\n", "none.p4", 5) == []
