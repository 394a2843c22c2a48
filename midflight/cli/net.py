"""`midflight net`: open a network from a file, with a prompt."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from midflight.cli.options import ENTRIES_HELP, DeviceKind, queue_options, sheet_option, writable

if TYPE_CHECKING:
    from midflight.testbed import Net
    from midflight.testbed.p4net import P4Net

__all__ = ["net"]

EPILOG = """\b
Examples:
  sudo midflight net star.yaml                              then, at the prompt: h1 ping h2
  sudo midflight net star.yaml --program lab3.py --device bmv2
  sudo midflight net star.yaml --program l3.p4 --entries s1=s1-runtime.json
  sudo midflight net pod.yaml --program l3.p4 --program s2=firewall.p4
  sudo midflight net --from p4app.json                      p4-utils
  sudo midflight net --from pod-topo/topology.json          p4lang's tutorials
  sudo midflight net --from topo.py --program l3.p4         a Mininet script
  sudo midflight net star.yaml -c 'h1 ping -c 1 h2' -c 's1 table ingress.route'
  midflight net star.yaml --fabric sim --picture star.svg -c nodes

\b
star.yaml may contain `star: {hosts: 3}`, or links:
  links:
    - h1 s1
    - {ends: h2 s1, delay: 2ms, rate: 100Mbit, loss: 1%}
  programs: {s1: l3.p4}
  entries: {s1: s1-runtime.json}
"""


@click.command(epilog=EPILOG)
@click.argument(
    "file", metavar="[FILE.yaml]", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option(
    "--from",
    "foreign",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Instead of FILE.yaml: p4-utils' p4app.json, the topology.json of p4lang's tutorials, or a Mininet script.",
)
@click.option(
    "--program",
    "programs",
    metavar="[SWITCH=]FILE",
    multiple=True,
    help="The program of the switches: a Python file for all, or P4 files, for all or for one. May be repeated.  "
    "[default: an Aggregate `gradients` over all hosts but the last]",
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
    file: Path | None,
    foreign: Path | None,
    programs: tuple[str, ...],
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

    The switches run a program of primitives, which Midflight's controller manages, or P4 programs, whose entries come
    from files and from the prompt.

    Without -c, there is a prompt. When it or the last command ends, the network is removed, with all processes that it
    has started.
    """
    from midflight.cli.console import Console
    from midflight.cli.foreign import read_foreign
    from midflight.cli.output import write_files
    from midflight.cli.userfile import load_program
    from midflight.primitives import Aggregate, Program
    from midflight.runtime.devices import load_sheet
    from midflight.runtime.engine.queues import QueueOptions
    from midflight.testbed import Net
    from midflight.testbed.p4net import P4Net
    from midflight.testbed.realtime import asks_for_time
    from midflight.testbed.topology.file import load_topology
    from midflight.testbed.topology.programs import SwitchFiles, load_switch_files
    from midflight.userfiles import read_text

    if (file is None) == (foreign is None):
        raise click.UsageError("give either FILE.yaml or --from FILE")
    direct = False
    if foreign is not None:
        imported = read_foreign(foreign)
        topology, direct = imported.topology, imported.direct
        files = SwitchFiles(imported.programs, imported.entries)
        for each in imported.notes:
            click.echo(f"note: {each}", err=True)
    else:
        assert file is not None
        topology = load_topology(file)
        files = load_switch_files(file, topology)
    if (queues, depth, rate, port_rate) != (None,) * 4:
        topology = topology.with_queues(QueueOptions(queues or 1, depth, rate, port_rate))
    python, p4 = _programs(programs, files.programs, topology.switches)
    if python is not None:
        program = load_program(python)
    else:
        program = Program(Aggregate("gradients", workers=max(1, min(64, len(topology.hosts) - 1))))
    if picture is not None:
        write_files({picture: topology.svg()})
    sheets = dict.fromkeys(topology.switches, load_sheet(sheet)) if sheet is not None else None
    if p4 and sheet is not None:
        raise click.UsageError("--sheet is for programs of primitives")
    texts = [read_text(each) for each in dict.fromkeys(p4.values())] if p4 else [program.p4()]
    if fabric == "sim" and device == "bmv2" and (asked := next(filter(None, map(asks_for_time, texts)), "")):
        click.echo(
            f"warning: the program uses {asked}, which BMv2 measures in real time, not in that of the simulation",
            err=True,
        )

    def opened() -> Net | P4Net:
        if p4:
            return P4Net(
                topology, programs=p4, entries=files.entries, device=device, fabric=fabric, seed=seed, pcap=pcap,
                traceable=trace, direct=direct,
            )  # fmt: skip
        return Net(
            topology, program=program, device=device, fabric=fabric, seed=seed, capabilities=sheets, pcap=pcap,
            traceable=trace,
        )  # fmt: skip

    with opened() as made, closing(Console(made)) as console:
        if not p4:
            _write_entries(made, tuple(f"{name}={path}" for name, paths in files.entries.items() for path in paths))
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


def _programs(
    given: tuple[str, ...], written: dict[str, Path], switches: tuple[str, ...]
) -> tuple[Path | None, dict[str, Path]]:
    """Return the Python file of the program, or the P4 files by switch, of the command line and the topology's file.

    click.BadParameter for an unknown switch, or for a Python file beside others.
    """
    found = dict(written)
    for each in given:
        name, equals, path = each.partition("=")
        if equals and name not in switches:
            raise click.BadParameter(
                f"{name!r} is not a switch; the switches are {', '.join(switches)}", param_hint="--program"
            )
        found |= dict.fromkeys([name] if equals else switches, Path(path if equals else each))
    python = [each for each in dict.fromkeys(found.values()) if each.suffix == ".py"]
    if not python:
        return None, found
    if len(dict.fromkeys(found.values())) > 1:
        raise click.BadParameter(f"all switches run the program in {python[0]}", param_hint="--program")
    return python[0], {}


def _write_entries(net: Net | P4Net, entries: tuple[str, ...]) -> None:
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
