"""The same seed gives the same output, bit for bit, in every process, independent of its hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from midflight.cli.demo import demo

DEMOS = {
    "allreduce": ["--loss", "0.3", "--seed", "7", "--steps", "1", "--picture", "demo.png"],
    "queues": ["--seconds", "1", "--picture", "queues.svg"],
}
COMMANDS = [
    *(["demo", name, *arguments, "--json", "-"] for name, arguments in DEMOS.items()),
    *(["adversary", "--on", on, "--schedules", "3", "--seed", "3", "--json", "-"] for on in ("kernel", "tree")),
    ["conformance", "--primitive", "Learner", "--cases", "3", "--seed", "3", "--json", "-"],
]
EVERY_TEXT = """
from midflight.p4.p4info import to_text
from midflight.primitives.explain import explain
from midflight.runtime.checked import CheckedProgram
from midflight.testbed.conformance.subject import names
from midflight.testbed.conformance.traces import generate

for name in names():
    case = generate(name, 3, 0)
    program = case.program()
    checked = CheckedProgram(program.p4())
    print(case.json(), program.p4(), program.schema(), to_text(checked.p4info), *explain(program))
    print(checked.footprint.total.stages_on(), checked.footprint.total.circles)
"""


def outputs(arguments: list[str], folder: Path) -> list[dict[str, bytes]]:
    """Return the output and files of two Python processes with different hash seeds."""
    places = [folder / "1", folder / "2"]
    with ExitStack() as stack:
        running = []
        for place in places:
            place.mkdir()
            environment = {**os.environ, "PYTHONHASHSEED": place.name}
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=place,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=stack.enter_context((folder / f"{place.name}.log").open("wb")),
            )
            stack.callback(process.kill)
            running.append(process)
        printed = [process.communicate(timeout=300)[0] for process in running]
    for process, place in zip(running, places, strict=True):
        assert process.returncode == 0, (folder / f"{place.name}.log").read_text()
    return [
        {"stdout": text} | {each.name: each.read_bytes() for each in place.iterdir()}
        for text, place in zip(printed, places, strict=True)
    ]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_output_of_a_command_is_independent_of_the_hash_seed(command: list[str], tmp_path: Path) -> None:
    one, other = outputs(["-m", "midflight", *command], tmp_path)
    assert one["stdout"]
    assert one == other


def test_generated_texts_are_independent_of_the_hash_seed(tmp_path: Path) -> None:
    one, other = outputs(["-c", EVERY_TEXT], tmp_path)
    assert len(one["stdout"]) > 100_000
    assert one == other


def test_every_demo_is_tried() -> None:
    assert {*DEMOS, "failover"} == {*demo.commands}, "failover runs real processes, whose times differ"
