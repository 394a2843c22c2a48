"""The prompt of `midflight net`: commands on the hosts and switches of a running network."""

from __future__ import annotations

import cmd
import shlex
from typing import TYPE_CHECKING

import click

from midflight.cli.following import Follower
from midflight.errors import MidflightError
from midflight.runtime.p4runtime.entryfiles.commands import USAGE, Commands
from midflight.runtime.p4runtime.entryfiles.steps import SessionTarget, apply
from midflight.testbed.net import Net

if TYPE_CHECKING:
    from collections.abc import Mapping

    from finsy.proto import p4i

    from midflight.runtime.devices.tracing import Tracer
    from midflight.runtime.p4runtime.client.session import Session
    from midflight.testbed.p4net import P4Net

__all__ = ["Console"]

_LONG = 24 * 3600.0  # seconds that a command at the prompt may take; users interrupt it earlier


class Console(cmd.Cmd):
    """Reads and runs the commands of `midflight net`'s prompt on a network. `failed`: whether the last command
    failed.
    """

    prompt = "midflight> "
    doc_header = "Commands"
    undoc_header = ""
    ruler = ""

    def __init__(self, net: Net | P4Net) -> None:
        super().__init__()
        self.net = net
        self.failed = False
        self._following: dict[str, tuple[Tracer, Follower]] = {}
        self._commands: dict[str, Commands] = {}  # by switch, with the handles of entries

    def close(self) -> None:
        """Stop all traces that `trace on` has started. The network stays open."""
        for name in list(self._following):
            self._trace(name, on=False)

    def onecmd(self, line: str) -> bool:
        """Run one line, and return whether the prompt ends after it.

        MidflightError and ValueError are printed, and set `failed`. Ctrl-C ends only the line.
        """
        self.failed = False
        try:
            return bool(super().onecmd(line))
        except KeyboardInterrupt:
            click.echo("")
        except (MidflightError, ValueError) as error:
            self.failed = True
            click.echo(str(error), err=True)
        return False

    def emptyline(self) -> bool:
        """Do nothing, where `cmd.Cmd` would repeat the last line. The prompt continues."""
        return False

    def default(self, line: str) -> None:
        """Run a line that begins with the name of a host or a switch. MidflightError if there is no such node or
        command.
        """
        if line == "EOF":
            click.echo("")
            return
        name, *words = shlex.split(line)
        if name in self.net.topology.hosts:
            self._host(name, words)
        elif name in self.net.topology.switches:
            self._switch(name, words)
        else:
            raise MidflightError(f"there is no command, host or switch {name}", hint="`help` lists the commands")

    def postcmd(self, stop: bool, line: str) -> bool:
        """Return whether the prompt ends: if `stop` (after `exit`), and at the end of the input."""
        return stop or line == "EOF"

    def completenames(self, text: str, *ignored: object) -> list[str]:
        """Return the commands, hosts and switches whose names begin with `text`."""
        nodes = (*self.net.topology.hosts, *self.net.topology.switches)
        return [*super().completenames(text, *ignored), *(each for each in nodes if each.startswith(text))]

    def do_help(self, arg: str) -> None:
        """Print the commands of the prompt, or the help of the command named `arg`."""
        if arg:
            super().do_help(arg)
            return
        for form, what in (
            ("h1 COMMAND ...", "run a command on host h1; host names are replaced by addresses: h1 ping -c 3 h2"),
            ("s1 table [NAME]", "list the tables of switch s1, or the entries of one table"),
            ("s1 counter [NAME]", "list its counters, or the cells of one counter that are not zero"),
            ("s1 state [APP]", "list its registers, or the elements of one application that have changed"),
            ("s1 queues", "list its queues; to set one: s1 queues port=2 queue=0 rate=100pps depth=32"),
            ("s1 table_add ...", "run a command of simple_switch_CLI: table_add, table_delete, register_read, ..."),
            ("s1 trace on", "print what happens to every packet in s1, until `s1 trace off`"),
            ("s1 log", "print the log of its process"),
            ("nodes", "list hosts with their addresses, and switches with their kinds"),
            ("links", "list links with their ports and packets"),
            ("link h1 s1 down", "cut a link; `link h1 s1 up` joins it again"),
            ("iperf h1 h2", "measure the throughput of TCP between two hosts, for 3 seconds"),
            ("picture FILE", "save a picture of the topology as SVG"),
            ("exit", "close the network"),
        ):
            click.echo(f"  {form:<20} {what}")

    def do_nodes(self, _arg: str) -> None:
        """Print the hosts with their addresses, and the switches with their kinds and P4Runtime addresses."""
        for host in self.net.hosts:
            click.echo(f"{host.name:<8} {host.address}  {host.mac.to_bytes(6, 'big').hex(':')}")
        for name, device in self.net.devices.items():
            click.echo(f"{name:<8} {device.capabilities.kind}, P4Runtime on {device.address}")

    def do_links(self, _arg: str) -> None:
        """Print the links, and how many packets they have carried in each direction."""
        for link in self.net.topology.links:
            one, other = link.ends
            there = self.net.fabric.statistics(one.node, other.node)
            back = self.net.fabric.statistics(other.node, one.node)
            lost = f", {there.lost + back.lost} lost" if link.quality.impaired else ""
            click.echo(f"{one!s:<10} {other!s:<10} {there.packets} packets there, {back.packets} back{lost}")

    def do_link(self, arg: str) -> None:
        """Cut or join the link between two nodes: `h1 s1 down`. MidflightError for another form or an unknown link."""
        words = arg.split()
        if len(words) != 3 or words[2] not in ("up", "down"):
            raise MidflightError("link needs two nodes, and up or down", hint="for example: link h1 s1 down")
        self.net.fabric.connect(words[0], words[1], up=words[2] == "up")

    def do_iperf(self, arg: str) -> None:
        """Print the throughput of TCP from a host to another. MidflightError unless `arg` names two hosts, and for
        simulated hosts.
        """
        from midflight.testbed.host.throughput import measure

        words = arg.split()
        if len(words) != 2:
            raise MidflightError("iperf needs two hosts", hint="for example: iperf h1 h2")
        one, other = (self.net.host(each) for each in words)
        click.echo(f"{words[0]} -> {words[1]}: {measure(one, other) / 1e6:,.1f} Mbit/s")

    def do_picture(self, arg: str) -> None:
        """Write a picture of the topology as SVG to the file named `arg`, replacing one that is there.

        MidflightError if `arg` is empty or the file cannot be written.
        """
        from pathlib import Path

        from midflight.cli.output import write_files

        if not arg:
            raise MidflightError("picture needs a file name", hint="for example: picture net.svg")
        write_files({Path(arg): self.net.topology.svg()})

    def do_exit(self, _arg: str) -> bool:
        """End the prompt, after which the network is closed. Always returns True."""
        return True

    def _host(self, name: str, words: list[str]) -> None:
        if not words:
            raise MidflightError(f"{name} needs a command", hint=f"for example: {name} ip address")
        hosts = self.net.topology.hosts
        arguments = [str(self.net.topology.address(each)) if each in hosts else each for each in words]
        click.echo(self.net.host(name).run(arguments, timeout=_LONG, check=False), nl=False)

    def _switch(self, name: str, words: list[str]) -> None:
        session = self.net.sessions[name]
        match words:
            case ["table"]:
                for table in session.p4info.tables:
                    entries = session.read_table(table.preamble.name)
                    click.echo(f"{table.preamble.name}: {len(entries)} entries of at most {table.size}")
            case ["table", table_name]:
                widths = _widths(session.p4info)
                for entry in session.read_table(table_name):
                    match = _pairs(entry.match, widths[entry.table])
                    click.echo(f"{match} => {entry.action}({_pairs(entry.params, widths[entry.action])})")
            case ["counter"]:
                for counter in session.p4info.counters:
                    click.echo(f"{counter.preamble.name}: {counter.size} cells")
            case ["counter", counter_name]:
                counts = session.read_counter(counter_name)
                for index, (packets, size) in enumerate(zip(counts.packets, counts.bytes, strict=True)):
                    if packets or size:
                        click.echo(f"[{index}] {packets} packets, {size} bytes")
            case ["state", *rest] if not isinstance(self.net, Net):
                self._registers(session, rest)
            case ["state"]:
                assert isinstance(self.net, Net)
                for application in self.net.program.applications:
                    for register in self.net.state(application, name).registers.values():
                        lanes = "" if register.lanes is None else f" of {register.lanes} lanes"
                        click.echo(f"{application}.{register.name}: {register.size} elements{lanes}")
            case ["state", application]:
                assert isinstance(self.net, Net)
                state = self.net.state(application, name)
                for register_name, values in state.read().items():
                    initial = state.registers[register_name].initial
                    for index, value in enumerate(values):
                        row = value if isinstance(value, int) else value.tolist()
                        if any(each != initial for each in (row if isinstance(row, list) else [row])):
                            click.echo(f"{register_name}[{index}] {row}")
            case ["trace", "on" | "off" as wanted]:
                self._trace(name, on=wanted == "on")
            case ["queues", *settings]:
                self._queues(name, settings)
            case ["log"]:
                log = getattr(self.net.devices[name], "log", None)
                if log is None:
                    raise MidflightError(f"{name} has no log, because it has no process of its own")
                click.echo(log(), nl=False)
            case [command, *_] if command in USAGE:
                self._run(name, words)
            case _:
                command = " ".join(words)
                raise MidflightError(
                    f"{name} has no command {command!r}" if command else f"{name} needs a command",
                    hint="`help` lists the commands",
                )

    def _registers(self, session: Session, names: list[str]) -> None:
        """Print the registers of a P4 program, or the elements of one that are not 0."""
        if not names:
            for each in session.p4info.registers:
                click.echo(f"{each.preamble.name}: {each.size} elements")
        for each in names:
            for index, value in enumerate(session.read_register(each)):
                if value:
                    click.echo(f"{each}[{index}] {value}")

    def _run(self, name: str, words: list[str]) -> None:
        """Run a command of simple_switch_CLI on a switch, and print what it reads."""
        from midflight.testbed.stf.play import shown

        target = SessionTarget(self.net.sessions[name])
        commands = self._commands.setdefault(name, Commands(target.schema))
        for what, entity in apply(commands.steps(words), target):
            click.echo(f"{what}: {shown(entity)}")

    def _queues(self, name: str, settings: list[str]) -> None:
        from midflight.cli.queues import report_lines
        from midflight.runtime.p4runtime.queuemessages import QueueRequest

        queues = getattr(self.net.devices[name], "queues", None)
        if queues is None:
            raise MidflightError(f"the queues of {name} cannot be read or set", hint="use the embedded switch")
        given: dict[str, int | str] = {}
        for each in settings:
            key, equals, value = each.partition("=")
            if not equals or key not in ("port", "queue", "depth", "rate", "weight", "port_rate"):
                raise MidflightError(f"a queue has no setting {each!r}", hint="for example: s1 queues port=2 depth=32")
            given[key] = value if key in ("rate", "port_rate") else int(value)
        for line in report_lines(queues.answer(QueueRequest(**given))):  # type: ignore[arg-type]
            click.echo(line)

    def _trace(self, name: str, *, on: bool) -> None:
        from midflight.runtime.devices.tracing import open_tracer

        if on and name not in self._following:
            tracer = open_tracer(self.net.devices[name], self.net.sessions[name])
            self._following[name] = tracer, Follower(tracer.take, name)
        elif not on and name in self._following:
            tracer, follower = self._following.pop(name)
            follower.close(tracer.close)


def _widths(info: p4i.P4Info) -> dict[str, dict[str, int]]:
    """Return the widths in bits of tables' keys and actions' parameters, by the names of both."""
    from midflight.runtime.p4runtime.schema import match_fields

    tables = {
        table.preamble.name: {name: each.bitwidth for name, each in match_fields(table).items()}
        for table in info.tables
    }
    return tables | {
        action.preamble.name: {each.name: each.bitwidth for each in action.params} for action in info.actions
    }


def _pairs(values: Mapping[str, object], widths: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={_shown(value, widths.get(name, 0))}" for name, value in values.items())


def _shown(value: object, bits: int) -> str:
    """Return a value as text: as an IPv4 address if it has 32 bits, and as a MAC address if it has 48."""
    if isinstance(value, tuple) and len(value) == 2 and bits == 32:
        return f"{_shown(value[0], bits)}/{value[1]}"
    if isinstance(value, int) and bits == 48:
        return value.to_bytes(6, "big").hex(":")
    if isinstance(value, int) and bits == 32:
        return ".".join(map(str, value.to_bytes(4, "big")))
    return str(value)
