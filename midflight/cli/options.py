"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

__all__ = ["ENTRIES_HELP", "cpu_port_option", "defines", "entries_option", "p4_options"]

Command = TypeVar("Command", bound=Callable[..., object])

ENTRIES_HELP = "Table entries: JSON as in p4lang's tutorials, or commands of simple_switch_CLI. May be repeated."


def entries_option(command: Command) -> Command:
    """Add `--entries FILE`, a tuple of paths named `entries`."""
    return click.option(
        "--entries", "entries", metavar="FILE", multiple=True, type=click.Path(path_type=Path), help=ENTRIES_HELP
    )(command)


def cpu_port_option(command: Command) -> Command:
    """Add `--cpu-port N`, from 1 to 510, 510 by default."""
    return click.option(
        "--cpu-port",
        metavar="N",
        type=click.IntRange(1, 510),
        default=510,
        show_default=True,
        help="The port of packet-in and packet-out.",
    )(command)


def p4_options(command: Command) -> Command:
    """Add the file argument and the preprocessor's options: `file`, `include_dirs`, `definitions`."""
    command = click.option(
        "-D", "definitions", metavar="NAME[=VALUE]", multiple=True, help="Define a macro.  [default value: 1]"
    )(command)
    command = click.option(
        "-I",
        "include_dirs",
        metavar="DIR",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Search this folder for included files.",
    )(command)
    return click.argument("file", metavar="FILE.p4", type=click.Path(path_type=Path))(command)


def defines(definitions: tuple[str, ...]) -> dict[str, str]:
    """Return macros by name from texts `NAME=VALUE`. A name alone has the value 1.

    click.BadParameter if a name is no identifier.
    """
    found = {}
    for each in definitions:
        name, equals, value = each.partition("=")
        if not name.isidentifier():
            raise click.BadParameter(f"{each!r} is not NAME or NAME=VALUE", param_hint="-D")
        found[name] = value if equals else "1"
    return found
