"""Shapes of networks: the same topology for every fabric."""

from midflight.testbed.topology.builders import fat_tree, leaf_spine, line, star, tree
from midflight.testbed.topology.quality import LinkQuality
from midflight.testbed.topology.topology import Link, Port, Topology

__all__ = ["Link", "LinkQuality", "Port", "Topology", "fat_tree", "leaf_spine", "line", "star", "tree"]
