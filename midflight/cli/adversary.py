"""`midflight adversary`: the reliable layer against a network that does its worst, by schedules drawn from seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

import click

from midflight.errors import MidflightError

if TYPE_CHECKING:
    from midflight.testbed.adversary import Campaign

__all__ = ["adversary"]

EPILOG = """\b
Examples:
  midflight adversary
  midflight adversary --schedules 100000 --on engine
  midflight adversary --seed 781 --schedules 1
"""


@click.command(epilog=EPILOG)
@click.option(
    "--schedules", metavar="N", type=click.IntRange(1), default=1000, show_default=True, help="How many to play."
)
@click.option(
    "--seed", metavar="N", type=click.IntRange(0), default=0, show_default=True, help="Of the first; the next follow."
)
@click.option(
    "--on",
    type=click.Choice(["kernel", "engine", "tree"]),
    default="engine",
    show_default=True,
    help="What sums: the kernel as Python, the compiled program, or kernels on a tree of three switches.",
)
@click.option("--json", "json_to", metavar="FILE", help="Write what came out as JSON; - is standard output.")
def adversary(schedules: int, seed: int, on: str, json_to: str | None) -> None:
    """Play schedules of faults against all-reduces, and check every packet.

    A schedule drops, duplicates, delays and reorders packets; it restarts workers and replaces them; it kills the
    switch, which comes back empty or never. At every step each contribution must count once, each sum must be right,
    and each worker must keep to its slots; and every job must end, with the sums that NumPy makes.

    A schedule follows from its seed alone. The seeds of those that failed are printed, and the exit status is 1.
    """
    from dataclasses import asdict

    from midflight.cli.output import write_json
    from midflight.cli.terminal import bar, console_beside
    from midflight.testbed.adversary import campaign

    console = console_beside(json_to)
    with bar(console, "Playing:") as progress:
        found = campaign(
            range(seed, seed + schedules),
            on=cast("Literal['kernel', 'engine', 'tree']", on),
            progress=lambda done, failed: progress(done, schedules, f"{failed} failed"),
        )
    console.print(
        f"{found.schedules:,} schedules from seed {seed} on: {found.moves:,} moves, {found.faults:,} faults, "
        f"{found.sums:,} sums checked, {len(found.failures)} failed.",
        soft_wrap=True,
    )
    if json_to:
        write_json({"seed": seed, "on": on} | asdict(found), json_to)
    if found.failures:
        raise _failed(found, on)


def _failed(found: Campaign, on: str) -> MidflightError:
    first = found.failures[0]
    return MidflightError(
        "\n".join(f"seed {each.seed}: {each.reason}" for each in found.failures),
        hint=f"see one again with: midflight adversary --on {on} --schedules 1 --seed {first.seed}",
    )
