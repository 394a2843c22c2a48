"""`midflight withdraw`: a running controller has an application not computed any more."""

from __future__ import annotations

from pathlib import Path

import click

from midflight.cli.controlled import call, json_option, show, state_option

__all__ = ["withdraw"]

EPILOG = """\b
Examples:
  midflight withdraw pressure
  midflight withdraw pressure --switch s1
"""


@click.command(epilog=EPILOG)
@click.argument("name")
@click.option("--switch", default="", help="Only there.")
@state_option
@json_option
def withdraw(name: str, switch: str, state: Path | None, as_json: bool) -> None:
    """Have switches only forward the packets of application NAME. Its state on the switches stays."""
    show(call(state, "withdraw", application=name, switch=switch), as_json, f"{name} is only forwarded")
