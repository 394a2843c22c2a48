"""docs/steering-metrics.md: its examples run as one program and print what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import check_examples


def test_the_examples_print_what_the_page_shows() -> None:
    pytest.importorskip("yangson", reason="needs the extra yang")
    pytest.importorskip("cryptography", reason="needs the extra trust")
    check_examples(Path(__file__).parents[2] / "docs" / "steering-metrics.md")
