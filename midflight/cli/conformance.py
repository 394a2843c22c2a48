"""`midflight conformance`: whether a device does what the primitives mean, packet by packet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from midflight.testbed.conformance.run import Caught, Report

__all__ = ["conformance"]

EPILOG = """\b
Examples:
  midflight conformance
  midflight conformance --device bmv2 --junit bmv2.xml --json bmv2.json
  midflight conformance --device host --device bmv2 --primitive Aggregate --cases 100
  midflight conformance --self-test        are broken programs caught?
"""


@click.command(epilog=EPILOG)
@click.option(
    "--device",
    "devices",
    metavar="KIND",
    multiple=True,
    default=("host",),
    show_default=True,
    help="host, bmv2; may be given more than once.",
)
@click.option("--primitive", "primitives", metavar="NAME", multiple=True, help="Only its cases; all are tried else.")
@click.option("--seed", metavar="N", type=click.IntRange(0), default=0, show_default=True, help="Of generated cases.")
@click.option(
    "--cases",
    "count",
    metavar="N",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="Generated cases for each primitive, besides those in files.",
)
@click.option(
    "--case-dir",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Cases in files, instead of those that ship.",
)
@click.option("--self-test", is_flag=True, help="Play the cases on broken programs too: all must be caught.")
@click.option("--junit", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write JUnit XML.")
@click.option("--json", "json_to", metavar="FILE", help="Write everything as JSON; - is standard output.")
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("midflight-conformance"),
    show_default=True,
    help="Where failing cases go, shrunk, each with its seed, P4, packets and the switch's log.",
)
def conformance(
    devices: tuple[str, ...], primitives: tuple[str, ...], seed: int, count: int, folder: Path | None,
    self_test: bool, junit: Path | None, json_to: str | None, keep: Path,
) -> int:  # fmt: skip
    """Hold a device to what the primitives mean.

    Plays traces of packets, written ones and generated ones, and compares every packet, alert and register with what
    the executed kernel answers. Exits with 1 where a case fails, where one that was known to fail passes, or where
    the self-test misses a broken program.
    """
    from midflight.cli.output import write_files, write_json
    from midflight.cli.terminal import bar, console_beside
    from midflight.testbed.conformance import report as reports
    from midflight.testbed.conformance import run

    console = console_beside(json_to)
    tests = run.cases(primitives, seed=seed, count=count, folder=folder)
    found: list[Report] = []
    for device in dict.fromkeys(devices):
        with bar(console, f"Cases on {device}:") as progress:
            found.append(run.check(device, tests, seed=seed, progress=progress))
    caught: tuple[Caught, ...] = ()
    if self_test:
        with bar(console, "Broken programs:") as progress:
            caught = run.self_test(devices[0], seed=seed, progress=progress)
    _print(found, caught, console)
    summary = reports.summary(found, caught)
    if junit:
        write_files({junit: reports.junit(found, caught)})
    if json_to:
        write_json(summary, json_to)
    kept = {keep / path: data for each in found for path, data in reports.keep(each).items()}
    if kept:
        write_files(kept)
        console.print(f"Failing cases: {keep}", soft_wrap=True)
    return 0 if summary["good"] else 1


def _print(found: list[Report], caught: tuple[Caught, ...], console: Console) -> None:
    from midflight.cli.terminal import table
    from midflight.testbed.conformance.report import matrix, versions

    made = table(console, "Conformance", ("primitive", *(each.device for each in found)))
    for primitive, by_device in matrix(found).items():
        cells = []
        for each in found:
            cell = by_device[each.device]
            reasons = cell["reasons"]
            assert isinstance(reasons, list)
            cells.append(f"{cell['cases']} cases, {len(reasons)} fail" if reasons else f"{cell['cases']} cases pass")
        made.add_row(primitive, *cells)
    console.print(made)
    for report in found:
        for result in report.results:
            if not result.good:
                console.print(f"{report.device}: {result.case.name}: {result.verdict.value}", soft_wrap=True)
                console.print(f"  {result.differences[0]}", soft_wrap=True, highlight=False)
    if caught:
        missed = [each.mutant.name for each in caught if each.case is None]
        console.print(f"Self-test: {len(caught) - len(missed)} of {len(caught)} broken programs caught.")
        if missed:
            console.print(f"Missed: {', '.join(missed)}")
    for report in found:
        told = ", ".join(f"{name} {version}" for name, version in versions(report.device).items())
        console.print(f"{report.device}: {told}", soft_wrap=True, highlight=False)
