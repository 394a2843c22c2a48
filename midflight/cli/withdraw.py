"""`midflight withdraw`: stop computing an application, through a running controller."""

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
@click.option("--switch", default="", help="Withdraw it only from this switch.")
@state_option
@json_option
def withdraw(name: str, switch: str, state: Path | None, as_json: bool) -> None:
    """Stop computing application NAME on all switches, or on one with --switch.

    From now on, switches only forward the application's packets. Its registers keep their contents. If it is an
    Aggregate, its job ends on all switches. Fails if no controller is running, or if the application is not admitted
    there.
    """
    show(
        call(state, "withdraw", application=name, switch=switch),
        as_json,
        f"{name} is only forwarded{f' on {switch}' if switch else ''}",
    )
