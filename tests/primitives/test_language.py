"""docs/language.md: its examples compile with our front end and p4c, and run as plain Python."""

from __future__ import annotations

import itertools
import linecache
import re
import shutil
import subprocess
import textwrap
from pathlib import Path
from random import Random
from typing import Any

import pytest

from midflight.p4.frontend import check
from midflight.primitives import REQUEST, Message, Primitive, Program

PAGE = (Path(__file__).parents[2] / "docs" / "language.md").read_text()
FRAME, *EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)
_numbers = itertools.count()


def lesson(example: str) -> Primitive:
    """Return the primitive of an example, which replaces the dots of the frame or defines a class."""
    body = textwrap.indent(example, " " * 8)
    source = example if "class " in example else FRAME.removesuffix(" ...\n") + "\n" + body
    if "class " in example:
        source = "from midflight.primitives import *\n" + source
    file = f"<language {next(_numbers)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope: dict[str, Any] = {"__name__": "language"}
    exec(compile(source, file, "exec", dont_inherit=True), scope)
    made = [each for each in scope.values() if isinstance(each, type) and each.__module__ == "language"]
    primitive = made[-1]("lesson")
    assert isinstance(primitive, Primitive)
    return primitive


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) > 10
    assert FRAME.endswith(": ...\n")


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_compiles_and_runs(example: str) -> None:
    primitive = lesson(example)
    check(Program(primitive).p4(), "lesson.p4")
    reference = primitive.reference(random=Random(1))
    for value in (0, 1, 7, 100):
        fields: dict[str, Any] = {
            each.name: value if each.count is None else [value] * each.count for each in primitive.layout
        }
        if items := primitive.layout.items:
            fields[items.counted.name] = value % (len(items) + 1)
        reference.process(Message(REQUEST, "lesson", value, fields), now=10_000 * value)


@pytest.mark.bmv2
def test_p4c_takes_the_examples(tmp_path: Path) -> None:
    if shutil.which("p4c-bm2-ss") is None:
        pytest.skip("p4c-bm2-ss is not on PATH")
    primitives = [lesson(each) for each in EXAMPLES]
    for number, each in enumerate(primitives):
        each.name = f"lesson{number}"
    source = tmp_path / "lessons.p4"
    source.write_text(Program(*primitives).p4())
    command = ["p4c-bm2-ss", "--std", "p4-16", str(source), "-o", str(tmp_path / "out.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
