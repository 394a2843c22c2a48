"""`midflight replan`: plan a deployment again, through a running controller."""

from __future__ import annotations

from pathlib import Path

import click

from midflight.cli.controlled import call, json_option, show, state_option

__all__ = ["replan"]

EPILOG = """\b
Examples:
  midflight replan --without s1     move all steps away from s1, with their state; it only forwards
  midflight replan                  plan for all switches again
"""


@click.command(epilog=EPILOG)
@click.option("--without", metavar="SWITCH", multiple=True, help="Plan nothing on this switch. May be repeated.")
@state_option
@json_option
def replan(without: tuple[str, ...], state: Path | None, as_json: bool) -> None:
    """Plan again which switch runs which step of a deployment with `midflight deploy --plan`.

    Steps that move keep their registers and map entries. Their requests are forwarded to their hosts meanwhile. Fails,
    and changes nothing, if there is no plan or a switch rejects its program.
    """
    found = call(state, "replan", without=list(without))
    lines = [
        f"{each['step']} from {each['before']} to {each['after']}, {'with' if each['state'] else 'without'} its state"
        for each in found["moved"]
    ]
    show(found, as_json, "\n".join(lines) or "nothing moves")
