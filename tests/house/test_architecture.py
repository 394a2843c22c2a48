"""docs/architecture.md: its examples run as one program and print what the page shows."""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)


def test_the_examples_print_what_the_page_shows() -> None:
    scope: dict[str, Any] = {"__name__": "architecture"}

    def run(match: re.Match[str]) -> str:
        code = match[1]
        file = f"<architecture {match.start()}>"  # known to linecache, as kernels are compiled from their source
        linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, file, "exec", dont_inherit=True), scope)
        shown = f"\n```text\n{printed.getvalue()}```\n" if printed.getvalue() else ""
        return f"```python\n{code}```\n{shown}"

    try:
        page = EXAMPLE.sub(run, PAGE.read_text())
    finally:
        if "net" in scope:
            scope["net"].close()
    if os.environ.get("MIDFLIGHT_GOLDEN") == "write":
        PAGE.write_text(page)
    assert page == PAGE.read_text(), "MIDFLIGHT_GOLDEN=write updates the outputs; read the difference"


def test_each_stage_prints_something() -> None:
    stages = PAGE.read_text().split("\n## ")[1:]
    assert len(stages) == 9
    for stage in stages:
        assert "```text\n" in stage, stage.partition("\n")[0]
