"""The prompt of a running network: commands to its hosts and switches, by name."""

from __future__ import annotations

import cmd
import shlex
from typing import TYPE_CHECKING

import click

from midflight.cli.following import Follower
from midflight.errors import MidflightError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from finsy.proto import p4i

    from midflight.runtime.devices.tracing import Tracer
    from midflight.testbed import Net

__all__ = ["Console"]

_LONG = 24 * 3600.0  # seconds that a command at the prompt may take: until the user has had enough


class Console(cmd.Cmd):
    """Reads commands to a network. `failed` tells whether the last one did."""

    prompt = "midflight> "
    doc_header = "Commands"
    undoc_header = ""
    ruler = ""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net
        self.failed = False
        self._following: dict[str, tuple[Tracer, Follower]] = {}

    def close(self) -> None:
        """Have nothing more traced."""
        for name in list(self._following):
            self._trace(name, on=False)

    def onecmd(self, line: str) -> bool:
        """Run one line; return whether it was the last."""
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
        """Do nothing."""
        return False

    def default(self, line: str) -> None:
        """Run what is told to a host or a switch."""
        if line == "EOF":
            click.echo("")
            return
        name, *words = shlex.split(line)
        if name in self.net.topology.hosts:
            self._host(name, words)
        elif name in self.net.topology.switches:
            self._switch(name, words)
        else:
            raise MidflightError(f"there is no command, host or switch {name}", hint="`help` tells what there is")

    def postcmd(self, stop: bool, line: str) -> bool:
        """End at the end of what is read."""
        return stop or line == "EOF"

    def completenames(self, text: str, *ignored: object) -> list[str]:
        """Complete the names of nodes as well as those of commands."""
        nodes = (*self.net.topology.hosts, *self.net.topology.switches)
        return [*super().completenames(text, *ignored), *(each for each in nodes if each.startswith(text))]

    def do_help(self, arg: str) -> None:
        """Tell the commands."""
        if arg:
            super().do_help(arg)
            return
        for form, what in (
            ("h1 COMMAND ...", "run a command on host h1; names of hosts stand for their addresses: h1 ping -c 3 h2"),
            ("s1 table [NAME]", "the tables of switch s1, or the entries of one"),
            ("s1 counter [NAME]", "its counters, or the cells of one that have counted"),
            (
                "s1 state [APP]",
                "its applications' registers, or what those of one hold where it is not what they began with",
            ),
            ("s1 trace on", "tell what happens to every packet in s1, until `s1 trace off`"),
            ("s1 log", "what its process has printed"),
            ("nodes", "hosts with their addresses, and switches with their kinds"),
            ("links", "links with their ports, and what has passed"),
            ("picture FILE", "save a picture of the topology as SVG"),
            ("exit", "take the network down"),
        ):
            click.echo(f"  {form:<20} {what}")

    def do_nodes(self, _arg: str) -> None:
        """Tell the hosts and switches."""
        for host in self.net.hosts:
            click.echo(f"{host.name:<8} {host.address}  {host.mac.to_bytes(6, 'big').hex(':')}")
        for name, device in self.net.devices.items():
            click.echo(f"{name:<8} {device.capabilities.kind}, P4Runtime on {device.address}")

    def do_links(self, _arg: str) -> None:
        """Tell the links and what has passed over them."""
        for link in self.net.topology.links:
            one, other = link.ends
            there = self.net.fabric.statistics(one.node, other.node)
            back = self.net.fabric.statistics(other.node, one.node)
            lost = f", {there.lost + back.lost} lost" if link.quality.impaired else ""
            click.echo(f"{one!s:<10} {other!s:<10} {there.packets} packets there, {back.packets} back{lost}")

    def do_picture(self, arg: str) -> None:
        """Save a picture of the topology as SVG: picture FILE."""
        from pathlib import Path

        from midflight.cli.output import write_files

        if not arg:
            raise MidflightError("a picture needs a file", hint="picture net.svg")
        write_files({Path(arg): self.net.topology.svg()})

    def do_exit(self, _arg: str) -> bool:
        """Take the network down."""
        return True

    def _host(self, name: str, words: list[str]) -> None:
        if not words:
            raise MidflightError(f"{name} needs a command", hint=f"{name} ip address")
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
            case ["state"]:
                for application in self.net.program.applications:
                    for register in self.net.state(application, name).registers.values():
                        lanes = "" if register.lanes is None else f" of {register.lanes} lanes"
                        click.echo(f"{application}.{register.name}: {register.size} elements{lanes}")
            case ["state", application]:
                state = self.net.state(application, name)
                for register_name, values in state.read().items():
                    initial = state.registers[register_name].initial
                    for index, value in enumerate(values):
                        row = value if isinstance(value, int) else value.tolist()
                        if any(each != initial for each in (row if isinstance(row, list) else [row])):
                            click.echo(f"{register_name}[{index}] {row}")
            case ["trace", "on" | "off" as wanted]:
                self._trace(name, on=wanted == "on")
            case ["log"]:
                log = getattr(self.net.devices[name], "log", None)
                if log is None:
                    raise MidflightError(f"{name} has no process of its own, and so no log")
                click.echo(log(), nl=False)
            case _:
                raise MidflightError(
                    f"{name} cannot {' '.join(words) or 'do nothing'}", hint="`help` tells what it can"
                )

    def _trace(self, name: str, *, on: bool) -> None:
        from midflight.runtime.devices.tracing import open_tracer

        if on and name not in self._following:
            tracer = open_tracer(self.net.devices[name], self.net.sessions[name])
            self._following[name] = tracer, Follower(tracer.take, name)
        elif not on and name in self._following:
            tracer, follower = self._following.pop(name)
            follower.close(tracer.close)


def _widths(info: p4i.P4Info) -> dict[str, dict[str, int]]:
    """Return the bits of every table's keys and of every action's parameters, by their names."""
    tables = {table.preamble.name: {each.name: each.bitwidth for each in table.match_fields} for table in info.tables}
    return tables | {
        action.preamble.name: {each.name: each.bitwidth for each in action.params} for action in info.actions
    }


def _pairs(values: Mapping[str, object], widths: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={_shown(value, widths.get(name, 0))}" for name, value in values.items())


def _shown(value: object, bits: int) -> str:
    """Return a value as people write those of its width: MACs and IPv4 addresses by their bytes."""
    if isinstance(value, tuple) and len(value) == 2 and bits == 32:
        return f"{_shown(value[0], bits)}/{value[1]}"
    if isinstance(value, int) and bits == 48:
        return value.to_bytes(6, "big").hex(":")
    if isinstance(value, int) and bits == 32:
        return ".".join(map(str, value.to_bytes(4, "big")))
    return str(value)
