"""Shared parts of the commands that connect to a running controller, such as `midflight status`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from midflight.runtime.controller.service.client import CommandClient

__all__ = ["call", "client", "folder_of", "json_option", "lost", "names", "show", "state_option"]

Command = TypeVar("Command", bound=Callable[..., object])


def state_option(command: Command) -> Command:
    """Add the option `--state DIR` to a command: the state folder of the controller to connect to."""
    return click.option(
        "--state",
        metavar="DIR",
        envvar="MIDFLIGHT_STATE",
        type=click.Path(path_type=Path, file_okay=False),
        help="The controller's state folder.  [default: ~/.local/state/midflight; MIDFLIGHT_STATE]",
    )(command)


def json_option(command: Command) -> Command:
    """Add the flag `--json` to a command, as its parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def folder_of(state: Path | None) -> Path:
    """Return the state folder of a controller: the given one, or for None the default in the user's XDG state
    folder.
    """
    if state is not None:
        return state
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "midflight"


def client(state: Path | None) -> CommandClient:
    """Return a client that is connected to the controller of a state folder; None means the default folder.

    Close it after use. MidflightError if no controller is running there.
    """
    from midflight.runtime.controller.service.client import CommandClient

    return CommandClient(folder_of(state))


def call(state: Path | None, name: str, /, **arguments: Any) -> dict[str, Any]:
    """Send a command with its arguments to the controller of a state folder, and return its result.

    MidflightError if no controller is running there or the command fails.
    """
    with client(state) as made:
        return made.call(name, **arguments)


def lost() -> None:
    """Report on standard error that the controller died, and that the command continues at the next one."""
    click.echo("the controller has died; waiting for the next one (Ctrl-C ends)", err=True)


def show(result: Mapping[str, Any], as_json: bool, text: str) -> None:
    """Print a command's result as JSON if `as_json`, or otherwise print `text`, unless it is empty."""
    if as_json:
        from midflight.cli.output import write_json

        write_json(result, "-")
    elif text:
        click.echo(text)


def names(text: str) -> list[str]:
    """Return the names in a comma-separated list such as "h1,h2"."""
    return [each.strip() for each in text.split(",") if each.strip()]
