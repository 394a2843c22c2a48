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
  midflight replan --rate readings=400Mbit      plan for what the source sends now
"""


def _rates(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, float]:
    """Return bits a second by source from arguments such as readings=400Mbit."""
    from midflight.units import RATES, measured

    found: dict[str, float] = {}
    for each in given:
        name, _, text = each.partition("=")
        number = measured(text)
        if not name or number is None or number[1] not in RATES:
            raise click.BadParameter(f"{each!r} is not SOURCE=RATE, such as readings=400Mbit")
        found[name] = number[0] * RATES[number[1]]
    return found


@click.command(epilog=EPILOG)
@click.option("--without", metavar="SWITCH", multiple=True, help="Plan nothing on this switch. May be repeated.")
@click.option(
    "--rate",
    "rates",
    metavar="SOURCE=RATE",
    multiple=True,
    callback=_rates,
    help="What each device of a source sends from now on, such as readings=400Mbit. May be repeated.",
)
@state_option
@json_option
def replan(without: tuple[str, ...], rates: dict[str, float], state: Path | None, as_json: bool) -> None:
    """Plan again which switch runs which step of a deployment with `midflight deploy --plan`.

    Steps that move keep their registers and map entries. Their requests are forwarded to their hosts meanwhile. Fails,
    and changes nothing, if there is no plan or a switch rejects its program.
    """
    found = call(state, "replan", without=list(without), rates=rates)
    lines = [
        f"{each['step']} from {each['before']} to {each['after']}, {'with' if each['state'] else 'without'} its state"
        for each in found["moved"]
    ]
    show(found, as_json, "\n".join(lines) or "nothing moves")
