"""docs/steering.md: its examples run, one after the other, and its picture is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

FOLDER = Path(__file__).parents[2] / "docs"
PAGE = (FOLDER / "steering.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)


def test_the_examples_run() -> None:
    assert len(EXAMPLES) == 5
    scope: dict[str, Any] = {}
    for example in EXAMPLES:
        exec(example, scope)


def test_the_picture_is_svg() -> None:
    assert "(steering.svg)" in PAGE
    assert ElementTree.parse(FOLDER / "steering.svg").getroot().tag.endswith("svg")
