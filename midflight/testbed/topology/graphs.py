"""Topologies from networkx graphs and objects like them. networkx itself is not needed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from midflight.errors import MidflightError
from midflight.testbed.topology.topology import Ends, Topology, is_host
from midflight.testbed.topology.units import QUALITIES, quality_of

__all__ = ["GraphLike", "from_networkx"]


class GraphLike(Protocol):
    """The methods of `networkx.Graph` and `networkx.MultiGraph` that `from_networkx` calls."""

    @property
    def nodes(self) -> Any:
        """The graph's nodes. Called as `nodes(data=True)`, it gives pairs of a node and a mapping of attributes."""

    @property
    def edges(self) -> Any:
        """The graph's edges. Called as `edges(data=True)`, it gives triples: two nodes and the mapping of the edge's
        attributes.
        """

    def is_directed(self) -> bool:
        """Return whether the edges have a direction."""


def from_networkx(graph: GraphLike) -> Topology:
    """Return the topology of an undirected graph.

    A node's name is its text form. Its attribute `kind` is `host` or `switch`; without it, nodes called h and a number
    are hosts. The attributes of an edge are the quality of the link, with units as in files (`delay="5us"`,
    `loss=0.01`), and `ports`, the port numbers by node (`ports={"s1": 3}`). Other attributes are ignored.
    MidflightError if the graph is directed or is not a valid topology.
    """
    if graph.is_directed():
        raise MidflightError(
            "links have no direction, but the edges of this graph do", hint="pass graph.to_undirected()"
        )
    hosts: list[str] = []
    switches: list[str] = []
    for node, attributes in graph.nodes(data=True):
        kind = attributes.get("kind", "host" if is_host(str(node)) else "switch")
        if kind not in ("host", "switch"):
            raise MidflightError(f"node {node} is of kind {kind!r}", hint="a node is a host or a switch")
        (hosts if kind == "host" else switches).append(str(node))
    return Topology.of(_links(graph), hosts=hosts, switches=switches)


def _links(graph: GraphLike) -> Iterable[Ends]:
    for one, other, attributes in graph.edges(data=True):
        ports = attributes.get("ports", {})
        ends = [f"{node}:{ports[node]}" if node in ports else str(node) for node in (one, other)]
        try:
            quality = quality_of({name: attributes[name] for name in QUALITIES if name in attributes})
        except MidflightError as error:
            raise MidflightError(f"the link between {one} and {other}: {error.message}", hint=error.hint) from None
        yield ends[0], ends[1], quality
