"""Topologies: descriptions of networks that every fabric can build."""

from midflight.testbed.topology.builders import fat_tree, leaf_spine, line, star, tree
from midflight.testbed.topology.clocks import SwitchClock
from midflight.testbed.topology.graphs import from_networkx
from midflight.testbed.topology.parts import Link, Port
from midflight.testbed.topology.quality import LinkQuality
from midflight.testbed.topology.topology import Topology

__all__ = [
    "Link",
    "LinkQuality",
    "Port",
    "SwitchClock",
    "Topology",
    "fat_tree",
    "from_networkx",
    "leaf_spine",
    "line",
    "star",
    "tree",
]
