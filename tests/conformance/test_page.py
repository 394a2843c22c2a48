"""docs/conformance.md: its example passes, its case is detected as such, and its table has the exit statuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from midflight.cli.root import midflight

PAGE = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```\n", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_example_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("histogram.py").write_text(block("python"))
    Path("cases").mkdir()
    Path("cases/two.json").write_text(block("json"))
    arguments = ["conformance", "histogram.py", "--cases", "cases", "--cases", "4", "--self-test"]
    done = CliRunner().invoke(midflight, arguments)
    assert done.exit_code == 0, done.output
    assert "4 cases pass" in done.output  # with the oracle
    assert "5 cases pass" in done.output

    Path("cases/two.json").write_text(block("json").replace('"value": 2}', '"value": 3}'))
    done = CliRunner().invoke(midflight, arguments)
    assert done.exit_code == 1
    assert "register counts[2] is 2, must be 3" in done.output

    Path("histogram.py").write_text(block("python").replace("old + 1", "old + 2"))
    done = CliRunner().invoke(midflight, ["conformance", "histogram.py", "--cases", "1"])
    shown = re.search(r"^  packet 0: register counts\[\d\] is 2, must be 1$", PAGE, re.MULTILINE)
    assert shown
    assert re.search(r"^  packet 0: register counts\[\d+\] is 2, must be 1$", done.output, re.MULTILINE)
    assert CliRunner().invoke(midflight, ["conformance", "--cases", "many"]).exit_code == 2
