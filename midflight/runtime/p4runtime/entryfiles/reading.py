"""Reading entries files of either form."""

from __future__ import annotations

from pathlib import Path

from midflight.runtime.p4runtime.entryfiles.commands import read_commands
from midflight.runtime.p4runtime.entryfiles.steps import Step
from midflight.runtime.p4runtime.entryfiles.tutorial import read_tutorial
from midflight.runtime.p4runtime.schema import Schema
from midflight.userfiles import read_text

__all__ = ["read_entries"]

LARGEST = 1 << 26
"""The maximum characters of an entries file."""


def read_entries(path: Path, schema: Schema) -> list[Step]:
    """Return the steps of an entries file.

    A file that begins with `{`, or whose name ends with .yaml or .yml, has the form of p4lang's tutorials; others have
    command lines of simple_switch_CLI. Raises MidflightError with file and line for a mistake, and if the file cannot
    be read.
    """
    text = read_text(path, LARGEST)
    if text.lstrip().startswith("{") or path.suffix in (".yaml", ".yml"):
        return read_tutorial(text, str(path), schema)
    return read_commands(text, str(path), schema)
