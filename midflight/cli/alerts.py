"""`midflight alerts`: the alerts that a running controller has received."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from midflight.cli.controlled import client, json_option, lost, state_option

__all__ = ["alerts"]

EPILOG = """\b
Examples:
  midflight alerts                      print the latest alerts
  midflight alerts pressure --follow    print alerts as they arrive, until Ctrl-C
  midflight alerts --follow --json      print a line of JSON for each
"""


@click.command(epilog=EPILOG)
@click.argument("name", required=False, default="")
@click.option(
    "--follow",
    is_flag=True,
    help="Keep running, and print alerts as they arrive. Continues at the next controller if this one dies.",
)
@click.option(
    "-n", "count", metavar="N", type=click.IntRange(1), default=20, show_default=True, help="Print at most N alerts."
)
@state_option
@json_option
def alerts(name: str, follow: bool, count: int, state: Path | None, as_json: bool) -> None:
    """Print the latest alerts of all applications, or of the one with this name.

    Prints those that the controller has received since it started, at most 20 unless -n is given, and ends. With
    --follow, prints only those that arrive from now on. With --json, each alert is a JSON object on its own line.
    """
    with client(state) as made:
        if follow:
            for each in made.follow("alerts", lost, application=name):
                _print(each, as_json)
        else:
            for each in made.call("latest_alerts", application=name, count=count)["alerts"]:
                _print(each, as_json)


def _print(alert: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(alert))
    else:
        values = ", ".join(f"{name}={value}" for name, value in alert["values"].items())
        click.echo(f"{alert['time']} {alert['switch']} {alert['application']}: {values}")
