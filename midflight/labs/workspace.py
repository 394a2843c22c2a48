"""Folders with labs: the one that a student works in, and the handout for a course."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from midflight.errors import MidflightError
from midflight.labs.catalogue import Lab, find_lab
from midflight.userfiles import read_text

__all__ = ["MARK", "handout", "lab_of", "workspace"]

MARK = "midflight-lab.json"
"""The file of a workspace that names its lab."""


def workspace(lab: Lab) -> Mapping[str, str]:
    """Return the files of a student's folder, by name: the lab's text, the starter's files and the file that names
    the lab.
    """
    return {"README.md": lab.text, **lab.starter(), MARK: json.dumps({"lab": lab.name}) + "\n"}


def handout(labs: Sequence[Lab]) -> Mapping[str, str]:
    """Return the files for students of a course, by path: the workspace and the hints of each lab, and a list of labs.

    Neither solutions nor tests nor mutants are among them.
    """
    lines = ["# Labs", "", "| lab | | level | minutes |", "|---|---|---|---|"]
    files = {}
    for lab in labs:
        lines.append(f"| [{lab.name}]({lab.name}/README.md) | {lab.summary} | {lab.level} | {lab.minutes} |")
        for name, text in workspace(lab).items():
            files[f"{lab.name}/{name}"] = text
        files[f"{lab.name}/hints.md"] = read_text(lab.folder / "hints.md")
    return {"README.md": "\n".join(lines) + "\n", **files}


def lab_of(folder: Path) -> Lab:
    """Return the lab that a workspace belongs to. MidflightError if the folder does not say."""
    path = folder / MARK
    if not path.is_file():
        raise MidflightError(
            f"{folder}: not a lab's folder", hint="name the lab with --lab, or run `midflight lab start`"
        )
    try:
        name = json.loads(read_text(path))["lab"]
    except (ValueError, KeyError, TypeError):
        raise MidflightError(f"{path} does not name a lab", hint="run `midflight lab start` in a new folder") from None
    return find_lab(str(name))
