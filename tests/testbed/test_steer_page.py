"""docs/steer-scenarios.md: its examples run, and the commands, policies and tests that it names exist."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

from midflight.cli.steer import steer
from midflight.testbed.steer import POLICIES, SCENARIOS
from tests.pages import check_examples

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "steer-scenarios.md"


def test_the_examples_print_what_the_page_shows() -> None:
    check_examples(PAGE)


def test_the_commands_have_these_options() -> None:
    commands = re.findall(r"^    midflight steer ([^#>\n]+)", PAGE.read_text(), re.M)
    assert len(commands) == 6
    known = {option for parameter in steer.params for option in parameter.opts}
    for line in commands:
        name, *rest = shlex.split(line)
        assert name in SCENARIOS
        assert {each for each in rest if each.startswith("--")} <= known


def test_each_policy_and_scenario_is_described() -> None:
    text = PAGE.read_text()
    for name in (*POLICIES, *SCENARIOS):
        assert re.search(rf"^\| [^|]*`{name}`", text, re.M), name


def test_all_requirements_are_listed_and_the_tests_for_them_exist() -> None:
    rows = re.findall(r"^\| (R\d+) \| .* \| ([^|]*) \|$", PAGE.read_text(), re.M)
    assert [name for name, _ in rows] == [f"R{number}" for number in range(1, 22)]
    for name, cell in rows:
        tests = re.findall(r"`(tests/\S+\.py)::(\w+)`", cell)
        assert tests or cell == "none", name
        for file, function in tests:
            defined = {each.name for each in ast.parse((ROOT / file).read_text()).body if hasattr(each, "name")}
            assert function in defined, f"{name}: {file} has no {function}"
