"""The examples of a page in Markdown: its Python blocks run as one program and print the text that follows."""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import re
from pathlib import Path
from typing import Any

__all__ = ["check_examples"]

EXAMPLE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)


def check_examples(path: Path) -> dict[str, Any]:
    """Run a page's examples and compare what they print with the page. Return the names that they leave.

    With the environment variable MIDFLIGHT_GOLDEN=write, the page is updated instead.
    """
    scope: dict[str, Any] = {"__name__": path.stem}

    def run(match: re.Match[str]) -> str:
        code = match[1]
        file = f"<{path.stem} {match.start()}>"  # known to linecache, as kernels are compiled from their source
        linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, file, "exec", dont_inherit=True), scope)
        shown = f"\n```text\n{printed.getvalue()}```\n" if printed.getvalue() else ""
        return f"```python\n{code}```\n{shown}"

    try:
        page = EXAMPLE.sub(run, path.read_text())
    finally:
        if "net" in scope:
            scope["net"].close()
    if os.environ.get("MIDFLIGHT_GOLDEN") == "write":
        path.write_text(page)
    assert page == path.read_text(), "MIDFLIGHT_GOLDEN=write updates the outputs; read the difference"
    return scope
