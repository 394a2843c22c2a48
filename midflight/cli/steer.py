"""`midflight steer`: scenarios of compute-aware forwarding."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from midflight.cli.options import DeviceKind, FiniteRange, json_file_option, writable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from midflight.testbed.steer import Scenario
    from midflight.testbed.steer.live import LiveRun

__all__ = ["steer"]

EPILOG = """\b
Examples:
  midflight steer factory
  midflight steer cloudvr --seeds 5 --json cloudvr.json --html cloudvr.html
  midflight steer factory --load 0.9 --stale 0.5
  midflight steer factory --print-yaml > mine.yaml
  midflight steer factory mine.yaml --workers 2
  sudo midflight steer factory --fabric netns --device bmv2
"""


@click.command(epilog=EPILOG)
@click.argument("scenario", type=click.Choice(["factory", "cloudvr", "v2x", "green", "contention"]))
@click.argument("file", metavar="[FILE.yaml]", required=False, type=click.Path(path_type=Path))
@click.option("--seeds", metavar="N", type=click.IntRange(1), default=3, show_default=True, help="Number of seeds.")
@click.option("--seed", metavar="N", type=click.IntRange(0), default=0, show_default=True, help="The first seed.")
@click.option(
    "--load",
    metavar="PART",
    type=FiniteRange(0.01, 2.0),
    help="The offered work as a part of what all servers can do, instead of the file's.",
)
@click.option(
    "--stale",
    metavar="PART",
    type=FiniteRange(0, 1),
    help="The part of the instances whose metrics are stale, instead of the file's.",
)
@click.option("--policy", "policies", metavar="NAME", multiple=True, help="Only this policy. May be repeated.")
@json_file_option("figures")
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=writable,
    help="Write a report with plots.",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes of a local Dask cluster; 1 is this process.",
)
@click.option("--cluster", metavar="ADDRESS", help="A Dask cluster that runs already, such as tcp://host:8786.")
@click.option(
    "--fabric",
    type=click.Choice(["sim", "netns"]),
    default="sim",
    show_default=True,
    help="Simulate requests, or run services, switches and clients in network namespaces (needs root).",
)
@click.option(
    "--device",
    type=DeviceKind(),
    metavar="KIND",
    default="host",
    show_default=True,
    help="The kind of switches, with --fabric netns.",
)
@click.option(
    "--requests",
    metavar="N",
    type=click.IntRange(1, 40_000),
    default=400,
    show_default=True,
    help="The number of requests with --fabric netns, each in its own flow.",
)
@click.option(
    "--slower",
    metavar="FACTOR",
    type=FiniteRange(1, 1e4),
    default=100.0,
    show_default=True,
    help="The factor by which all times are longer with --fabric netns, so that processes keep up.",
)
@click.option("--print-yaml", is_flag=True, help="Print the scenario's file, and do nothing else.")
def steer(
    scenario: str,
    file: Path | None,
    seeds: int,
    seed: int,
    load: float | None,
    stale: float | None,
    policies: tuple[str, ...],
    json_to: str | None,
    html: Path | None,
    workers: int,
    cluster: str | None,
    fabric: str,
    device: str,
    requests: int,
    slower: float,
    print_yaml: bool,
) -> None:
    """Simulate a scenario of compute-aware forwarding under each policy.

    Clients' requests enter at ingresses, and a policy chooses an instance for each one. Compared are known policies, an
    oracle with perfect and instant knowledge, and ours in three deployments: centralised, distributed and hybrid. All
    see the same requests. The same seeds give the same figures, on any number of workers.

    FILE.yaml is your version of the scenario's file; without it, the one that comes with Midflight is used. Without
    --policy, all policies are compared. That simulates millions of requests and takes a few minutes; to start small,
    use --seeds 1 or --policy. A terminal shows the policies' figures as their seeds are done.

    With --fabric netns, each instance is a process on a host of its own, each ingress has a client, and switches steer
    the clients' requests by the static weights of a C-PS. It reports which host answered, and how long that took.
    """
    from dataclasses import replace

    from midflight.cli.output import write_figures, write_files
    from midflight.cli.steerview import live_view
    from midflight.cli.terminal import console_beside
    from midflight.testbed.steer import (
        POLICIES,
        load_scenario,
        local_cluster,
        page,
        parse_scenario,
        report,
        shipped,
        sweep,
    )
    from midflight.testbed.steer.live import run_live

    if print_yaml:
        click.echo(shipped(scenario), nl=False)
        return
    found = load_scenario(file) if file else parse_scenario(shipped(scenario), f"{scenario}.yaml")
    if load is not None:
        found = replace(found, load=load)
    if stale is not None:
        found = replace(found, metrics=replace(found.metrics, stale=stale))
    console = console_beside(json_to)
    if fabric == "netns":
        if policies or html or cluster or workers > 1 or stale is not None:
            raise click.UsageError("--policy, --stale, --html, --workers and --cluster are for --fabric sim")
        live = run_live(found, device=device, requests=requests, slower=slower, seed=seed)
        console.print(_live_table(live, console))
        write_figures(live.json(), json_to, console)
        return
    numbers = range(seed, seed + seeds)
    chosen = policies or POLICIES
    with ExitStack() as stack:
        client = stack.enter_context(local_cluster(workers, cluster or "")) if cluster or workers > 1 else None
        arrived = stack.enter_context(live_view(console, chosen, len(numbers)))
        figures = sweep(found, numbers, chosen, client=client, arrived=arrived)
    results = report(found, numbers, figures)
    console.print(_table(results, found, console))
    write_figures(results, json_to, console)
    if html:
        write_files({html: page(results)})
        console.print(f"Report: {html}", soft_wrap=True)


def _table(results: dict[str, object], scenario: Scenario, console: Console) -> Table:
    from typing import Any, cast

    from midflight.cli.terminal import table

    policies = cast("dict[str, dict[str, Any]]", results["policies"])
    seeds = len(cast("list[int]", results["seeds"]))
    title = f"{scenario.name}: {scenario.load:.0%} load, {seeds} seed{'s' if seeds > 1 else ''}" + (
        f", {scenario.metrics.stale:.0%} of the metrics {scenario.metrics.stale_by / 1e6:g} s stale"
        if scenario.metrics.stale
        else ""
    )
    columns = ("policy", "p50", "p99", "SLO missed", "moved", "MB", "J", "g CO2")
    made = table(console, title, columns)
    for name, each in policies.items():
        missed = each["slo_misses"] * seeds / max(1, each["requests"])
        width = f" ±{each['p99_us_ci'] / 1e3:.2f}" if "p99_us_ci" in each else ""
        made.add_row(
            f"{name} *" if name in cast("list[str]", results["ours"]) else name,
            f"{each['p50_us'] / 1e3:,.2f} ms",
            f"{each['p99_us'] / 1e3:,.2f}{width} ms",
            f"{missed:.2%}",
            f"{each['moved']:,}",
            f"{each['bytes'] / 1e6:,.1f}",
            f"{each['joules']:,.0f}",
            f"{each['grams']:,.3f}",
        )
    made.caption = "* ours. Means over seeds, with 95 % confidence intervals of p99."
    return made


def _live_table(live: LiveRun, console: Console) -> Table:
    from typing import Any, cast

    from midflight.cli.terminal import table

    title = f"{live.scenario} in namespaces on {live.device}, {live.slower:g} times as slow"
    made = table(console, title, ("class", "requests", "lost", "sent again", "p50", "p99", "answered by"))
    for name, each in cast("dict[str, dict[str, Any]]", live.json()["classes"]).items():
        hosts = ", ".join(f"{host} {count}" for host, count in each["hosts"].items())
        figures = (str(each[which]) for which in ("requests", "lost", "retried"))
        made.add_row(name, *figures, f"{each['p50_us'] / 1e3:,.1f} ms", f"{each['p99_us'] / 1e3:,.1f} ms", hosts)
    return made
