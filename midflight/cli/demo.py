"""`midflight demo`: demonstrations in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from midflight.cli.options import DeviceKind, FiniteRange, json_file_option, sheet_option, writable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from midflight.testbed.demos.allreduce import Demo

__all__ = ["demo"]

EPILOG = """\b
Examples:
  midflight demo allreduce
  midflight demo allreduce --loss 0.05 --seed 7
  midflight demo queues --picture queues.svg
  sudo midflight demo failover
"""

QUEUES = """\b
Examples:
  midflight demo queues
  midflight demo queues --rate 500 --threshold 5 --picture queues.svg --json -
"""

ALLREDUCE = """\b
Examples:
  midflight demo allreduce
  midflight demo allreduce --loss 0.05 --seed 7 --json lossy.json
  midflight demo allreduce --steps 20 --picture /tmp/short.png
  sudo midflight demo allreduce --fabric netns --device bmv2    namespaces, sockets, and p4lang's switch
"""

FAILOVER = """\b
Examples:
  sudo midflight demo failover
  sudo midflight demo failover --fail link --fail forwarder --detect 0.5
  sudo midflight demo failover --device bmv2 --json -
"""


@click.group(epilog=EPILOG)
def demo() -> None:
    """Run demonstrations of in-network computing."""


@demo.command(epilog=ALLREDUCE)
@click.option(
    "--loss",
    metavar="P",
    type=FiniteRange(0, 0.5),
    default=0.0,
    show_default=True,
    help="Probability that a link loses a packet; also that it duplicates one, and that it reorders one.",
)
@click.option(
    "--seed", metavar="N", type=click.IntRange(0), default=0, show_default=True, help="Seed of all randomness."
)
@click.option(
    "--device",
    type=DeviceKind(),
    metavar="KIND",
    default="host",
    show_default=True,
    help="The switch: host (the embedded switch), bmv2, or xdp (in the kernel; needs root).",
)
@click.option(
    "--fabric",
    type=click.Choice(["sim", "netns"]),
    default="sim",
    show_default=True,
    help="The network: simulation in virtual time, or network namespaces with sockets (needs root).",
)
@click.option("--steps", metavar="N", type=click.IntRange(1), help="Number of training steps.  [default: 80]")
@sheet_option
@json_file_option("figures")
@click.option(
    "--picture",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("midflight-allreduce.png"),
    show_default=True,
    callback=writable,
    help="Where to save the picture.",
)
@click.option(
    "--titles/--no-titles",
    default=True,
    help="Titles in the picture, or none, for a paper whose captions say the rest.",
)
def allreduce(
    loss: float,
    seed: int,
    device: str,
    fabric: str,
    steps: int | None,
    sheet: str | None,
    json_to: str | None,
    picture: Path,
    titles: bool,
) -> None:
    """Train a classifier on four workers, with gradients summed by the switch.

    Trains twice on the same network, first with sums in the switch and then at a parameter server. Compares the
    accuracy, the exactness of the sums, and the traffic on the server's link. The same seed gives the same weights, bit
    for bit, on every device and fabric. With --sheet, the server computes in both runs if the program does not fit.
    Fails if a sum differs from NumPy's. Needs the extra midflight[demo].
    """
    from dataclasses import replace
    from importlib.util import find_spec

    from midflight.cli.output import write_figures, write_files
    from midflight.cli.terminal import bar, console_beside
    from midflight.errors import MidflightError

    for module in ("sklearn", "matplotlib"):
        if find_spec(module) is None:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    from midflight.runtime.devices import load_sheet
    from midflight.testbed.demos.allreduce import Settings, run
    from midflight.testbed.demos.picture import drawn

    assumed = None if sheet is None else load_sheet(sheet)
    settings = Settings(loss=loss, seed=seed, device=device, fabric=fabric, sheet=assumed)
    if steps is not None:
        settings = replace(settings, steps=steps)
    console = console_beside(json_to)
    with bar(console, "Training") as progress:
        done = run(settings, progress)
    write_files({picture: drawn(done, picture.suffix.removeprefix(".") or "png", titles=titles)})
    console.print(_table(done, console))
    console.print(f"Picture: {picture}", soft_wrap=True)
    write_figures(done.figures.json(), json_to, console)
    if not done.figures.sums_exact:
        raise MidflightError("a sum differs from NumPy's sum of the same fixed-point numbers")


@demo.command(epilog=FAILOVER)
@click.option(
    "--fail",
    "kinds",
    metavar="PART",
    type=click.Choice(["instance", "link", "forwarder", "selector", "controller"]),
    multiple=True,
    help="instance, link, forwarder, selector or controller. May be repeated.  [default: each]",
)
@click.option(
    "--detect",
    default=1.0,
    show_default=True,
    type=FiniteRange(0.2, 60),
    help="The detection time of the path selector, in seconds.",
)
@click.option(
    "--device", type=DeviceKind(), metavar="KIND", default="host", show_default=True, help="The switches: host or bmv2."
)
@json_file_option("figures")
def failover(kinds: tuple[str, ...], detect: float, device: str, json_to: str | None) -> None:
    """Kill parts of a network that steers requests, and report what is lost and how long steering away takes.

    Switches, services with their agents, the path selector, the controller and a client run as processes in network
    namespaces, so this needs root. The client sends a request every 10 ms and repeats none. Fails if a request is lost
    that was sent after the path selector had set other weights, or any when the path selector or the controller dies.
    """
    from rich.table import Table

    from midflight.cli.output import write_figures
    from midflight.cli.terminal import console_beside
    from midflight.errors import MidflightError
    from midflight.testbed.demos.failover import FAILURES, run

    console = console_beside(json_to)
    done = run(kinds or FAILURES, device=device, detect=detect, progress=console.print)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for each in ("killed", "requests", "lost", "away after", "weights after", "lost then"):
        table.add_column(each, justify="left" if each == "killed" else "right")
    for one in done.failures:
        decided = "" if one.decided_ms is None else f"{one.decided_ms:.0f} ms"
        away = f"{one.away_ms:.0f} ms" if one.lost else ""
        table.add_row(one.kind, str(one.sent), str(one.lost), away, decided, str(one.lost_after))
    console.print(table)
    write_figures(done.json(), json_to, console)
    if wrong := [each.kind for each in done.failures if each.lost_after]:
        raise MidflightError(f"requests were lost for too long: {', '.join(wrong)}")


@demo.command(epilog=QUEUES)
@click.option(
    "--rate",
    metavar="PPS",
    type=click.IntRange(1, 100_000),
    default=1000,
    show_default=True,
    help="The rate of the queue, in packets a second.",
)
@click.option(
    "--depth",
    metavar="PACKETS",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="The most packets that the queue holds.",
)
@click.option(
    "--threshold",
    metavar="PACKETS",
    type=click.IntRange(0, 10_000),
    default=10,
    show_default=True,
    help="Mark a packet that finds at least this many packets in the queue.",
)
@click.option(
    "--seconds",
    metavar="S",
    type=FiniteRange(0.1, 600),
    default=6.0,
    show_default=True,
    help="The duration of each run, in seconds of virtual time.",
)
@json_file_option("figures")
@click.option(
    "--picture",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("midflight-queues.svg"),
    show_default=True,
    callback=writable,
    help="Where to save the picture.",
)
def queues(rate: int, depth: int, threshold: int, seconds: float, json_to: str | None, picture: Path) -> None:
    """Fill a queue that drops when it is full, marks packets (ECN), or runs CoDel.

    One sender with additive increase and multiplicative decrease sends through a slow queue of the embedded switch, in
    virtual time. The P4 programs are in midflight/p4src/examples. The picture shows the depth of the queue over time.
    Needs the extra midflight[demo].
    """
    from importlib.util import find_spec

    from midflight.cli.output import write_figures, write_files
    from midflight.cli.terminal import bar, console_beside, table

    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")

    from midflight.testbed.demos.queuepicture import drawn
    from midflight.testbed.demos.queues import QueueSettings, run

    console = console_beside(json_to)
    with bar(console, "Running") as progress:
        done = run(QueueSettings(rate=rate, depth=depth, threshold=threshold, seconds=seconds), progress)
    write_files({picture: drawn(done, picture.suffix.removeprefix(".") or "png")})
    made = table(console, f"{rate} packets a second, {depth} packets deep", ("", *(each.name for each in done.runs)))
    columns = [each.figures() for each in done.runs]
    for key, words in (
        ("delivered", "packets delivered"), ("lost", "packets lost"), ("marked", "packets marked"),
        ("mean_depth", "mean depth"), ("largest_depth", "largest depth"), ("median_delay", "median delay, ms"),
        ("p99_delay", "delay of 99 %, ms"),
    ):  # fmt: skip
        made.add_row(words, *(f"{each[key]:,}" for each in columns))
    console.print(made)
    console.print(f"Picture: {picture}", soft_wrap=True)
    write_figures(done.json(), json_to, console)


def _table(done: Demo, console: Console) -> Table:
    from midflight.cli.terminal import table

    figures, switch, server = done.figures, done.switch, done.server
    title = f"{figures.workers} workers, {figures.steps} steps, seed {figures.seed}" + (
        f", links that lose, duplicate and reorder {figures.loss:.1%} each" if figures.loss else ""
    )
    made = table(console, title, ("", "summed in the switch", "at the server"))
    rows = [
        ("test accuracy", f"{figures.accuracy_switch:.2%}", f"{figures.accuracy_server:.2%}"),
        ("largest error of a summed gradient", f"{switch.max_abs_error:.2e}", f"{server.max_abs_error:.2e}"),
        (
            "bytes on the server's link",
            f"{figures.server_link_bytes_switch:,}",
            f"{figures.server_link_bytes_server:,}",
        ),
        (
            "packets on the server's link",
            f"{figures.server_link_packets_switch:,}",
            f"{figures.server_link_packets_server:,}",
        ),
        ("packets on all links", f"{switch.packets:,}", f"{server.packets:,}"),
        ("packets lost", f"{switch.lost:,}", f"{server.lost:,}"),
        ("packets retransmitted", f"{switch.retransmitted:,}", f"{server.retransmitted:,}"),
        ("duplicates suppressed", f"{switch.duplicates_suppressed:,}", f"{server.duplicates_suppressed:,}"),
        (
            "virtual time per step" if figures.fabric == "sim" else "time per step",
            f"{figures.step_microseconds_switch:,.1f} us",
            f"{figures.step_microseconds_server:,.1f} us",
        ),
    ]
    for row in rows:
        made.add_row(*row)
    exact = "equal NumPy's, bit for bit, as integers" if figures.sums_exact else "DIFFER from NumPy's"
    made.caption = f"All sums {exact}. Took {done.seconds:.1f} s."
    return made
