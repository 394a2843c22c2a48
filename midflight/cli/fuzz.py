"""`midflight fuzz`: generated programs, on which two ways of running them are compared."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from midflight.cli.options import cluster_options, json_file_option, writable_folder

if TYPE_CHECKING:
    from midflight.testbed.fuzz.campaign import Campaign

__all__ = ["fuzz"]

EPILOG = """\b
Examples:
  midflight fuzz                                    100 programs, optimised and unoptimised code
  midflight fuzz --device bmv2 --programs 2000      the embedded switch and BMv2
  midflight fuzz --seed 7 --programs 1              the program of seed 7 alone
  midflight fuzz --programs 1000 --json - | jq .findings
  midflight fuzz --programs 10000 --workers 4       on four processes of a Dask cluster
  midflight stf findings/seed-7                     play a case that was kept
"""


@click.command(epilog=EPILOG)
@click.option(
    "--programs", metavar="N", type=click.IntRange(1), default=100, show_default=True, help="How many programs to try."
)
@click.option(
    "--seed",
    metavar="S",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the first program; the next seeds follow.",
)
@click.option(
    "--device",
    type=click.Choice(["host", "bmv2"]),
    default="host",
    show_default=True,
    help="host compares optimised with unoptimised code; bmv2 compares with BMv2 and needs p4c.",
)
@click.option(
    "--packets", metavar="N", type=click.IntRange(1), default=40, show_default=True, help="Packets for each program."
)
@click.option(
    "--shrink",
    metavar="N",
    type=click.IntRange(0),
    default=300,
    show_default=True,
    help="How many smaller variants to try for each finding.",
)
@click.option(
    "-o",
    "--output",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("findings"),
    show_default=True,
    callback=writable_folder,
    help="Keep each case with a finding in DIR/seed-N.",
)
@cluster_options()
@json_file_option("results")
def fuzz(
    programs: int, seed: int, device: str, packets: int, shrink: int, folder: Path, workers: int, cluster: str | None,
    json_to: str | None,
) -> int:  # fmt: skip
    """Generate P4 programs, and compare two ways of running them.

    Each program is a typed v1model program with headers, a parser, controls, tables with entries, externs, and packets
    that are likely to match. With --device host, the optimised code of the embedded switch is compared with
    unoptimised and traced code. With --device bmv2, the embedded switch runs the program from source and from the
    BMv2 JSON that p4c makes of it, and both are compared with BMv2.

    A finding is a difference in packets, counters or digests, a program that the embedded switch refuses, or a crash.
    Its case is made smaller and kept in a folder, where `midflight stf` and `midflight run` can play it; finding.txt
    says how.
    Programs that p4c refuses are counted, and not compared. A program depends only on its seed. With --workers or
    --cluster, programs are divided among the workers of a Dask cluster: the results are the same, and a worker that is
    killed costs only the programs that it was comparing.

    The exit status is 1 if there are findings. After an interrupt (Ctrl-C), the results so far are printed and written,
    and the exit status is 130.
    """
    from midflight.cli.output import write_json
    from midflight.cli.terminal import bar, console_beside, interrupts
    from midflight.testbed.cluster import local_cluster
    from midflight.testbed.fuzz.campaign import campaign

    console = console_beside(json_to)
    with ExitStack() as stack:
        client = stack.enter_context(local_cluster(workers, cluster or "")) if cluster or workers > 1 else None
        stop = stack.enter_context(interrupts())
        progress = stack.enter_context(bar(console, "Comparing:"))
        found = campaign(
            range(seed, seed + programs),
            device,
            folder,
            packets=packets,
            tries=shrink,
            progress=lambda done, findings: progress(done, programs, f"{findings} findings"),
            stop=stop,
            client=client,
        )
        interrupted = stop()
    for each in found.findings:
        console.print(f"seed {each.seed}: {each.kind}, see {each.folder}", soft_wrap=True, markup=False)
        console.print("\n".join(f"  {line}" for line in each.text.splitlines()), soft_wrap=True, markup=False)
    last = f" to {seed + found.programs - 1}" if found.programs > 1 else ""
    console.print(
        f"{found.programs:,} programs, seeds {seed}{last}: {found.packets:,} packets compared, "
        f"{len(found.refused):,} programs refused by p4c, {len(found.findings):,} findings",
        soft_wrap=True,
        markup=False,
    )
    if json_to:
        write_json(_summary(found, seed, device, interrupted), json_to)
    return 130 if interrupted else 1 if found.findings else 0


def _summary(found: Campaign, seed: int, device: str, interrupted: bool) -> dict[str, object]:
    from dataclasses import asdict

    return {
        "seed": seed,
        "device": device,
        "good": not found.findings and not interrupted,
        "interrupted": interrupted,
        "programs": found.programs,
        "packets": found.packets,
        "refused": [{"seed": number, "reason": reason} for number, reason in found.refused],
        "findings": [asdict(each) for each in found.findings],
    }
