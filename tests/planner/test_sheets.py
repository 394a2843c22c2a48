"""Sheets with hostile numbers: `fit` and `place` answer with finite figures, or refuse the sheet with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib.resources import files
from itertools import cycle

import pytest

from midflight.errors import MidflightError
from midflight.primitives import Program, Threshold
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.sheetfile import named_sheet, parse_sheet
from midflight.runtime.fit import fit
from midflight.runtime.placement.planner.model import Application, Device, Link, Network, Sink, Source, Step
from midflight.runtime.placement.planner.plan import plan

HOSTILE = (
    "0", "-1", "nan", "inf", "-inf", "1e308", "1e-320", "1" + "0" * 30, "1" + "0" * 5000, "true", '""', "[]", "[0, 0]",
    "{}", '"1e999Gbit"', '"-1Gbit"', '"1e30s"', "2020-01-01",
)  # fmt: skip
OBJECTIVES = ("bytes", "latency", "energy", "spare")


def changed(name: str) -> Iterator[str]:
    """Yield a sheet that ships with Midflight once for each of its values, and for three hostile ones in its place."""
    lines = (files("midflight.runtime.devices") / "sheets" / f"{name}.toml").read_text().splitlines()
    hostile = cycle(HOSTILE)
    for number, line in enumerate(lines):
        if found := re.match(r"(\w+ = \{ value = ).*(, source = .*)", line):
            for _ in range(3):
                value = found[1] + next(hostile) + found[2]
                yield "\n".join([*lines[:number], value, *lines[number + 1 :]])


@pytest.mark.parametrize("name", ["tofino", "host"])
def test_hostile_numbers_in_a_sheet_are_refused_or_harmless(name: str) -> None:
    program = CheckedProgram(Program(Threshold("p", above=900, clear=850)).p4())
    application = Application(
        [Source("data", ("h1",), 1e7)], [Step("first", ("data",))], [Sink("store", ("h1",), "first")]
    )
    accepted = refused = 0
    for number, text in enumerate(changed(name)):
        try:
            sheet = parse_sheet(text, "sheet.toml")
        except MidflightError:
            refused += 1
            continue
        accepted += 1
        json.dumps(fit(program, sheet).json(), allow_nan=False)
        devices = {"chip": Device("chip", sheet), "h1": Device("h1", named_sheet("host"), forwards=False)}
        with suppress(MidflightError):
            plan(Network(devices, (Link("h1", "chip"),)), application, objective=OBJECTIVES[number % 4])
    assert accepted >= 3
    assert refused > 20


def test_what_no_stage_has_is_a_problem_and_not_waited_for() -> None:
    text = (files("midflight.runtime.devices") / "sheets" / "tofino.toml").read_text()
    sheet = parse_sheet(text.replace("tcam = { value = 24,", "tcam = { value = 0,"), "sheet.toml")
    found = fit(CheckedProgram(Program(Threshold("p", above=900, clear=850)).p4()), sheet)
    assert not found.fits
    assert any("TCAM blocks in one stage" in each.message and each.available == 0 for each in found.problems)
