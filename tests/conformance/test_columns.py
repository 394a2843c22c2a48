"""The capability matrix: its columns from conformance runs, and the page."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from midflight.errors import MidflightError
from midflight.testbed.conformance.columns import Column, column, load_columns, rendered
from midflight.testbed.conformance.run import Report, Result, Verdict
from midflight.testbed.conformance.traces import generate
from tests.cli.run import midflight

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "capability-matrix.md"
START = "<!-- generated -->\n"


def test_the_page_shows_the_columns() -> None:
    head, _, _ = PAGE.read_text().partition(START)
    now = head + START + rendered(load_columns(DOCS / "matrix"))
    if os.environ.get("MIDFLIGHT_GOLDEN") == "write":
        PAGE.write_text(now)
    assert PAGE.read_text() == now, "docs/capability-matrix.md is out of date (MIDFLIGHT_GOLDEN=write updates it)"


def test_a_run_becomes_a_column() -> None:
    threshold, cache, lock = (generate(name, 1, 0) for name in ("Threshold", "Cache", "Lock"))
    results = (
        Result(threshold, Verdict.PASSED),
        Result(cache, Verdict.FAILED, ("another port\nin detail",)),
        Result(lock, Verdict.ERROR, ("the key has 400 bits",)),
    )
    made = column(Report("xdp", 1, results), "xdp", "a command")
    assert made.primitives == {
        "Threshold": ("runs", "1 case"),
        "Cache": ("fails", "another port"),
        "Lock": ("refused", "the key has 400 bits"),
    }


def test_programs_that_exceed_an_assumed_sheet_are_refused(tmp_path: Path) -> None:
    column = tmp_path / "column.json"
    words = ("conformance", "--sheet", "tofino", "--cases", "1", "--primitive", "Threshold", "--primitive", "GroupBy")
    done = midflight(*words, "--column", column, "--junit", tmp_path / "junit.xml")
    assert done.exit_code == 0, done.output
    made = json.loads(column.read_text())
    assert made["device"] == "host, with the sheet tofino"
    assert made["primitives"]["Threshold"]["verdict"] == "runs"
    assert made["primitives"]["GroupBy"]["verdict"] == "refused"
    assert made["primitives"]["GroupBy"]["detail"] in done.stdout
    assert "<skipped" in (tmp_path / "junit.xml").read_text()


def test_columns_of_all_verdicts_are_rendered() -> None:
    one = Column("a", "run", {"x": "1"}, {"P": ("runs", "2 cases"), "Q": ("refused", "too wide")})
    other = Column("b", "compile", {}, {"P": ("compiles", "3 stages")})
    shown = rendered([one, other])
    assert "| P | runs, 2 cases | compiles, 3 stages |\n| Q | refused (1) |  |\n" in shown
    assert "| **together** | 1 runs, 1 refused | 1 compiles |" in shown
    assert "1. Q on a: too wide" in shown


def test_a_malformed_column_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(
        json.dumps({"device": "x", "made_by": "", "versions": {}, "primitives": {"P": {}}})
    )
    with pytest.raises(MidflightError, match=r"x\.json is not a column"):
        load_columns(tmp_path)


def test_a_command_writes_a_column(tmp_path: Path) -> None:
    chosen = ("--primitive", "Threshold", "--cases", "1", "--column", tmp_path / "host.json")
    assert midflight("conformance", *chosen).exit_code == 0
    (found,) = load_columns(tmp_path)
    assert found.made_by == "midflight conformance --device host --cases 1"
    assert found.primitives["Threshold"][0] == "runs"
