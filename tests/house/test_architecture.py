"""docs/architecture.md: its examples run as one program and print what the page shows."""

from __future__ import annotations

from pathlib import Path

from tests.pages import check_examples

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"


def test_the_examples_print_what_the_page_shows() -> None:
    check_examples(PAGE)


def test_each_stage_prints_something() -> None:
    stages = PAGE.read_text().split("\n## ")[1:]
    assert len(stages) == 9
    for stage in stages:
        assert "```text\n" in stage, stage.partition("\n")[0]
