"""`midflight state`: an application's registers on a switch of a running controller."""

from __future__ import annotations

from pathlib import Path

import click

from midflight.cli.controlled import call, json_option, show, state_option

__all__ = ["state"]

EPILOG = """\b
Examples:
  midflight state pressure
  midflight state pressure --switch s2 --json
"""


@click.command(epilog=EPILOG)
@click.argument("name")
@click.option("--switch", default="", help="The switch, if several run the application.")
@state_option
@json_option
def state(name: str, switch: str, state: Path | None, as_json: bool) -> None:
    """Print the registers of application NAME on a switch.

    --switch is needed if several switches run the application. Fails if no controller is running, or if no switch runs
    it.
    """
    import numpy as np

    found = call(state, "state", application=name, switch=switch)
    lines = [f"{name} on {found['switch']}"]
    for register, values in found["registers"].items():
        text = np.array2string(np.asarray(values), threshold=64, max_line_width=100, prefix="  ")
        lines.append(f"{register}:\n  {text}")
    show(found, as_json, "\n".join(lines))
