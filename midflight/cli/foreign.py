"""Reading networks from the files of other tools, for `midflight net --from`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from midflight.testbed.imports.imported import Imported

__all__ = ["read_foreign"]


def read_foreign(path: Path) -> Imported:
    """Return the network in a file of another tool: p4-utils' p4app.json, the topology.json of p4lang's tutorials, or
    a Mininet script, which is run without Mininet.

    MidflightError if the file cannot be read, has another form, or names a file that is not there, and if a script
    raises an exception.
    """
    from midflight.cli.userfile import load_module
    from midflight.errors import MidflightError
    from midflight.testbed.imports.imported import read_json
    from midflight.testbed.imports.mininetscript import mininet_stubs, read_names
    from midflight.testbed.imports.p4utils import read_p4app
    from midflight.testbed.imports.tutorials import read_topology

    if path.suffix == ".py":
        with mininet_stubs():
            return read_names(vars(load_module(path, path.parent)), str(path))
    document = read_json(path)
    if "topology" in document:
        return read_p4app(path)
    if "links" in document:
        return read_topology(path)
    raise MidflightError(
        f"{path} is not a network of p4-utils or of p4lang's tutorials", hint="they have `topology` or `links`"
    )
