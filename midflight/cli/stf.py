"""`midflight stf`: play packet tests in p4c's STF format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from midflight.cli.options import json_file_option, junit_option, sheet_option

if TYPE_CHECKING:
    from rich.console import Console

    from midflight.testbed.stf.suite import Result

__all__ = ["stf"]

EPILOG = """\b
Examples:
  midflight stf prog.p4 test.stf
  midflight stf prog.p4 test.stf --device bmv2
  midflight stf tests/                              every *.stf, with the program of the same name
  midflight stf p4c/testdata/p4_16_samples --junit stf.xml --json stf.json
"""

UNSUPPORTED = 2
"""The exit status if the device does not take the program or a line of the test."""


@click.command(epilog=EPILOG)
@click.argument("path", metavar="PROG.p4|FOLDER", type=click.Path(path_type=Path, exists=True))
@click.argument("test", metavar="[TEST.stf]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--device", metavar="KIND", default="host", show_default=True, help="host (the embedded switch), bmv2 or xdp."
)
@sheet_option
@junit_option
@json_file_option("results")
def stf(path: Path, test: Path | None, device: str, sheet: str | None, junit: Path | None, json_to: str | None) -> int:
    """Play packet tests in p4c's STF format: entries and packets in, expected packets out.

    The exit status is 0 if all tests pass. It is 1 if one fails, with the difference of the packets by field, or if a
    test has a mistake. It is 2 if none fails, but the device does not support a program or a line, with the reason.
    A test in a folder whose program is missing is not played, and makes the exit status 1.

    Without TEST.stf, the test of PROG.p4 is PROG.stf in the same folder. For a folder, every NAME.stf is played on
    NAME.p4, except programs for other architectures than v1model. After an interrupt (Ctrl-C), the current test of a
    folder is finished, the results are printed and written, and the exit status is 130.
    """
    from midflight.cli.output import write_files, write_json
    from midflight.cli.terminal import bar, console_beside, interrupts
    from midflight.runtime.devices import load_sheet
    from midflight.testbed.stf import suite

    limits = load_sheet(sheet) if sheet is not None else None
    console = console_beside(json_to)
    if path.is_dir():
        if test is not None:
            raise click.UsageError("a folder has its own tests: give no TEST.stf")
        tests, others, alone = suite.tests_in(path)
    else:
        tests, others, alone = [(path, test or path.with_suffix(".stf"))], [], []
    interrupted = False
    if path.is_dir():
        with interrupts() as stop, bar(console, "Tests:") as progress:
            results = suite.play_all(tests, device, progress, stop, limits)
            interrupted = stop()
    else:
        ((program, file),) = tests
        results = [suite.Result(file.stem, suite.play(program, file, device, limits))]
    left = len(tests) - len(results)
    _print(results, console)
    if path.is_dir():
        _print_counts(results, others, alone, left, console)
    if junit:
        write_files({junit: suite.junit(results, device)})
    if json_to:
        write_json(suite.summary(results, device, others, left, alone), json_to)
    if interrupted:
        return 130
    verdicts = {each.verdict for each in results}
    return 1 if alone or verdicts & {"fail", "error"} else UNSUPPORTED if "not supported" in verdicts else 0


def _print(results: list[Result], console: Console) -> None:
    for each in results:
        if len(results) == 1 or each.verdict != "pass":
            console.print(f"{each.name}: {each.verdict}", soft_wrap=True, markup=False)
        for reason in each.reasons:
            console.print("\n".join(f"  {line}" for line in reason.splitlines()), soft_wrap=True, markup=False)
        if len(results) == 1 and each.outcome is not None:
            for reading in each.outcome.readings:
                console.print(f"  {reading}", soft_wrap=True, markup=False)


def _print_counts(results: list[Result], others: list[str], alone: list[str], left: int, console: Console) -> None:
    from midflight.testbed.stf.suite import counts

    found = ", ".join(f"{number} {verdict}" for verdict, number in counts(results).items() if number)
    console.print(f"{len(results)} tests for v1model: {found}", soft_wrap=True)
    if others:
        console.print(f"{len(others)} tests for other architectures were left out.", soft_wrap=True)
    if alone:
        console.print(f"not played, because NAME.p4 is missing beside NAME.stf: {', '.join(alone)}", soft_wrap=True)
    if left:
        console.print(f"interrupted: {left} tests were not played", soft_wrap=True)
