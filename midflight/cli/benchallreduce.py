"""`midflight bench allreduce`: the speed of an all-reduce beside that of Gloo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from midflight.cli.options import json_file_option

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from midflight.testbed.bench.allreduce import AllReduceBench

__all__ = ["allreduce"]

EPILOG = """\b
Examples:
  midflight bench allreduce
  midflight bench allreduce --workers 2 --floats 100000 --lanes 256 --json allreduce.json
"""


@click.command(epilog=EPILOG)
@click.option("--workers", metavar="N", type=click.IntRange(2, 64), default=4, show_default=True, help="Processes.")
@click.option(
    "--floats", metavar="N", type=click.IntRange(1), default=1_000_000, show_default=True, help="Length of a vector."
)
@click.option("--runs", metavar="N", type=click.IntRange(1), default=5, show_default=True, help="Runs of each way.")
@click.option(
    "--lanes",
    metavar="N",
    type=click.IntRange(1, 256),
    multiple=True,
    default=(32, 128, 256),
    show_default=True,
    help="Floats in a packet. May be repeated.",
)
@json_file_option("figures")
def allreduce(workers: int, floats: int, runs: int, lanes: tuple[int, ...], json_to: str | None) -> None:
    """Measure the floats per second of an all-reduce between processes of this machine.

    The processes sum a vector of float32, through an embedded switch with UDP ports for each packet size, and with
    Gloo's ring if PyTorch is installed. The ways take turns in the same run. All sums are checked. Figures are medians
    over the runs. Needs no root.
    """
    from midflight.cli.output import write_figures
    from midflight.cli.terminal import bar, console_beside
    from midflight.testbed.bench.allreduce import bench_allreduce

    console = console_beside(json_to)
    with bar(console, "Measuring:") as progress:
        found = bench_allreduce(workers=workers, floats=floats, runs=runs, lanes=lanes, progress=progress)
    console.print(_table(found, console))
    if found.gloo is None:
        console.print("PyTorch is not installed, so there is nothing to compare with: pip install torch")
    write_figures(found.json(), json_to, console)


def _table(found: AllReduceBench, console: Console) -> Table:
    from midflight.cli.terminal import table

    runs = len(found.switch[0].seconds)
    title = f"All-reduce of {found.floats:,} float32 by {found.workers} processes, medians of {runs} runs"
    made = table(console, title, ("", "bytes in a packet", "floats per second", "of Gloo", "milliseconds"))
    for each in [*found.switch, *([] if found.gloo is None else [found.gloo])]:
        ratio = found.ratio(each)
        made.add_row(
            "Gloo" if each.fabric == "gloo" else f"switch, UDP ports, {each.lanes} lanes",
            str(each.packet_bytes or ""),
            f"{found.rate(each) / 1e6:.2f} M",
            "" if ratio is None else f"{ratio:.3f}",
            f"{1000 * each.median:.0f}",
        )
    return made
