"""`midflight net`: open a network from a file, with a prompt."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from midflight.cli.options import ENTRIES_HELP, DeviceKind, queue_options, sheet_option, writable

if TYPE_CHECKING:
    from midflight.testbed import Net

__all__ = ["net"]

EPILOG = """\b
Examples:
  sudo midflight net star.yaml                              then, at the prompt: h1 ping h2
  sudo midflight net star.yaml --program lab3.py --device bmv2
  sudo midflight net star.yaml -c 'h1 ping -c 1 h2' -c 's1 table ingress.route'
  midflight net star.yaml --fabric sim --picture star.svg -c nodes

\b
star.yaml may contain `star: {hosts: 3}`, or links:
  links:
    - h1 s1
    - {ends: h2 s1, delay: 2ms, rate: 100Mbit, loss: 1%}
"""


@click.command(epilog=EPILOG)
@click.argument("file", metavar="FILE.yaml", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--program",
    "program_file",
    metavar="FILE.py",
    type=click.Path(path_type=Path),
    help="The program of the switches.  [default: an Aggregate `gradients` over all hosts but the last]",
)
@click.option(
    "--device",
    type=DeviceKind(),
    metavar="KIND",
    default="host",
    show_default=True,
    help="The kind of switches: host, bmv2, xdp, or one of another package.",
)
@click.option(
    "--fabric",
    type=click.Choice(["netns", "sim"]),
    default="netns",
    show_default=True,
    help="Network namespaces (needs root), or a simulation.",
)
@click.option(
    "--seed", metavar="N", type=click.IntRange(0), default=0, show_default=True, help="Seed of the links' faults."
)
@click.option(
    "--entries",
    "entries",
    metavar="SWITCH=FILE",
    multiple=True,
    help=ENTRIES_HELP,
)
@sheet_option
@queue_options
@click.option("--pcap", metavar="DIR", type=click.Path(path_type=Path), help="Write captures of all links here.")
@click.option(
    "--picture",
    metavar="FILE.svg",
    type=click.Path(path_type=Path),
    callback=writable,
    help="Save a picture of the topology.",
)
@click.option("--trace", is_flag=True, help="Make BMv2 log every packet, as `s1 trace on` requires. Slow.")
@click.option(
    "-c", "commands", metavar="COMMAND", multiple=True, help="Run this command instead of the prompt. May be repeated."
)
def net(
    file: Path,
    program_file: Path | None,
    device: str,
    fabric: str,
    seed: int,
    entries: tuple[str, ...],
    sheet: str | None,
    queues: int | None,
    depth: int | None,
    rate: str | None,
    port_rate: str | None,
    pcap: Path | None,
    picture: Path | None,
    trace: bool,
    commands: tuple[str, ...],
) -> int:
    """Open a network, and run commands on its hosts and switches.

    Without -c, there is a prompt. When it or the last command ends, the network is removed, with all processes that it
    has started.
    """
    from midflight.cli.console import Console
    from midflight.cli.output import write_files
    from midflight.cli.userfile import load_program
    from midflight.primitives import Aggregate, Program
    from midflight.runtime.devices import load_sheet
    from midflight.runtime.engine.queues import QueueOptions
    from midflight.testbed import Net
    from midflight.testbed.topology.file import load_topology

    topology = load_topology(file)
    if (queues, depth, rate, port_rate) != (None,) * 4:
        topology = topology.with_queues(QueueOptions(queues or 1, depth, rate, port_rate))
    if program_file is not None:
        program = load_program(program_file)
    else:
        program = Program(Aggregate("gradients", workers=max(1, min(64, len(topology.hosts) - 1))))
    if picture is not None:
        write_files({picture: topology.svg()})
    sheets = dict.fromkeys(topology.switches, load_sheet(sheet)) if sheet is not None else None
    with (
        Net(
            topology, program=program, device=device, fabric=fabric, seed=seed, capabilities=sheets, pcap=pcap,
            traceable=trace,
        ) as made,
        closing(Console(made)) as console,
    ):  # fmt: skip
        _write_entries(made, entries)
        for each in commands:
            if console.onecmd(each) or console.failed:
                return int(console.failed)
        if not commands:
            import sys

            if not sys.stdin.isatty():
                console.prompt = ""
                console.use_rawinput = False
            click.echo(f"{len(topology.hosts)} hosts, {len(topology.switches)} switches; `help` lists the commands")
            while True:
                try:
                    console.cmdloop()
                    break
                except KeyboardInterrupt:
                    click.echo("")
    return 0


def _write_entries(net: Net, entries: tuple[str, ...]) -> None:
    """Write entries files, given as SWITCH=FILE, to the switches of a network."""
    from midflight.runtime.p4runtime.entryfiles.reading import read_entries
    from midflight.runtime.p4runtime.entryfiles.steps import SessionTarget, apply

    for each in entries:
        name, equals, path = each.partition("=")
        if not equals or name not in net.sessions:
            known = ", ".join(net.sessions)
            raise click.BadParameter(f"{each!r} is not SWITCH=FILE; the switches are {known}", param_hint="--entries")
        target = SessionTarget(net.sessions[name])
        apply(read_entries(Path(path), target.schema), target)
