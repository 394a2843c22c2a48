"""docs/topologies.md: its examples run, one after the other."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).parents[2] / "docs" / "topologies.md").read_text()
EXAMPLES = re.findall(r"^ *```python\n(.*?)^ *```", PAGE, re.S | re.M)


def test_the_examples_run() -> None:
    assert len(EXAMPLES) >= 4
    scope: dict[str, Any] = {}
    for example in EXAMPLES:
        exec(textwrap.dedent(example), scope)
