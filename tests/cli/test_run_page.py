"""docs/run.md: its commands print what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "run.md"
BLOCK = re.compile(r"^```(p4|python|text|json|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
NAME = re.compile(r"^(?://|#) ([\w.-]+)\n")
COMMAND = re.compile(r"^\$ (.*(?:\\\n.*)*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


def test_the_page_runs(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(match: re.Match[str]) -> str:
        done = subprocess.run(
            ["bash", "-c", match[1]],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "COLUMNS": "120"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return f"$ {match[1]}\n{done.stdout}"

    def block(match: re.Match[str]) -> str:
        kind, text = match[1], match[2]
        if kind == "console":
            text = COMMAND.sub(run, text)
        elif found := NAME.match(text):
            (tmp_path / found[1]).write_text(text)
        elif kind == "json":
            (tmp_path / "entries.json").write_text(text)
        return f"```{kind}\n{text}```"

    page = BLOCK.sub(block, PAGE.read_text())
    if os.environ.get("MIDFLIGHT_GOLDEN") == "write":
        PAGE.write_text(page)
    assert page == PAGE.read_text(), "MIDFLIGHT_GOLDEN=write updates the outputs; read the difference"
