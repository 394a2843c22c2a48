"""docs/library.md agrees with the catalogue for every primitive."""

from __future__ import annotations

import os
import re

import pytest

from midflight.primitives.catalogue import FAMILIES, LIBRARY, Entry, catalogue, code_lines
from tests.library.page import LINES, PAGE, compared, lines_of_code, rendered


def test_the_page_agrees_with_the_catalogue() -> None:
    now = rendered(PAGE.read_text())
    if os.environ.get("MIDFLIGHT_GOLDEN") == "write":
        PAGE.write_text(compared(now))
    assert rendered(PAGE.read_text()) == PAGE.read_text(), (
        "docs/library.md is out of date (MIDFLIGHT_GOLDEN=write updates it)"
    )
    assert sorted(re.findall(r"^\| \*\*(\w+)\*\* \|", now, re.MULTILINE)) == sorted(LIBRARY)


@pytest.mark.parametrize("entry", catalogue(), ids=lambda each: each.name)
def test_the_catalogue_has_all_facts_of_the_page(entry: Entry) -> None:
    assert entry.family in FAMILIES, f"{entry.name}.FAMILY must be one of {', '.join(FAMILIES)}"
    for each in (entry.summary, entry.paper, entry.overflow, entry.example):
        assert each, f"{entry.name} has no {each}"
    assert f"{entry.name}(" in entry.example or ">>" in entry.example


def test_lines_are_compared_with_published_programs() -> None:
    """Line counts may be slightly outdated, but ratios must be those of the line counts."""
    ours = lines_of_code()
    rows = list(LINES.finditer(PAGE.read_text()))
    assert len(rows) == len(re.findall(r"^\| \[", PAGE.read_text(), re.MULTILINE)) > 6
    for row in rows:
        theirs = int(row["theirs"].replace(",", ""))
        for lines, ratio, now in zip(("ours", "whole"), ("ratio", "whole_ratio"), ours[row["name"]], strict=True):
            assert int(row[lines]) == pytest.approx(now, rel=0.1)
            assert float(row[ratio]) == round(theirs / int(row[lines]), 1)


def test_lines_of_code_exclude_blanks_and_docstrings() -> None:
    source = '''"""A module.

With a docstring.
"""

import os  # counts

# does not


def function(
    one,
):
    """Return it."""
    "nor this"
    text = """counts,

    every line"""
    return one, text
'''
    assert code_lines(source) == 1 + 3 + 3 + 1
