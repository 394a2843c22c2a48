"""`midflight run`: a program on the packets of a capture, from entries to results, in one command."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from midflight.cli.options import cpu_port_option, entries_option, json_file_option, writable_folder

if TYPE_CHECKING:
    from rich.console import Console

    from midflight.cli.oneshot import Report
    from midflight.runtime.p4runtime.ports.oneshot import Played

__all__ = ["run"]

SHOWN = 50
"""The number of packets in the table."""

EPILOG = """\b
Examples:
  midflight run prog.p4 --pcap in.pcap                                    all packets arrive by port 1
  midflight run prog.p4 --entries s1-runtime.json --pcap in.pcap -o out
  midflight run prog.p4 --entries commands.txt --pcap "1:in.pcap 2:in2.pcap"
  midflight run prog.p4 --pcap in.pcap --trace                            what happens to each packet
  midflight run prog.p4 --pcap in.pcap --json - | jq .registers
"""


@click.command(epilog=EPILOG)
@click.argument("file", metavar="PROG.p4", type=click.Path(path_type=Path))
@entries_option
@click.option(
    "--pcap",
    "captures",
    metavar="[PORT:]FILE",
    multiple=True,
    required=True,
    help="Packets that arrive, by port 1 or by PORT. Several, separated by spaces, are merged by time.",
)
@click.option(
    "-o",
    "--output",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    callback=writable_folder,
    help="Write the packets that leave as DIR/portN.pcap.",
)
@click.option("--trace", is_flag=True, help="Print what happens to each packet, with lines of the program.")
@json_file_option("results")
@cpu_port_option
@click.option(
    "--seed", metavar="N", type=click.IntRange(0), default=0, show_default=True, help="Seed of random numbers."
)
def run(
    file: Path,
    entries: tuple[Path, ...],
    captures: tuple[str, ...],
    folder: Path | None,
    trace: bool,
    json_to: str | None,
    cpu_port: int,
    seed: int,
) -> None:
    """Run a P4 program on captured packets, once, on the embedded switch.

    Prints the packets that leave, packet-ins and digests, and the counters and registers that are not zero. Needs no
    root and no other software. The packets are processed one at a time, in order of time, and the program's clock
    begins with the first one.
    """
    from midflight.cli.oneshot import Report, trace_lines
    from midflight.cli.output import write_json
    from midflight.cli.terminal import console_beside
    from midflight.runtime.p4runtime.entryfiles.reading import read_entries
    from midflight.runtime.p4runtime.entryfiles.steps import SwitchTarget, apply
    from midflight.runtime.p4runtime.ports.oneshot import play_captures
    from midflight.runtime.p4runtime.server.switch import Switch
    from midflight.userfiles import read_text

    sources = _captures(captures)
    console = console_beside(json_to)
    switch = Switch(cpu_port=cpu_port, seed=seed)
    switch.load(read_text(file), str(file))
    target = SwitchTarget(switch)
    for path in entries:
        apply(read_entries(path, target.schema), target)
    assert switch.pipeline is not None
    with ExitStack() as stack:
        report = stack.enter_context(Report(switch, folder, keep=bool(json_to)))
        for each in play_captures(switch, sources, trace=trace):
            report.add(each)
            if trace:
                for line in trace_lines(each, switch.pipeline.checked.program):
                    console.print(line, soft_wrap=True, markup=False)
            elif each.number <= SHOWN:
                _print(each, console)
    if json_to:
        write_json(report.summary(), json_to)
    _print_rest(report, console, shown=0 if trace else SHOWN)


def _captures(texts: tuple[str, ...]) -> list[tuple[int, Path]]:
    """Return ports and paths. click.BadParameter for a port that is out of range."""
    found = []
    for text in texts:
        words = [text] if Path(text).exists() else text.split()
        for word in words:
            port, path = 1, word
            if match := re.match(r"(\d+):", word):
                port, path = int(match[1]), word[match.end() :]
            if port > 511:
                raise click.BadParameter(f"{word!r}: ports are 0 to 511", param_hint="--pcap")
            found.append((port, Path(path)))
    return found


def _print(packet: Played, console: Console) -> None:
    sent = ", ".join(f"port {each.port} ({len(each.data)} bytes)" for each in packet.sent)
    said = [f"packet-in ({len(each.payload)} bytes)" for each in packet.packet_ins]
    said += ["log message"] * bool(packet.log)
    said += [f"digest {each.name}" for each in packet.digests]
    what = ", ".join(filter(None, [sent, *said])) or "dropped"
    line = f"packet {packet.number}: port {packet.port} ({len(packet.data)} bytes) -> {what}"
    console.print(line, soft_wrap=True, markup=False)


def _print_rest(report: Report, console: Console, shown: int) -> None:
    if shown and report.packets > shown:
        console.print(f"... and {report.packets - shown} more packets; -o and --json have all of them")
    for line in report.lines():
        console.print(line, soft_wrap=True, markup=False)
