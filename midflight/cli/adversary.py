"""`midflight adversary`: the reliable layer against a network that does its worst, by schedules drawn from seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

import click

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
@click.option("--schedules", metavar="N", type=click.IntRange(1), help="How many to play: 1000, or 50 in namespaces.")
@click.option(
    "--seed", metavar="N", type=click.IntRange(0), default=0, show_default=True, help="Of the first; the next follow."
)
@click.option(
    "--fabric",
    type=click.Choice(["sim", "netns"]),
    default="sim",
    show_default=True,
    help="In virtual time, packet by packet, or with namespaces and processes, which takes root.",
)
@click.option(
    "--on",
    type=click.Choice(["kernel", "engine", "tree"]),
    default="engine",
    show_default=True,
    help="What sums in virtual time: the kernel as Python, the compiled program, or kernels on a tree of switches.",
)
@click.option(
    "--device",
    type=click.Choice(["host", "bmv2"]),
    default="host",
    show_default=True,
    help="The switch in namespaces.",
)
@click.option("--json", "json_to", metavar="FILE", help="Write what came out as JSON; - is standard output.")
def adversary(schedules: int | None, seed: int, fabric: str, on: str, device: str, json_to: str | None) -> None:
    """Play schedules of faults against all-reduces, and check every packet.

    A schedule drops, duplicates, delays and reorders packets; it restarts workers and replaces them; it kills the
    switch, which comes back empty or never. At every step each contribution must count once, each sum must be right,
    and each worker must keep to its slots; and every job must end, with the sums that NumPy makes.

    A schedule follows from its seed alone. The seeds of those that failed are printed, and the exit status is 1. With
    --fabric netns the workers and the switch are processes, which are killed; what the packets did is seen from
    captures, and not twice the same.
    """
    from midflight.cli.terminal import console_beside

    console = console_beside(json_to)
    if fabric == "netns":
        failures = _live(console, range(seed, seed + (schedules or 50)), device, json_to)
        again = f"--fabric netns --device {device}"
    else:
        failures = _simulated(console, range(seed, seed + (schedules or 1000)), on, json_to)
        again = f"--on {on}"
    if failures:
        raise MidflightError(
            "\n".join(f"seed {each.seed}: {each.reason}" for each in failures),
            hint=f"see one again with: midflight adversary {again} --schedules 1 --seed {failures[0].seed}",
        )


def _simulated(console: Console, seeds: range, on: str, json_to: str | None) -> tuple[Failure, ...]:
    from dataclasses import asdict

    from midflight.cli.output import write_json
    from midflight.cli.terminal import bar
    from midflight.testbed.adversary import campaign

    with bar(console, "Playing:") as progress:
        found: Campaign = campaign(
            seeds,
            on=cast("Literal['kernel', 'engine', 'tree']", on),
            progress=lambda done, failed: progress(done, len(seeds), f"{failed} failed"),
        )
    console.print(
        f"{found.schedules:,} schedules from seed {seeds[0]} on: {found.moves:,} moves, {found.faults:,} faults, "
        f"{found.sums:,} sums checked, {len(found.failures)} failed.",
        soft_wrap=True,
    )
    if json_to:
        write_json({"seed": seeds[0], "on": on} | asdict(found), json_to)
    return found.failures


def _live(console: Console, seeds: range, device: str, json_to: str | None) -> tuple[Failure, ...]:
    from dataclasses import asdict

    from midflight.cli.output import write_json
    from midflight.cli.terminal import bar
    from midflight.testbed.adversary import live_campaign

    with bar(console, "Playing:") as progress:
        found: LiveCampaign = live_campaign(
            seeds, device=device, progress=lambda done, failed: progress(done, len(seeds), f"{failed} failed")
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
