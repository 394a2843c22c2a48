"""Pages of the documentation whose commands run in network namespaces, with the files that they show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

__all__ = ["run_page"]

DOCS = Path(__file__).parents[2] / "docs"


def run_page(name: str, folder: Path, files: list[str], namespaces: str) -> tuple[str, str]:
    """Write the files of a page to a folder, run its commands there, and return their output and the log files' text.

    `files` are the names of the page's files, sorted, and `namespaces` those of its namespaces, after `mf-`. In any
    case, the processes of the page end, and its namespaces are removed. AssertionError for other files, or if a command
    fails.
    """
    script = [
        "set -eu",
        f"end() {{ kill -9 $(jobs -p) 2> /dev/null; for each in {namespaces}; do ip netns delete mf-$each; done; }}",
        "trap 'end 2> /dev/null || true' EXIT",
    ]
    for kind, text in re.findall(r"^```(sh|python|yaml)\n(.*?)^```", (DOCS / name).read_text(), re.S | re.M):
        if kind == "sh":
            script.append(text)
        else:
            (folder / text.splitlines()[0].removeprefix("# ")).write_text(text)
    assert sorted(each.name for each in folder.iterdir()) == files
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with (folder / "output").open("w+") as output:
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=folder,
            env={**os.environ, "PATH": path},
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
        )
        output.seek(0)
        reported = output.read()
    logs = "\n".join(each.read_text() for each in folder.glob("*.log"))
    assert done.returncode == 0, f"{reported}\n{logs}"
    return reported, logs
