"""`midflight clean`: remove what networks have left behind on this machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import click

__all__ = ["clean"]

EPILOG = """\b
Examples:
  midflight clean --list
  sudo midflight clean
  sudo midflight clean --all
  midflight clean --cache
"""


@click.command(epilog=EPILOG)
@click.option("--all", "everything", is_flag=True, help="Also remove networks that are still in use.")
@click.option("--cache", is_flag=True, help="Also empty your cache of compiled programs.")
@click.option("--list", "only_list", is_flag=True, help="List what there is, and remove nothing.")
def clean(everything: bool, cache: bool, only_list: bool) -> None:
    """Remove what networks and switches have left behind.

    This includes namespaces, links, processes, sockets and files. A network cleans up when it ends. If its program is
    killed, its namespaces and processes are removed, too, but not all temporary files. This command removes these, and
    everything else that remains after a power failure. A folder of temporary files is left behind if the process in its
    name no longer exists, or if the network in its name has no record. Files of other users, except root's, are
    ignored: they are neither listed nor removed. If something cannot be removed for lack of permission, the command
    removes everything else, and then fails. With --cache, the compiled programs that are stored for later runs are
    removed, too, if only you have permissions for their folder.
    """
    from midflight.errors import DeviceError
    from midflight.runtime.engine.store import others_access, user_folder, user_store
    from midflight.testbed.fabric.leftovers import find_leftovers, remove_leftover
    from midflight.testbed.fabric.runs import clean as remove
    from midflight.testbed.fabric.runs import find

    refused: list[DeviceError] = []

    def removed(remove: Callable[[], None]) -> str:
        try:
            remove()
        except DeviceError as error:
            refused.append(error)
            return ": not removed"
        return ": removed"

    runs = find()
    leftovers = find_leftovers([each.id for each in runs])
    for run in runs:
        state = "left behind" if run.owner is None else f"in use by process {run.owner}"
        what = f"{run.id}: {len(run.namespaces)} namespaces, {state}"
        if only_list or (run.owner is not None and not everything):
            click.echo(what)
        else:
            click.echo(what + removed(partial(remove, run)))
    for each in leftovers:
        what = f"{each.path}: left behind by {each.owner}"
        if not only_list:
            what += removed(partial(remove_leftover, each))
        click.echo(what)
    store = user_store() if cache else None
    if store is not None:
        what = f"the cache of compiled programs: {store.size / 2**20:.1f} MiB"
        if not only_list:
            store.clear()
            what += ": emptied"
        click.echo(what)
    folder = user_folder() if cache and store is None else None
    if folder is not None:
        click.echo(f"the cache {folder} is not used: {others_access(folder)}")
    if not runs and not leftovers and store is None and folder is None:
        click.echo("there is nothing to remove")
    if refused:
        raise refused[0]
