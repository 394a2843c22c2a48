"""`midflight clean`: remove what networks have left behind on this machine."""

from __future__ import annotations

import click

__all__ = ["clean"]

EPILOG = """\b
Examples:
  midflight clean --list
  sudo midflight clean
  sudo midflight clean --all
"""


@click.command(epilog=EPILOG)
@click.option("--all", "everything", is_flag=True, help="Also remove networks that are still in use.")
@click.option("--list", "only_list", is_flag=True, help="List networks, and remove nothing.")
def clean(everything: bool, only_list: bool) -> None:
    """Remove what networks of namespaces have left behind: namespaces, links, processes and files.

    A network cleans up when it ends, even if its program is killed. This command is for other cases, such as a power
    failure.
    """
    from midflight.testbed.fabric.runs import clean as remove
    from midflight.testbed.fabric.runs import find

    runs = find()
    for run in runs:
        state = "left behind" if run.owner is None else f"in use by process {run.owner}"
        what = f"{run.id}: {len(run.namespaces)} namespaces, {state}"
        if only_list or (run.owner is not None and not everything):
            click.echo(what)
        else:
            remove(run)
            click.echo(f"{what}: removed")
    if not runs:
        click.echo("there is nothing to remove")
