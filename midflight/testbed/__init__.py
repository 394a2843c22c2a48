"""Test networks of hosts and switches, simulated in virtual time or made of Linux network namespaces.

`Net` takes any `Topology`, and `Star` is a short form for one switch. `Group` is what `Net.group` returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from midflight.testbed.topology.quality import LinkQuality

if TYPE_CHECKING:
    from midflight.testbed.group import Group
    from midflight.testbed.net import Net
    from midflight.testbed.star import Star
    from midflight.testbed.topology import Topology

__all__ = ["Group", "LinkQuality", "Net", "Star", "Topology"]


def __getattr__(name: str) -> Any:
    """Import a name on first use. Networks import compilers and drivers, which a host's process does not need."""
    if name == "Group":
        from midflight.testbed.group import Group

        return Group
    if name == "Net":
        from midflight.testbed.net import Net

        return Net
    if name == "Star":
        from midflight.testbed.star import Star

        return Star
    if name == "Topology":
        from midflight.testbed.topology import Topology

        return Topology
    raise AttributeError(f"module {__name__} has no attribute {name!r}")
