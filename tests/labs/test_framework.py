"""The parts of the labs: packets, comparisons, reports, the command line, the handout and the page."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result

from midflight.labs.bench import Incorrect, compare
from midflight.labs.catalogue import find_lab, labs
from midflight.labs.grading import Grade
from midflight.labs.grading import Result as Outcome
from midflight.labs.mutants import mutants
from midflight.labs.packets import IP_LAYOUT, IPV4, address, checksum, udp_packet
from midflight.labs.reports import report
from midflight.labs.values import pack, unpack
from tests.cli.run import midflight

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "labs.md"
DOCKERFILE = ROOT / "docs" / "labs" / "Dockerfile"


def packet(**ip: int) -> bytes:
    return udp_packet(ethernet={"dst": 1, "src": 2}, ip={"src": address("10.0.0.1"), **ip}, udp={}, payload=b"abc")


def test_packets_have_their_fields_back() -> None:
    parts, payload = IP_LAYOUT.parse(packet(dst=address("10.9.8.7"), ttl=3))
    assert [each.name for each, _ in parts] == ["ethernet", "ipv4", "udp"]
    assert parts[1][1]["dst"] == 0x0A090807
    assert payload == b"abc"
    assert checksum(IPV4.pack(parts[1][1])) == 0


def test_a_difference_is_named_by_field() -> None:
    assert IP_LAYOUT.differences(packet(ttl=63), packet(ttl=63)) == []
    said = IP_LAYOUT.differences(packet(dst=address("10.0.0.2")), packet(dst=address("10.0.0.3")))
    assert "ipv4.dst is 10.0.0.3, must be 10.0.0.2" in said
    assert IP_LAYOUT.differences(packet() + b"x", packet())[0] == "the packet has 45 bytes, must have 46"
    assert IP_LAYOUT.differences(packet(), packet()[:-1] + b"x") == ["byte 2 of the payload is 0x78, must be 0x63"]


@pytest.mark.parametrize(
    ("wanted", "got", "said"),
    [
        ([], [(3, b"")], "it leaves by port 3, must be dropped"),
        ([(2, b"")], [], "it is dropped, must leave by port 2"),
        ([(2, b""), (4, b"")], [(2, b"")], "it leaves by port 2, must leave by ports 2, 4"),
    ],
)
def test_the_first_packet_that_differs_is_named(
    wanted: list[tuple[int, bytes]], got: list[tuple[int, bytes]], said: str
) -> None:
    sent = [(1, packet()), (7, packet(ttl=9))]
    with pytest.raises(Incorrect, match=rf"packet 2 \(late\), by port 7: .*ttl 9.*\n  {said}"):
        compare(IP_LAYOUT, sent, [[], wanted], [[], got], ["", "late"])


@pytest.mark.parametrize("value", [None, True, 3, -1.5, "a", b"\x00\xff", [1, [2]], {"a": {1: b"x"}}])
def test_values_cross_the_pipe(value: object) -> None:
    assert unpack(json.loads(json.dumps(pack(value)))) == value


def test_other_values_do_not_cross_the_pipe() -> None:
    endless: list[object] = []
    endless.append(endless)
    for value in (object(), float("nan"), endless):
        with pytest.raises((TypeError, ValueError)):
            pack(value)
    for data in ({"bytes": "zz"}, {"other": 1}, {"dict": [[[1], 2]]}):
        with pytest.raises(ValueError):
            unpack(data)


GRADE = Grade("forwarding", 9, (Outcome("a", "Do a", 10, 10), Outcome("b", "Do b", 0, 30, "b is wrong")))


def test_reports_have_points_and_reasons() -> None:
    assert json.loads(report(GRADE, "json"))["points"] == 10
    scope = json.loads(report(GRADE, "gradescope"))
    assert scope["score"] == 10
    assert [(each["score"], each["max_score"], each["output"]) for each in scope["tests"]] == [
        (10, 10, "passed"),
        (0, 30, "b is wrong"),
    ]
    assert "9" not in report(GRADE, "gradescope"), "students must not see the seed"
    most, ada = csv.DictReader(io.StringIO(report(GRADE, "otter", "ada")))
    assert (most["file"], most["b"], ada["file"], ada["b"]) == ("points-per-question", "30.0", "ada", "0.0")
    assert ada["percent_correct"] == "0.25"
    (row,) = csv.DictReader(io.StringIO(report(GRADE, "nbgrader", "ada")))
    assert (row["student_id"], row["score"], row["max_score"], row["timestamp"]) == ("ada", "10.0", "40.0", "")


def run(*arguments: str) -> Result:
    return midflight("lab", *arguments)


def test_a_student_starts_checks_and_asks_for_hints(tmp_path: Path) -> None:
    folder = str(tmp_path / "work")
    assert run("start", "calculator", folder).exit_code == 0
    assert "exists already" in run("start", "calculator", folder).output
    checked = run("check", folder, "--json")
    assert checked.exit_code == 1
    assert json.loads(checked.stdout)["lab"] == "calculator"
    hints = find_lab("calculator").hints
    assert hints[1] in run("hint", "calculator", "--number", "2").output
    assert run("hint", "calculator", "--number", "9").exit_code == 1
    assert run("solution", "calculator", "--to", folder).exit_code == 0
    assert "100 of 100 points" in run("check", folder).output


def test_two_grades_with_one_seed_are_one_file(tmp_path: Path) -> None:
    run("start", "tunnels", str(tmp_path / "work"))
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for seed, file in zip(("3", "3"), files, strict=True):
        done = run("grade", str(tmp_path / "work"), "--lab", "tunnels", "--seed", seed, "--out", str(file))
        assert done.exit_code == 0, done.output
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_missing_file_and_an_unknown_lab_are_explained(tmp_path: Path) -> None:
    assert "did you mean tunnels" in run("start", "tunels").output
    assert "--lab" in run("check", str(tmp_path)).output
    done = run("grade", str(tmp_path), "--lab", "tunnels", "--seed", "1", "--out", "-")
    assert done.exit_code == 0
    assert "the file tunnels.p4 is missing" in done.stdout


def test_the_handout_has_no_solution(tmp_path: Path) -> None:
    folder = tmp_path / "handout"
    assert run("export", "--students", str(folder)).exit_code == 0
    assert "not an empty folder" in run("export", "--students", str(folder)).output
    given = {each.name for each in folder.rglob("*")}
    assert given.isdisjoint({"grading.py", "mutants.toml", "solution"})
    for lab in labs():
        start, solved = lab.starter(), lab.solution()
        texts = [(folder / lab.name / name).read_text() for name in [*start, "README.md", "hints.md"]]
        for name, text in solved.items():
            kept = start.get(name, "").splitlines()
            own = [each.strip() for each in text.splitlines() if each not in kept and len(each.strip()) > 30]
            leaked = [each for each in own if any(each in given for given in texts)]
            assert len(leaked) <= max(2, len(own) // 4), (lab.name, leaked)  # hints quote single lines
        for each in mutants(lab.folder):
            assert not any(each.fault in given for given in texts if len(each.fault) > 25), each.fault


def test_the_page_lists_the_labs() -> None:
    lines = ["| lab | | level | minutes |", "|---|---|---|---|"]
    lines += [f"| `{each.name}` | {each.summary} | {each.level} | {each.minutes} |" for each in labs()]
    text = PAGE.read_text()
    wanted = re.sub(
        r"<!-- labs -->.*<!-- end -->", lambda _: "\n".join(["<!-- labs -->", *lines, "<!-- end -->"]), text, flags=re.S
    )
    if os.environ.get("MIDFLIGHT_GOLDEN") == "write":
        PAGE.write_text(wanted)
        return
    assert wanted == text, "write it: MIDFLIGHT_GOLDEN=write"


def run_steps() -> list[str]:
    text = re.sub(r"\\\n", " ", DOCKERFILE.read_text())
    return re.findall(r"^RUN (.*)$", text, re.MULTILINE)


@pytest.mark.long
def test_the_steps_of_the_container_work(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(".venv", ".git", ".*_cache", "build"))
    steps = run_steps()
    assert len(steps) >= 4
    environment = {**os.environ, "PREFIX": str(tmp_path / "opt"), "SOURCE": str(source), "MIDFLIGHT_CODE_CACHE": ""}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    for step in steps:
        done = subprocess.run(["sh", "-e", "-c", step], env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{step}\n{done.stderr}"
