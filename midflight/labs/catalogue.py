"""The labs that ship with Midflight, and their texts and files."""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from midflight.errors import MidflightError
from midflight.userfiles import read_text

if TYPE_CHECKING:
    from midflight.labs.bench import GradedTest

__all__ = ["COURSES", "Lab", "find_lab", "labs"]

COURSES = Path(__file__).parent / "courses"
"""The folder with a folder for each lab."""


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab: its name, its place in the order of a course, and its folder.

    `title` and `summary` are one line each. `level` is "basic", "intermediate" or "advanced". `files` are the files
    that a student submits, `minutes` the time that the lab takes with its text.
    """

    name: str
    number: int
    title: str
    summary: str
    level: str
    files: tuple[str, ...]
    minutes: int
    folder: Path

    @property
    def text(self) -> str:
        """The lab's text, as Markdown: goal, background, steps."""
        return read_text(self.folder / "README.md")

    @property
    def hints(self) -> tuple[str, ...]:
        """The texts of the hints, in order, without their headings."""
        parts = re.split(r"^## .*\n", read_text(self.folder / "hints.md"), flags=re.MULTILINE)
        return tuple(each.strip() for each in parts[1:])

    @property
    def tests(self) -> Sequence[GradedTest]:
        """The graded tests, in order of difficulty. Imports the lab's module."""
        module = importlib.import_module(f"midflight.labs.courses.{self.folder.name}.grading")
        tests: Sequence[GradedTest] = module.TESTS
        return tests

    def starter(self) -> Mapping[str, str]:
        """Return the texts of the starter's files by name."""
        return _texts(self.folder / "starter")

    def solution(self) -> Mapping[str, str]:
        """Return the texts of the reference solution's files by name."""
        return _texts(self.folder / "solution")


def labs() -> list[Lab]:
    """Return all labs that ship with Midflight, in the order of a course."""
    return sorted((_read(each.parent) for each in COURSES.glob("*/lab.toml")), key=lambda each: each.number)


def find_lab(name: str) -> Lab:
    """Return the lab of this name. MidflightError if there is none."""
    known = {each.name: each for each in labs()}
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "`midflight lab list` lists the labs"
        raise MidflightError(f"there is no lab {name!r}", hint=hint)
    return known[name]


def _read(folder: Path) -> Lab:
    with (folder / "lab.toml").open("rb") as file:
        found = tomllib.load(file)
    return Lab(
        name=folder.name.replace("_", "-"),
        number=found["number"],
        title=found["title"],
        summary=found["summary"],
        level=found["level"],
        files=tuple(found["files"]),
        minutes=found["minutes"],
        folder=folder,
    )


def _texts(folder: Path) -> dict[str, str]:
    return {each.name: read_text(each) for each in sorted(folder.iterdir()) if each.is_file()}
