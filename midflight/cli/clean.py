"""`midflight clean`: what networks have left on this machine is removed."""

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
@click.option("--all", "everything", is_flag=True, help="Networks that are still in use too.")
@click.option("--list", "only_list", is_flag=True, help="Say what there is and remove nothing.")
def clean(everything: bool, only_list: bool) -> None:
    """Remove what networks of namespaces have left: namespaces, links, processes, files.

    A network removes itself when it ends, also when its program is killed. This is for the rest, such as a power cut.
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
        click.echo("nothing is left")
