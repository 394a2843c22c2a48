"""`midflight adversary`: all-reduces under generated schedules of faults."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal, cast

import click

from midflight.cli.options import DeviceKind, cluster_options, json_file_option, sheet_option
from midflight.errors import MidflightError

if TYPE_CHECKING:
    from rich.console import Console

    from midflight.testbed.adversary import Campaign, Failure, LiveCampaign

__all__ = ["adversary"]

EPILOG = """\b
Examples:
  midflight adversary
  midflight adversary --schedules 100000 --on engine
  midflight adversary --seed 781 --schedules 1
  sudo midflight adversary --fabric netns --device bmv2
"""


@click.command(epilog=EPILOG)
@click.option(
    "--schedules",
    metavar="N",
    type=click.IntRange(1),
    help="How many schedules to play.  [default: 1000; 50 with --fabric netns]",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the first schedule; the next seeds follow.",
)
@click.option(
    "--fabric",
    type=click.Choice(["sim", "netns"]),
    default="sim",
    show_default=True,
    help="Simulation in virtual time, or network namespaces with processes (needs root).",
)
@click.option(
    "--on",
    type=click.Choice(["kernel", "engine", "tree"]),
    default="engine",
    show_default=True,
    help="What computes in simulation: the kernel in Python, the compiled program, or kernels on a tree of switches.",
)
@click.option(
    "--device",
    type=DeviceKind(),
    metavar="KIND",
    default="host",
    show_default=True,
    help="The switch with --fabric netns.",
)
@sheet_option
@cluster_options(", for simulated schedules")
@json_file_option("results")
def adversary(
    schedules: int | None,
    seed: int,
    fabric: str,
    on: str,
    device: str,
    sheet: str | None,
    workers: int,
    cluster: str | None,
    json_to: str | None,
) -> None:
    """Run all-reduces under faults, and check every packet.

    A schedule of faults drops, duplicates, delays and reorders packets, restarts and replaces workers, and kills the
    switch, which comes back with empty state or not at all. At every step, each contribution must count exactly once,
    each sum must be correct, and each worker must keep to its slots. Every job must end, with the sums that NumPy
    computes.

    A schedule depends only on its seed. The seeds of failed schedules are printed, and the exit status is 1. With
    --fabric netns, the workers and the switch are processes that are killed, and packets are checked from captures;
    such runs cannot be repeated exactly. --sheet is for them, too: servers compute for what does not fit.

    With --workers or --cluster, simulated schedules are divided among the workers of a Dask cluster. The results are
    the same, and a worker that is killed costs only the schedules that it was playing.
    """
    from midflight.cli.terminal import console_beside

    console = console_beside(json_to)
    if fabric == "netns":
        if cluster or workers > 1:
            raise click.UsageError("only simulated schedules run on workers")
        failures = _live(console, range(seed, seed + (schedules or 50)), device, sheet, json_to)
        again = f"--fabric netns --device {device}{'' if sheet is None else f' --sheet {sheet}'}"
    else:
        if sheet is not None:
            raise click.UsageError("--sheet is for --fabric netns")
        failures = _simulated(console, range(seed, seed + (schedules or 1000)), on, json_to, workers, cluster)
        again = f"--on {on}"
    if failures:
        raise MidflightError(
            "\n".join(f"seed {each.seed}: {each.reason}" for each in failures),
            hint=f"repeat one with: midflight adversary {again} --schedules 1 --seed {failures[0].seed}",
        )


def _simulated(
    console: Console, seeds: range, on: str, json_to: str | None, workers: int, cluster: str | None
) -> tuple[Failure, ...]:
    from dataclasses import asdict

    from midflight.cli.output import write_json
    from midflight.cli.terminal import bar
    from midflight.testbed.adversary import campaign
    from midflight.testbed.cluster import local_cluster

    with ExitStack() as stack:
        progress = stack.enter_context(bar(console, "Playing:"))
        client = None
        if cluster or workers > 1:
            client = stack.enter_context(local_cluster(workers, cluster or ""))
        found: Campaign = campaign(
            seeds,
            on=cast("Literal['kernel', 'engine', 'tree']", on),
            progress=lambda done, failed: progress(done, len(seeds), f"{failed} failed"),
            client=client,
        )
    console.print(
        f"{found.schedules:,} schedules from seed {seeds[0]} on: {found.moves:,} moves, {found.faults:,} faults, "
        f"{found.forged:,} forged messages, "
        f"{found.sums:,} sums checked, {len(found.failures)} failed.",
        soft_wrap=True,
    )
    if json_to:
        write_json({"seed": seeds[0], "on": on} | asdict(found), json_to)
    return found.failures


def _live(console: Console, seeds: range, device: str, sheet: str | None, json_to: str | None) -> tuple[Failure, ...]:
    from dataclasses import asdict

    from midflight.cli.output import write_json
    from midflight.cli.terminal import bar
    from midflight.runtime.devices import load_sheet
    from midflight.testbed.adversary import live_campaign

    assumed = None if sheet is None else load_sheet(sheet)
    with bar(console, "Playing:") as progress:
        found: LiveCampaign = live_campaign(
            seeds,
            device=device,
            sheet=assumed,
            progress=lambda done, failed: progress(done, len(seeds), f"{failed} failed"),
        )
    done = len(found.played) + len(found.failures)
    console.print(
        f"{done} schedules in namespaces, seeds {seeds[0]} to {seeds[done - 1]}, on {device}: "
        f"{sum(len(each.moves) for each in found.played)} faults, {sum(each.sums for each in found.played):,} sums "
        f"checked in {sum(each.seconds for each in found.played):.0f} s, {len(found.failures)} failed.",
        soft_wrap=True,
    )
    if json_to:
        write_json({"seed": seeds[0], "fabric": "netns", "device": device} | asdict(found), json_to)
    return found.failures
