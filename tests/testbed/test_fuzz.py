"""Generated programs: the same ones from a seed, accepted and run alike; and cases that are kept are small and play."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from midflight.errors import MidflightError
from midflight.testbed.fuzz.campaign import JUDGES, campaign
from midflight.testbed.fuzz.kept import keep
from midflight.testbed.fuzz.play import Embedded, Finding, Host, Outcome
from midflight.testbed.fuzz.program import Case, draw_case
from midflight.testbed.fuzz.shrink import shrink
from midflight.testbed.stf.suite import play
from tests.bmv2 import BMV2
from tests.cli.run import midflight

DIGEST = """
import hashlib
from midflight.testbed.fuzz.program import draw_case
text = "".join(f"{case.program}{case.commands}{case.packets}" for case in map(draw_case, range(10)))
print(hashlib.sha256(text.encode()).hexdigest())
"""


def test_a_seed_gives_the_same_cases_in_every_process() -> None:
    text = "".join(f"{case.program}{case.commands}{case.packets}" for case in map(draw_case, range(10)))
    done = subprocess.run(
        [sys.executable, "-c", DIGEST],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "5"},
    )
    assert done.stdout.strip() == hashlib.sha256(text.encode()).hexdigest()


def test_optimised_and_plain_code_agree(tmp_path: Path) -> None:
    found = campaign(range(2), "host", tmp_path, tries=0)
    assert (found.programs, found.packets, found.refused, found.findings) == (2, 80, (), ())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seeds", [pytest.param(range(2), marks=BMV2)])
def test_the_embedded_switch_and_bmv2_agree(seeds: range, tmp_path: Path) -> None:
    found = campaign(seeds, "bmv2", tmp_path, tries=0)
    assert (found.programs, found.findings) == (len(seeds), ())
    assert found.packets > 0


@pytest.mark.long
def test_many_programs_agree(tmp_path: Path) -> None:
    found = campaign(range(100_000, 100_500), "host", tmp_path)
    assert found.findings == ()


def test_a_case_shrinks_to_what_is_wrong_with_it() -> None:
    case = draw_case(1)
    assert "|+|" in str(case.program)

    def wrong(smaller: Case) -> bool:
        return "|+|" in str(smaller.program) and (7, b"") not in smaller.packets and len(smaller.packets) > 1

    smallest = shrink(case, wrong, 5000)
    assert len(smallest.packets) == 2
    assert str(smallest.commands) == ""
    assert str(smallest.program).count("|+|") == 1
    assert str(smallest.program).count(";") < str(case.program).count(";") / 2


class _Wrong(Host):
    """A judge for which every program that has a table is wrong: it pretends that another switch sends nothing."""

    def judge(self, case: Case) -> Finding | None:
        if "table " not in str(case.program):
            return None
        try:
            sent = Embedded().run(case, str(case.program)).sent
        except MidflightError:
            return None
        if not any(sent):
            return None
        return Finding("differs", "packet 1: sent", Outcome(tuple(() for _ in sent)))


def test_a_kept_case_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(JUDGES, "host", _Wrong)
    found = campaign(range(2), "host", tmp_path, packets=10, tries=6)
    assert found.findings
    folder = Path(found.findings[0].folder)
    assert found.findings[0].kind == "differs"
    outcome = play(folder / "program.p4", folder / "program.stf", "host")
    assert "is not dropped, but sent" in outcome.reasons[0]  # the test expects what the other switch did
    captures = " ".join(f"{each.stem.removeprefix('in')}:{each}" for each in sorted(folder.glob("*.pcap")))
    result = midflight("run", folder / "program.p4", "--entries", folder / "entries.txt", "--pcap", captures)
    assert result.exit_code == 0, result.output
    assert "-> port" in result.output


def test_a_case_without_an_outcome_is_kept(tmp_path: Path) -> None:
    case = draw_case(3, packets=2)
    keep(tmp_path, case, case, Finding("refused", "p.p4:1:2: no"), "host", 3)
    assert "seed 3, refused" in (tmp_path / "finding.txt").read_text()
    assert "expect" not in (tmp_path / "program.stf").read_text()


def test_the_command_reports_as_text_and_json(tmp_path: Path) -> None:
    result = midflight("fuzz", "--programs", "1", "--seed", "5", "-o", tmp_path, "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    assert "1 programs, seeds 5: 40 packets compared" in result.output
    data = json.loads((tmp_path / "out.json").read_text())
    assert (data["good"], data["programs"], data["packets"], data["findings"]) == (True, 1, 40, [])
