"""`midflight map`: print or change the entries of an application's map, through a running controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TextIO

import click

from midflight.cli.controlled import call, json_option, show, state_option

__all__ = ["map"]

EPILOG = """\b
Examples:
  midflight map store                                   print the entries of all maps of an application
  midflight map store cached --set 7=0 --set 8=1
  midflight map store cached --delete 7
  midflight map zones zone --set 10.0.0.0/8,80=3        a prefix, and a second part of the key
  midflight map filter rule --set '0x10&&&0xf0=1@5'     a mask, and the priority 5
  midflight map filter port --set 1000..1999=2          a range
  midflight map store cached --switch s1 > cached.txt
  midflight map store cached --switch s2 --clear --load cached.txt
"""


@click.command(epilog=EPILOG)
@click.argument("name")
@click.argument("which", metavar="[MAP]", default="")
@click.option("--set", "put", metavar="KEY=VALUE[@PRIORITY]", multiple=True, help="Add or replace this entry.")
@click.option("--delete", metavar="KEY", multiple=True, help="Delete the entry with this key.")
@click.option("--clear", is_flag=True, help="Delete all entries, except those that are set.")
@click.option("--load", metavar="FILE", type=click.File(), help="Set the entries in this file, one a line; - is stdin.")
@click.option("--switch", default="", help="The switch, if several run the application.")
@state_option
@json_option
def map(
    name: str,
    which: str,
    put: tuple[str, ...],
    delete: tuple[str, ...],
    clear: bool,
    load: TextIO | None,
    switch: str,
    state: Path | None,
    as_json: bool,
) -> None:
    """Print the entries of a map of application NAME, or change them.

    A map is a table that a kernel reads and the controller writes. Without MAP, all maps are printed. To change
    entries, MAP may be left out only if the application has one map. All changes of one command take effect, or the
    command fails and none does. They survive a restart of the switch and of the controller; a switch that is off gets
    them when it returns.

    Values and the parts of a key, which commas separate, are integers (such as 10 or 0x0a) or IP or MAC addresses. Of
    several entries that match a packet, the longest prefix wins, or the largest priority, which is 1 by default.
    """
    lines = _lines(load) if load is not None else {}
    entries, places = [*put, *lines.values()], [*[""] * len(put), *lines]
    arguments = {"map": which, "switch": switch, "delete": [*delete], "clear": clear}
    found = call(state, "map", application=name, **arguments, put=entries, places=places)
    changed = bool(entries or delete or clear)
    text = _changed(found) if changed else "\n".join(_listed(each) for each in found["maps"])
    show(found, as_json, text)


def _lines(file: TextIO) -> dict[str, str]:
    """Return the entries in a file, without comments, by their place such as "cached.txt:3"."""
    lines = ((number, each.partition("#")[0].strip()) for number, each in enumerate(file, 1))
    return {f"{file.name}:{number}": line for number, line in lines if line}


def _changed(found: dict[str, Any]) -> str:
    (it,) = found["maps"]
    return f"{found['application']}.{it['name']} on {found['switch']} has {len(it['entries'])} of {it['size']} entries"


def _listed(it: dict[str, Any]) -> str:
    head = f"# {it['name']}: {', '.join(it['key'])} to {it['value']}, {len(it['entries'])} of {it['size']} entries"
    return "\n".join([head, *it["entries"]])
