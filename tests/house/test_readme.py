"""The README is correct: its Python runs, and its commands, options and link targets exist."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from midflight.cli.root import midflight

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.S | re.M)
COMMANDS = re.findall(r"^ {4}(?:\.venv/bin/)?midflight ([^#\n]+)", README, re.M)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_in_the_readme_runs(number: int, tmp_path: Path) -> None:
    file = tmp_path / "readme.py"  # in a file, as kernels are compiled from their source
    file.write_text(BLOCKS[number])
    names: dict[str, Any] = runpy.run_path(str(file))
    if summed := names.get("summed"):
        expected = sum(names["arrays"])
        assert all((each == summed[0]).all() for each in summed)
        assert abs(summed[0] - expected).max() < 1e-5


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_in_the_readme_exist(line: str) -> None:
    command: click.Command | None = midflight
    words = shlex.split(line)
    while isinstance(command, click.Group) and words:
        command = command.get_command(click.Context(command), words.pop(0))
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_files_that_make_demo_creates_are_ignored_by_git() -> None:
    picture = re.search(r"demo allreduce.* --picture (\S+)", (ROOT / "Makefile").read_text())
    assert picture is not None
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert f"/{picture[1].split('/')[0]}/" in ignored
    assert "/midflight-allreduce.png" in ignored


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)]+)\)", README))
def test_targets_of_links_in_the_readme_exist(target: str) -> None:
    assert (ROOT / target).exists()
