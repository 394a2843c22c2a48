"""Networks of hosts and switches to run programs in: simulated in virtual time, or of Linux network namespaces."""

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
    """Import what is asked for: networks bring compilers and drivers along, and a host's own process needs none."""
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
