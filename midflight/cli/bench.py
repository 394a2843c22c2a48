"""`midflight bench`: benchmarks of the toolkit's parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from midflight.cli.benchallreduce import allreduce
from midflight.cli.options import FiniteRange, json_file_option

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from midflight.testbed.bench.engine import EngineBench
    from midflight.testbed.bench.opening import OpeningBench
    from midflight.testbed.bench.ports import PortsBench
    from midflight.testbed.bench.primitives import LaneCost, PrimitivesBench
    from midflight.testbed.bench.soak import Soak
    from midflight.testbed.bench.xdp import XdpBench

__all__ = ["bench"]

EPILOG = """\b
Examples:
  midflight bench engine
  midflight bench primitives
  midflight bench open
  midflight bench placement
  midflight bench steering
  midflight bench allreduce
  sudo midflight bench ports
  sudo midflight bench xdp
  sudo midflight bench soak --minutes 60
"""

ENGINE = """\b
Examples:
  midflight bench engine
  midflight bench engine --runs 51 --json engine.json
"""

PRIMITIVES = """\b
Examples:
  midflight bench primitives                        measure all primitives of the library
  midflight bench primitives aggregate countmin     measure two of them, and the cost of a lane of Aggregate
  midflight bench primitives --runs 51 --json primitives.json
"""

OPEN = """\b
Examples:
  midflight bench open
  sudo midflight bench open --fabric netns --runs 5 --json open.json
"""

SOAK = """\b
Examples:
  sudo midflight bench soak --minutes 60 --json soak.json
  midflight bench soak --fabric sim --minutes 1
"""

PLACEMENT = """\b
Examples:
  midflight bench placement
  midflight bench placement --arity 8 --json placement.json
"""

XDP = """\b
Examples:
  sudo midflight bench xdp
  sudo midflight bench xdp --runs 31 --size 1500 --json xdp.json
"""

STEERING = """\b
Examples:
  midflight bench steering
  midflight bench steering --runs 101 --json steering.json
"""

PORTS = """\b
Examples:
  sudo midflight bench ports
  sudo midflight bench ports --runs 31 --size 1500 --json ports.json
"""


@click.group(epilog=EPILOG)
def bench() -> None:
    """Measure how fast the toolkit's parts are."""


bench.add_command(allreduce)


@bench.command(epilog=ENGINE)
@click.option("--runs", metavar="N", type=click.IntRange(1), default=15, show_default=True, help="Runs per program.")
@click.option(
    "--seed", metavar="N", type=click.IntRange(0), default=0, show_default=True, help="Seed of routes and packets."
)
@json_file_option("figures")
def engine(runs: int, seed: int, json_to: str | None) -> None:
    """Measure the packets per second of the embedded switch.

    The switch runs in this process on one core, with two programs: an IPv4 forwarder with 1,000 routes, and an
    aggregation of 32 lanes. Each batch is timed as a whole, in native code. Before the timed runs, all sums and a
    sample of the forwarder's packets are checked. Figures are medians over the runs.
    """
    from midflight.cli.output import write_figures
    from midflight.cli.terminal import bar, console_beside
    from midflight.testbed.bench.engine import bench_engine

    console = console_beside(json_to)
    with bar(console, "Measuring:") as progress:
        found = bench_engine(runs=runs, seed=seed, progress=progress)
    console.print(_table(found, console))
    write_figures(found.json(), json_to, console)


@bench.command(epilog=PRIMITIVES)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--runs", metavar="N", type=click.IntRange(1), default=15, show_default=True, help="Runs per primitive.")
@click.option("--seed", metavar="N", type=click.IntRange(0), default=0, show_default=True, help="Seed of the packets.")
@json_file_option("figures")
def primitives(names: tuple[str, ...], runs: int, seed: int, json_to: str | None) -> None:
    """Measure the packets per second of all primitives, or of those named.

    The embedded switch runs in this process on one core. Each primitive has its default parameters and the traffic of
    its tests. Each batch is timed as a whole, in native code, from an empty state. Before the timed runs, the output is
    compared with that of the kernel in Python. Aggregate is also timed with 1 to 128 lanes, to find the cost of a lane.
    Figures are medians over the runs.
    """
    from midflight.cli.output import write_figures
    from midflight.cli.terminal import bar, console_beside
    from midflight.primitives.catalogue import LIBRARY, find
    from midflight.testbed.bench.primitives import bench_primitives

    chosen = sorted({find(each).__name__ for each in names} or LIBRARY)
    console = console_beside(json_to)
    with bar(console, "Measuring:") as progress:
        found = bench_primitives(chosen, runs=runs, seed=seed, progress=progress)
    console.print(_primitives_table(found, console))
    if found.lanes:
        console.print()
        console.print(_lanes_table(found.lanes, console))
        console.print(
            f"The fastest runs take {found.lanes.fixed:.0f} ns + {found.lanes.each:.2f} ns per lane, "
            f"within {found.lanes.off:.0%}.",
            soft_wrap=True,
        )
    write_figures(found.json(), json_to, console)


@bench.command(epilog=PLACEMENT)
@click.option(
    "--arity", metavar="K", type=click.IntRange(4, 32), default=16, show_default=True, help="Ports of each switch."
)
@click.option(
    "--size", metavar="BYTES", type=click.IntRange(1), default=10**8, show_default=True, help="Size of each vector."
)
@json_file_option("figures")
def placement(arity: int, size: int, json_to: str | None) -> None:
    """Compare the traffic of all-reduce on a fat-tree in three ways.

    The fat-tree has K^3 / 4 hosts: 1,024 with 16 ports a switch. The planner splits the sum hierarchically over the
    switches. The other ways are a server that gets all vectors, and a ring of the hosts. The figures follow from the
    plan and from shortest paths; no packets are sent.
    """
    from midflight.cli.output import write_figures
    from midflight.cli.terminal import console_beside, table
    from midflight.testbed.bench.placement import measure

    console = console_beside(json_to)
    found = measure(arity, size)
    title = f"Sum of {found.size:,} bytes of each of {found.hosts:,} hosts, {found.switches:,} switches"
    made = table(console, title, ("", "bytes on the busiest link", "as a multiple", "bytes on all links"))
    for each in found.ways:
        made.add_row(
            each.name, f"{each.busiest:,.0f}", f"{each.busiest / found.ways[0].busiest:,.1f}", f"{each.total:,.0f}"
        )
    made.caption = f"The plan took {found.seconds:.1f} s."
    console.print(made)
    write_figures(found.json(), json_to, console)


@bench.command(epilog=STEERING)
@click.option("--runs", metavar="N", type=click.IntRange(1), default=41, show_default=True, help="Runs per program.")
@json_file_option("figures")
def steering(runs: int, json_to: str | None) -> None:
    """Measure what compute-aware forwarding costs each packet.

    The embedded switch runs a Threshold in this process, without and with a Steering. Packets are of the primitive or
    plain UDP, for a host or for a service, one of whose four instances is behind the switch; requests to the others are
    encapsulated. Before the timed runs, the ports by which packets leave are checked. Programs take turns, and only the
    thread's own processor time counts. The cost is the median over neighbouring runs.
    """
    from statistics import median

    from midflight.cli.output import write_figures
    from midflight.cli.terminal import bar, console_beside, table
    from midflight.testbed.bench.steering import bench_steering

    console = console_beside(json_to)
    with bar(console, "Measuring:") as progress:
        found = bench_steering(runs=runs, progress=progress)
    made = table(
        console,
        f"Packets per second, medians of {runs} runs",
        ("packets", "without Steering", "with Steering", "fewer packets", "longer for each"),
    )
    for each in found.costs:
        rates = (f"{median(rates) / 1e6:.1f} M" for rates in (each.without, each.with_steering))
        made.add_row(each.packets, *rates, f"{each.cost:.0%}", f"{each.nanoseconds:.1f} ns")
    console.print(made)
    write_figures(found.json(), json_to, console)


@bench.command(epilog=PORTS)
@click.option("--runs", metavar="N", type=click.IntRange(1), default=9, show_default=True, help="Runs per forwarder.")
@click.option(
    "--size", metavar="BYTES", type=click.IntRange(64, 1514), default=64, show_default=True, help="Size of each packet."
)
@json_file_option("figures")
def ports(runs: int, size: int, json_to: str | None) -> None:
    """Measure forwarding between two interfaces. Needs root.

    Compares an IPv4 router on the embedded switch with a bare recvmmsg/sendmmsg loop in native code between the same
    interfaces, and with simple_switch running the same program, if it is installed. The interfaces are veth pairs in a
    network namespace, which is removed afterwards.

    "From a backlog" measures the processor time of forwarding packets that are already waiting. "Live" counts the
    packets that arrive while a generator sends as fast as it can; for simple_switch it sends at the rate that suits it
    best. Runs alternate. Figures are medians, and ratios are medians of ratios of neighbouring runs.
    """
    from midflight.cli.output import write_figures
    from midflight.cli.terminal import bar, console_beside
    from midflight.testbed.bench.ports import bench_ports

    console = console_beside(json_to)
    with bar(console, "Measuring:") as progress:
        found = bench_ports(runs=runs, packet_bytes=size, progress=progress)
    console.print(_ports_table(found, console))
    if found.missing:
        console.print(f"Without simple_switch: {found.missing}", soft_wrap=True)
    write_figures(found.json(), json_to, console)


@bench.command(epilog=XDP)
@click.option("--runs", metavar="N", type=click.IntRange(1), default=9, show_default=True, help="Runs per forwarder.")
@click.option(
    "--size", metavar="BYTES", type=click.IntRange(64, 1514), default=64, show_default=True, help="Size of each packet."
)
@json_file_option("figures")
def xdp(runs: int, size: int, json_to: str | None) -> None:
    """Measure forwarding between two interfaces by XDP programs. Needs root.

    Compares an IPv4 router in P4, as a native XDP program, with a router that is written by hand for XDP, and with the
    same P4 on the embedded switch. The interfaces are veth pairs in a network namespace, which is removed afterwards.

    Packets come from a generator in the kernel, as frames, or from a packet socket, which takes longer than XDP does to
    forward them. They end at an interface that passes them to the system, or at one that drops them at once. A "run" is
    the time that the kernel measures for the program alone, on a packet that is not sent. Forwarders take turns, with
    real-time priority. Figures are medians, and ratios are medians of ratios of neighbouring runs. xdp is compared with
    the handwritten program where packets are dropped, and with the better rate of the embedded switch where they pass
    to the system.

    The second table has the cost of state in XDP programs when all processors change the same element: without state,
    with a counter, to which processors add atomically, and with a register, for which packets take turns.
    """
    from midflight.cli.output import write_figures
    from midflight.cli.terminal import bar, console_beside
    from midflight.testbed.bench.xdp import bench_xdp

    console = console_beside(json_to)
    with bar(console, "Measuring:") as progress:
        found = bench_xdp(runs=runs, packet_bytes=size, progress=progress)
    console.print(_xdp_table(found, console))
    console.print()
    console.print(_state_table(found, console))
    write_figures(found.json(), json_to, console)


@bench.command("open", epilog=OPEN)
@click.option(
    "--fabric",
    type=click.Choice(["sim", "netns"]),
    default="sim",
    show_default=True,
    help="Simulation in this process, or network namespaces with a process for each switch (needs root).",
)
@click.option("--runs", metavar="N", type=click.IntRange(1), default=3, show_default=True, help="Runs per network.")
@json_file_option("figures")
def opening(fabric: str, runs: int, json_to: str | None) -> None:
    """Measure how long networks take to open.

    The networks are a star of one switch and a fat tree of twenty, with a program of three applications. A network is
    open when every switch runs its program and forwards. Times are medians over the runs. The number of calls between
    files of the package, and the time spent in each folder, come from one more run each.
    """
    from midflight.cli.output import write_figures
    from midflight.cli.terminal import bar, console_beside
    from midflight.testbed.bench.opening import bench_opening

    console = console_beside(json_to)
    with bar(console, "Opening:") as progress:
        found = bench_opening(fabric, runs=runs, progress=progress)
    console.print(_opening_table(found, console))
    write_figures(found.json(), json_to, console)


def _opening_table(found: OpeningBench, console: Console) -> Table:
    from statistics import median

    from midflight.cli.terminal import table

    title = f"Opening networks in {found.fabric}, medians of {len(found.networks[0].seconds)} runs"
    made = table(console, title, ("", *(each.name for each in found.networks)))
    made.add_row("opens in", *(f"{median(each.seconds):.2f} s" for each in found.networks))
    made.add_row("processor time, closing included", *(f"{median(each.processor):.2f} s" for each in found.networks))
    made.add_row("calls between files", *(f"{each.calls:,}" for each in found.networks))
    for folder in dict.fromkeys(name for each in found.networks for name in [*each.spent][:5]):
        made.add_row(f"spent in {folder}", *(f"{each.spent.get(folder, 0.0):.2f} s" for each in found.networks))
    return made


@bench.command(epilog=SOAK)
@click.option(
    "--fabric",
    type=click.Choice(["sim", "netns"]),
    default="netns",
    show_default=True,
    help="Linux namespaces with a process for each switch and worker (needs root), or a simulation in this process.",
)
@click.option(
    "--minutes", metavar="N", type=FiniteRange(0.01), default=10.0, show_default=True, help="The duration in minutes."
)
@click.option(
    "--rate", metavar="N", type=FiniteRange(0.01), default=1.0, show_default=True, help="Rounds a second, at most."
)
@click.option(
    "--seed", metavar="N", type=click.IntRange(0), default=0, show_default=True, help="Seed of faults and arrays."
)
@json_file_option("figures")
def soak(fabric: str, minutes: float, rate: float, seed: int, json_to: str | None) -> None:
    """Keep a network at work, and report the memory, threads and descriptors of each process.

    In each round, three workers sum an array over links with loss, and two controllers connect and disconnect. Every
    tenth round pushes another program. The first tenth of the time is left out of the figures.
    """
    from midflight.cli.output import write_figures
    from midflight.cli.terminal import bar, console_beside
    from midflight.testbed.bench.soak import soak as run

    console = console_beside(json_to)
    with bar(console, "Soaking:") as progress:
        found = run(minutes * 60, fabric=fabric, rate=rate, seed=seed, progress=progress)
    console.print(_soak_table(found, console))
    write_figures(found.json(), json_to, console)


def _soak_table(found: Soak, console: Console) -> Table:
    from midflight.cli.terminal import table

    done = f"{found.sums:,} sums, {found.pushes:,} pushes, {found.controllers:,} controllers"
    title = f"{found.seconds / 60:.1f} minutes in {found.fabric}: {done}"
    made = table(console, title, ("", "memory, first", "last", "most", "growth an hour", "threads", "descriptors"))
    for each in found.processes:
        samples = each.settled(found.seconds)
        first, last = samples[0], samples[-1]
        made.add_row(
            each.name,
            *(f"{size / 1024:.1f} MiB" for size in (first.memory, last.memory, max(one.memory for one in samples))),
            f"{each.growth(found.seconds) / 1024:+.1f} MiB",
            f"{first.threads} to {last.threads}",
            f"{first.descriptors} to {last.descriptors}",
        )
    return made


def _primitives_table(found: PrimitivesBench, console: Console) -> Table:
    from midflight.cli.terminal import table

    title = f"The library on one core, medians of {len(found.primitives[0].rate.runs)} runs"
    outcomes = ("dropped", "forwarded", "answered")
    columns = ("packets per second", "slowest", "fastest", "time per packet", *outcomes)
    made = table(console, title, ("", *columns))
    for each in found.primitives:
        rate = each.rate
        made.add_row(
            each.name,
            *(f"{runs / 1e6:.2f} M" for runs in (rate.packets_per_second, min(rate.runs), max(rate.runs))),
            f"{rate.nanoseconds:.0f} ns",
            *(f"{each.outcomes[outcome] / rate.packets:.0%}" for outcome in outcomes),
        )
    return made


def _lanes_table(found: LaneCost, console: Console) -> Table:
    from midflight.cli.terminal import table

    title = f"Aggregate by number of lanes, medians of {len(found.rates[0].runs)} runs"
    made = table(console, title, ("lanes", "packets per second", "lanes per second", "fastest", "fitted"))
    for lanes, rate in zip(found.lanes, found.rates, strict=True):
        made.add_row(
            f"{lanes}",
            f"{rate.packets_per_second / 1e6:.2f} M",
            f"{lanes * rate.packets_per_second / 1e6:.0f} M",
            f"{1e9 / max(rate.runs):.0f} ns",
            f"{found.fixed + found.each * lanes:.0f} ns",
        )
    return made


def _ports_table(found: PortsBench, console: Console) -> Table:
    from statistics import median

    from midflight.cli.terminal import table

    def rate(runs: tuple[float, ...]) -> str:
        return f"{median(runs) / 1e3:,.0f} k" if runs else ""

    columns = [found.bare, found.switch, *([found.simple_switch] if found.simple_switch else [])]
    title = f"Packets of {found.packet_bytes} bytes between two veth pairs, medians of {len(found.bare.live)} runs"
    made = table(console, title, ("", *(each.name for each in columns)))
    made.add_row("packets per second, from a backlog", *(rate(each.backlog) for each in columns))
    made.add_row("packets per second, live", *(rate(each.live) for each in columns))
    made.add_row("speed of midflight relative to this, from a backlog", f"{found.to_bare:.2f}")
    simple = [] if found.to_simple_switch is None else ["", f"{found.to_simple_switch:.2f}"]
    made.add_row("speed of midflight relative to this, live", f"{found.to_bare_live:.2f}", *simple)
    return made


def _xdp_table(found: XdpBench, console: Console) -> Table:
    from statistics import median

    from midflight.cli.terminal import table

    runs = len(found.live["xdp"])
    title = f"Packets of {found.packet_bytes} bytes between two veth pairs, medians of {runs} runs"
    made = table(console, title, ("", *found.live))

    def rates(of: dict[str, tuple[float, ...]]) -> list[str]:
        return [f"{median(each) / 1e3:,.0f} k" for each in of.values()]

    made.add_row("packets per second, from frames", *rates(found.live))
    made.add_row("packets per second, from frames, dropped at the end", *rates(found.ending))
    made.add_row("packets per second, from a socket", *rates(found.socket))
    made.add_row("nanoseconds a run", *(f"{median(each):,.0f}" for each in found.run.values()))
    made.add_row("speed of xdp relative to this", "", f"{found.to_hand:.2f}", f"{found.to_embedded:.2f}")
    return made


def _state_table(found: XdpBench, console: Console) -> Table:
    from midflight.cli.terminal import table

    made = table(console, "Nanoseconds a packet by state", ("", *found.state))
    for name, number in (("on one processor", 0), ("on each of all at once", 1)):
        made.add_row(name, *(f"{each[number]:,.0f}" for each in found.state.values()))
    return made


def _table(found: EngineBench, console: Console) -> Table:
    from midflight.cli.terminal import table

    rates = (found.forwarder, found.aggregation)
    made = table(
        console,
        f"The engine on one core, medians of {len(rates[0].runs)} runs",
        ("", f"forwarder, {found.routes:,} routes", f"aggregation, {found.lanes} lanes"),
    )
    rows = {
        "packets per second": [f"{each.packets_per_second / 1e6:.2f} M" for each in rates],
        "slowest and fastest run": [f"{min(each.runs) / 1e6:.2f} to {max(each.runs) / 1e6:.2f} M" for each in rates],
        "time per packet": [f"{each.nanoseconds:.0f} ns" for each in rates],
        "packets in a batch": [f"{each.packets:,}" for each in rates],
        "bytes in a packet": [f"{each.packet_bytes}" for each in rates],
        "compiled in": [f"{each.compile_seconds:.2f} s" for each in rates],
    }
    for name, values in rows.items():
        made.add_row(name, *values)
    return made
