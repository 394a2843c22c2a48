"""`midflight change`: change the program of a running controller's switches."""

from __future__ import annotations

from pathlib import Path

import click

from midflight.cli.controlled import call, json_option, show, state_option

__all__ = ["change"]

EPILOG = """\b
Examples:
  midflight change app2.py
"""


@click.command(epilog=EPILOG)
@click.argument("app", metavar="APP.py", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--program", "name", metavar="NAME", help="The program, if the file has several.")
@state_option
@json_option
def change(app: Path, name: str | None, state: Path | None, as_json: bool) -> None:
    """Change the program of all switches in one transaction.

    The new program is the one in APP.py. If a switch rejects the program, all switches are rolled back, and the command
    fails. Applications that stay the same keep their state, admissions and jobs.
    """
    found = call(state, "change", file=str(app.absolute()), name=name)
    show(found, as_json, f"the switches run {', '.join(found['applications'])}")
