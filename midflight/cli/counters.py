"""`midflight counters`: the traffic counters of a running controller's applications."""

from __future__ import annotations

from pathlib import Path

import click

from midflight.cli.controlled import call, json_option, show, state_option

__all__ = ["counters"]

EPILOG = """\b
Examples:
  midflight counters
  midflight counters pressure --json
"""


@click.command(epilog=EPILOG)
@click.argument("name", required=False, default="")
@state_option
@json_option
def counters(name: str, state: Path | None, as_json: bool) -> None:
    """Print how many requests have arrived for all applications, or for the one with this name.

    Counts packets and bytes by application, switch and port, the packets that switches have dropped, and the
    requests that they have forwarded without computing on them.
    """
    from rich.console import Console

    from midflight.cli.terminal import table

    found = call(state, "counters", application=name)
    show(found, as_json, "")
    if as_json:
        return
    console = Console(highlight=False)
    rows = table(console, "requests", ("application", "switch", "port", "packets", "bytes"))
    for each in found["counters"]:
        rows.add_row(*(str(each[part]) for part in ("application", "switch", "port", "packets", "bytes")))
    console.print(rows)
    for switch, drops in found["drops"].items():
        by = [f"{count} {reason}" for reason, count in drops.items()]
        by += [f"{count} by {application}" for application, count in found["dropped"][switch].items()]
        console.print(f"{switch} dropped {', '.join(by)}")
    for switch, refused in found["refused"].items():
        reasons = [f"{count} {reason}" for reason, count in refused.items()]
        console.print(f"{switch} forwarded without computing {', '.join(reasons)}")
