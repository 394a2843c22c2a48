"""docs/queues.md: its examples run, one after the other."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

from midflight.testbed.topology.file import parse_topology

PAGE = (Path(__file__).parents[2] / "docs" / "queues.md").read_text()
EXAMPLES = re.findall(r"^ *```python\n(.*?)^ *```", PAGE, re.S | re.M)
FILES = re.findall(r"^ *```yaml\n(.*?)^ *```", PAGE, re.S | re.M)


def test_the_examples_run() -> None:
    assert len(EXAMPLES) >= 3
    scope: dict[str, Any] = {}
    for example in EXAMPLES:
        exec(textwrap.dedent(example), scope)


def test_the_files_are_topologies() -> None:
    assert [len(parse_topology(each).queues) for each in FILES] == [1]
