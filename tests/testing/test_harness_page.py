"""docs/harness.md: its examples pass as the tests of a project."""

from __future__ import annotations

import importlib.util
import re
from importlib.resources import files
from pathlib import Path

import pytest

from tests.testing.projects import run

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parents[2] / "docs" / "harness.md"


def test_the_examples_pass(pytester: pytest.Pytester) -> None:
    solution = files("midflight.labs.courses.forwarding") / "solution" / "forwarding.p4"
    pytester.path.joinpath("router.p4").write_text(solution.read_text())
    pytester.path.joinpath("commands.txt").write_text("table_add routes forward 10.0.2.0/24 => 02:00:00:00:00:05 2\n")
    examples = re.findall(r"^```python\n(.*?)^```\n", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(examples) == 3
    for number, text in enumerate(examples):
        if "import ptf" not in text or importlib.util.find_spec("ptf") is not None:
            pytester.path.joinpath(f"test_{number}.py").write_text(text)
    run(pytester).assert_outcomes(passed=4 + (importlib.util.find_spec("ptf") is not None))
