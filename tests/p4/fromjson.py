"""Counts of what the embedded switch does with the JSON that p4c makes of its own programs.

    python -m tests.p4.fromjson PATH/TO/p4c [--list]

compiles the v1model samples of `testdata/p4_16_samples` with p4c-bm2-ss, which must be on PATH, and counts the JSON
files that the switch can run, and the STF tests that pass with them. `--list` also prints each program that is refused
or fails, with the reason. Nothing is written into the checkout.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from midflight.errors import P4Error
from midflight.p4.frontend import check
from midflight.runtime.devices.toolchain import compile_p4
from midflight.runtime.engine.pipeline import lower_program
from midflight.testbed.stf.suite import play
from tests.p4.samples import samples


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.p4.fromjson")
    parser.add_argument("p4c", type=Path, help="a checkout of p4c")
    parser.add_argument("--list", action="store_true", help="also list the programs that are refused or fail")
    given = parser.parse_args()
    loaded: Counter[str] = Counter()
    played: Counter[str] = Counter()
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for path in samples(given.p4c):
            try:
                text = compile_p4(path.read_text(), file=str(path)).config.decode()
            except P4Error:
                continue  # p4c does not compile it for BMv2
            outcome, reason = "runs", ""
            try:
                lower_program(check(text, path.name))
            except P4Error as error:
                outcome, reason = "refused", str(error)
            loaded[outcome] += 1
            if reason:
                lines.append(f"{path.stem}: {outcome}: {reason}")
            test = path.with_suffix(".stf")
            if test.exists():
                program = Path(folder) / f"{path.stem}.json"
                program.write_text(text)
                result = play(program, test, "host")
                played[result.verdict.value] += 1
                lines += [f"{path.stem}: {result.verdict.value}: {each}" for each in result.reasons]
    for name, count in (("JSON", loaded), ("STF from JSON", played)):
        sys.stdout.write(f"{name}: {', '.join(f'{number} {outcome}' for outcome, number in count.most_common())}\n")
    if given.list:
        sys.stdout.write("".join(f"{each}\n" for each in lines))


if __name__ == "__main__":
    main()
