"""`midflight undeploy`: withdraw all applications and stop a running controller."""

from __future__ import annotations

from pathlib import Path

import click

from midflight.cli.controlled import call, json_option, show, state_option

__all__ = ["undeploy"]

EPILOG = """\b
Examples:
  midflight undeploy
"""


@click.command(epilog=EPILOG)
@state_option
@json_option
def undeploy(state: Path | None, as_json: bool) -> None:
    """Withdraw all applications and stop the controller. Switches keep their program and routes, and only forward.

    Names the switches that could not be reached, which stay unchanged. Fails if no controller is running.
    """
    found = call(state, "undeploy")
    text = "all applications are withdrawn"
    if found["absent"]:
        text += f"; not reached and therefore unchanged: {', '.join(found['absent'])}"
    show(found, as_json, text)
