"""`midflight limit`: limit the rate of an application, through a running controller."""

from __future__ import annotations

from pathlib import Path

import click

from midflight.cli.controlled import call, json_option, show, state_option

__all__ = ["limit"]

EPILOG = """\b
Examples:
  midflight limit pressure 1000     compute on at most 1000 requests a second from each port
  midflight limit pressure 0        no limit
"""


@click.command(epilog=EPILOG)
@click.argument("name")
@click.argument("rate", type=click.IntRange(0, 2**31 - 1))
@state_option
@json_option
def limit(name: str, rate: int, state: Path | None, as_json: bool) -> None:
    """Compute on at most RATE requests a second of application NAME from each port of a switch; 0 means no limit.

    Requests beyond the limit are only forwarded. The limit holds on all switches, also for later admissions. Fails, and
    changes nothing, if there is no such application or a switch refuses.
    """
    text = f"{rate} requests a second from each port are computed" if rate else "all requests are computed"
    show(call(state, "limit", application=name, rate=rate), as_json, f"{name}: {text}")
