"""The conformance harness: cases pass on devices, broken programs are detected, and its files can be used."""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import cast
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from numpy.typing import NDArray

from midflight.cli.root import midflight
from midflight.errors import MidflightError
from midflight.primitives.catalogue import LIBRARY
from midflight.runtime.devices import open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.devices.host import HostDevice
from midflight.runtime.devices.toolchain import P4C, SIMPLE_SWITCH_GRPC
from midflight.runtime.engine import Packets
from midflight.testbed.conformance import report as reports
from midflight.testbed.conformance import run
from midflight.testbed.conformance.case import Case, load, schema
from midflight.testbed.conformance.model import answered
from midflight.testbed.conformance.mutants import mutants
from midflight.testbed.conformance.player import Played, Player
from midflight.testbed.conformance.run import Report, Result, Verdict, cases, check, self_test
from midflight.testbed.conformance.shrink import shrink
from midflight.testbed.conformance.traces import generate

MISSING = P4C.missing or SIMPLE_SWITCH_GRPC.missing
WRITTEN = list(cases(count=0))


def named(name: str) -> Case:
    return next(each for each in WRITTEN if each.name == name)


def test_every_case_passes_on_the_embedded_switch() -> None:
    report = check("host", cases(count=1, seed=3))
    assert [(each.case.name, each.differences) for each in report.results if not each.good] == []
    assert not any(each.unasked for each in report.results)


@pytest.mark.bmv2
@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_every_case_passes_on_bmv2() -> None:
    report = check("bmv2", WRITTEN)
    assert [(each.case.name, each.differences) for each in report.results if not each.good] == []


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.long)])
def test_every_broken_program_is_detected(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = mutants()
    assert len(broken) >= 40
    monkeypatch.setattr(run, "mutants", lambda: broken[::step])
    caught = self_test("host", count=0)
    assert len(caught) == len(broken[::step])
    assert [each.mutant.name for each in caught if each.case is None] == []
    # None of them merely fails to compile, which would prove nothing.
    assert [each.mutant.name for each in caught if each.case and each.case.startswith("(")] == []


def test_written_answers_agree_with_the_model() -> None:
    for case in WRITTEN:
        meant = answered(case, case.program())
        assert (meant.steps, meant.alerts) == (case.steps, case.alerts)


def test_generated_cases_are_determined_by_their_seed() -> None:
    assert generate("Aggregate", 7, 2) == generate("Aggregate", 7, 2)
    assert generate("Aggregate", 7, 2) != generate("Aggregate", 8, 2)


def test_cases_round_trip_through_files(tmp_path: Path) -> None:
    case = replace(generate("Cache", 1, 0), expected_failures={"bmv2": "a reason"})
    assert any(step.writes for step in case.steps)
    (tmp_path / "case.json").write_text(case.json())
    assert load(tmp_path / "case.json") == case


@pytest.mark.parametrize("case", [*WRITTEN, *(generate(name, 5, 0) for name in LIBRARY)], ids=lambda case: case.name)
def test_cases_conform_to_the_published_schema(case: Case) -> None:
    reported = json.loads(CliRunner().invoke(midflight, ["conformance", "--schema"], standalone_mode=False).stdout)
    assert reported == schema()
    Draft202012Validator.check_schema(reported)
    assert list(Draft202012Validator(reported).iter_errors(json.loads(case.json()))) == []


def test_map_writes_of_the_controller_are_part_of_a_case() -> None:
    made = [generate("Cache", 2, number) for number in range(3)]
    tests = [case for case in made if any(step.writes for step in case.steps)]
    assert tests
    assert all(each.good for each in check("host", tests).results)
    without = [replace(case, steps=tuple(replace(step, writes=()) for step in case.steps)) for case in tests]
    assert not all(each.good for each in check("host", without).results)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "format: 'midflight-case-1' was expected"),
        ({"primitive": "Nothing"}, "no primitive 'Nothing'"),
        ({"steps": [{"port": 1, "packet": ""}]}, "steps[0]: 'expect' is a required property"),
        ({"steps": [{"port": 1, "packet": "zz", "expect": []}]}, "steps[0].packet: 'zz' does not match"),
        ({"step": []}, "Additional properties are not allowed ('step' was unexpected)"),
    ],
)
def test_an_invalid_file_is_reported(tmp_path: Path, change: dict[str, object], message: str) -> None:
    document = json.loads(WRITTEN[0].json()) | change
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(document))
    with pytest.raises(MidflightError, match=re.escape(message)) as caught:
        load(file)
    assert str(file) in str(caught.value)


def test_a_failing_case_is_shrunk() -> None:
    case = named("aggregate-sums-once")
    mutant = next(each for each in mutants() if each.name == "duplicate-multicast")
    with open_device("host") as opened:
        device = cast(PacketDevice, opened)
        with Player(device, case, mutant.apply(case.program().p4())) as player:
            small = shrink(case, lambda each: not player.play(each).passed)
    # Three contributions complete a sum, and a fourth requests it again.
    assert len(small.steps) == 4
    assert len(small.steps[-1].expect) == 1


class Forgetful(HostDevice):
    """A switch that loses its first packets."""

    lost = False

    def process(self, packets: Packets, now: int = 0, times: NDArray[np.uint64] | None = None) -> Packets:
        if not self.lost and len(packets):
            self.lost = True
            return Packets.from_list([])
        return super().process(packets, now, times)


def test_a_case_that_passes_on_retry_is_reported_as_flaky() -> None:
    case = named("filter-at-the-edges")
    report = check("host", [case, case], start=Forgetful)
    failed, passed = report.results
    assert (failed.verdict, failed.flaky, failed.case) == (Verdict.FAILED, True, case)
    assert failed.differences[-1] == "flaky: it passed when it was played again"
    assert (passed.verdict, passed.flaky) == (Verdict.PASSED, False)
    assert not report.good
    assert 'message="flaky: packet ' in reports.junit([report])
    document = json.loads(json.dumps(reports.summary([report])))
    assert [each["flaky"] for each in document["results"]] == [True, False]
    (reason,) = document["matrix"]["Filter"]["host"]["reasons"]
    assert reason.endswith("(flaky)")


def test_an_expected_failure_that_passes_fails_the_run() -> None:
    known = replace(named("filter-at-the-edges"), expected_failures={"host": "it is broken"})
    (result,) = check("host", [known]).results
    assert result.verdict is Verdict.UNEXPECTED_PASS
    assert not result.good


def test_an_expected_failure_does_not_fail_the_run() -> None:
    case = named("filter-at-the-edges")
    wrong = replace(case.steps[0], expect=((1, b"nothing like it"),))
    known = replace(case, steps=(wrong, *case.steps[1:]), expected_failures={"host": "it is broken"})
    (result,) = check("host", [known]).results
    assert result.verdict is Verdict.EXPECTED_FAILURE
    assert result.good


def test_wrong_register_state_fails_a_case() -> None:
    case = named("aggregate-sums-once")
    wrong = replace(case, state=(replace(case.state[0], value=6),))
    with open_device("host") as opened, Player(cast(PacketDevice, opened), wrong) as player:
        assert player.play(wrong).differences == ("register held[0] is 5, must be 6",)


def test_a_failing_run_leaves_files_to_reproduce_it(tmp_path: Path) -> None:
    case = named("filter-at-the-edges")
    (tmp_path / "cases").mkdir()
    # The written answer is wrong, so the run fails. Shrinking uses the model, which is correct.
    wrong = replace(case, steps=(replace(case.steps[1], expect=()),))
    (tmp_path / "cases" / "wrong.json").write_text(wrong.json())
    arguments = ["conformance", "--cases", "0", "--case-dir", str(tmp_path / "cases"), "--keep", str(tmp_path / "kept")]
    arguments += ["--junit", str(tmp_path / "out.xml"), "--json", str(tmp_path / "out.json")]
    done = CliRunner().invoke(midflight, arguments)
    assert done.exit_code == 1
    assert "filter-at-the-edges: failed" in done.output
    assert "packet 0" in done.output
    assert "the packet leaves by port" in done.output
    folder = tmp_path / "kept" / "host" / "filter-at-the-edges"
    assert load(folder / "case.json") == wrong
    assert "V1Switch" in (folder / "program.p4").read_text()
    assert (folder / "packets.pcap").stat().st_size > 24
    suite = ElementTree.parse(tmp_path / "out.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert [(each.get("name"), float(each.get("time", "-1")) > 0) for each in suite.iter("testcase")] == [
        ("filter-at-the-edges", True)
    ]
    assert "in by port" in (folder / "trace.txt").read_text()
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["good"] is False
    assert document["matrix"]["Filter"]["host"]["works"] is False
    assert "llvm" in document["versions"]["host"]


def test_a_successful_run_exits_with_status_0(tmp_path: Path) -> None:
    done = CliRunner().invoke(midflight, ["conformance", "--primitive", "Filter", "--cases", "1", "--json", "-"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["good"] is True


def test_an_interrupted_run_keeps_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[Case] = []

    def play(self: Player, case: Case) -> Played:
        played.append(case)
        if len(played) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return Played(())

    monkeypatch.setattr(Player, "play", play)
    arguments = ["conformance", "--primitive", "Filter", "--cases", "9", "--self-test", "--device", "host"]
    arguments += ["--device", "bmv2", "--junit", str(tmp_path / "out.xml"), "--json", str(tmp_path / "out.json")]
    done = CliRunner().invoke(midflight, arguments)
    assert done.exit_code == 130
    total = len(cases(["Filter"], count=9))
    assert f"host: interrupted, {total - 3} cases were not played" in done.output
    document = json.loads((tmp_path / "out.json").read_text())
    assert (document["good"], document["left"]) == (False, {"host": total - 3})
    assert [(each["case"], each["verdict"]) for each in document["results"]] == [(x.name, "passed") for x in played]
    assert ElementTree.parse(tmp_path / "out.xml").getroot()[0].get("tests") == "3"


def test_a_second_interrupt_does_not_wait_for_the_case(monkeypatch: pytest.MonkeyPatch) -> None:
    def play(self: Player, case: Case) -> Played:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it goes on")

    monkeypatch.setattr(Player, "play", play)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    try:
        done = CliRunner().invoke(midflight, ["conformance", "--primitive", "Filter", "--cases", "1"])
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.exit_code == 130


def test_a_failure_is_not_shrunk_if_the_run_is_stopping() -> None:
    case = named("filter-at-the-edges")
    wrong = replace(case, steps=tuple(replace(each, expect=()) for each in case.steps), state=())
    asked = iter([False])
    report = check("host", [wrong, case], stop=lambda: next(asked, True))
    (result,) = report.results
    assert (result.verdict, result.case, report.left) == (Verdict.FAILED, wrong, 1)


def test_an_unknown_primitive_is_reported() -> None:
    with pytest.raises(MidflightError, match="no primitive 'Sum' has cases"):
        cases(["Sum"])


def test_errors_of_a_device_are_results() -> None:
    result = Result(WRITTEN[0], Verdict.ERROR, ("it died",), log="the last words")
    text = reports.junit([Report("host", 0, (result,))])
    assert "it died" in text
    assert "the last words" in text
