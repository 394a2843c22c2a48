"""A network as plain data, hosts, switches and links, and the shortest paths in it."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address

from midflight.errors import MidflightError

__all__ = ["Graph", "Hop", "Host", "IPAddress", "Link", "Path", "Switch"]

_DETOUR = 1 << 62
"""A delay that no path without avoided switches has."""

IPAddress = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Host:
    """A host of a network: its name, its MAC address as a 48-bit integer, and its IP address."""

    name: str
    mac: int
    address: IPAddress


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch of a network: its name, and the MAC address, a 48-bit integer, that its neighbours send to."""

    name: str
    mac: int


@dataclass(frozen=True, slots=True)
class Link:
    """A link between port `left_port` of node `left` and port `right_port` of node `right`, the same in both
    directions.

    `delay` is at least 0, in a unit that the caller chooses for the whole graph.
    """

    left: str
    left_port: int
    right: str
    right_port: int
    delay: int = 1


@dataclass(frozen=True, slots=True)
class Hop:
    """The first step from a node towards a destination, and the length of the whole path from that node.

    `port` is the node's own, and `node` is the next node. `delay` and `length` (in links) are those of the whole path.
    """

    port: int
    node: str
    delay: int
    length: int


@dataclass(frozen=True, slots=True)
class Path:
    """The names of the nodes from a source to a destination, including both, and the sum of the links' delays."""

    nodes: tuple[str, ...]
    delay: int

    def __str__(self) -> str:
        return f"{' -> '.join(self.nodes)} (delay {self.delay})"


@dataclass(frozen=True, slots=True)
class Graph:
    """A network: hosts, switches and links. Only switches forward traffic of others. Immutable.

    MidflightError if two nodes have the same name, two hosts the same address or two links the same port, if a link
    ends at an unknown node, or if its delay is negative.
    """

    hosts: tuple[Host, ...]
    switches: tuple[Switch, ...]
    links: tuple[Link, ...]
    _edges: Mapping[str, tuple[tuple[int, str, int], ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        edges: dict[str, list[tuple[int, str, int]]] = {}
        for each in self.nodes:
            if each.name in edges:
                raise MidflightError(
                    f"two nodes are named {each.name}", hint="give every host and switch a name of its own"
                )
            edges[each.name] = []
        addresses: dict[IPAddress, str] = {}
        for host in self.hosts:
            if (other := addresses.setdefault(host.address, host.name)) != host.name:
                raise MidflightError(f"hosts {other} and {host.name} have the same address")
        for link in self.links:
            for node, port, far in (
                (link.left, link.left_port, link.right),
                (link.right, link.right_port, link.left),
            ):
                if node not in edges:
                    raise MidflightError(f"a link ends at {node}, which is neither a host nor a switch")
                if any(port == taken for taken, _, _ in edges[node]):
                    raise MidflightError(f"two links end at port {port} of {node}")
                edges[node].append((port, far, link.delay))
            if link.delay < 0:
                raise MidflightError(f"the link between {link.left} and {link.right} has a negative delay")
        object.__setattr__(self, "_edges", {name: tuple(sorted(each)) for name, each in edges.items()})

    @property
    def nodes(self) -> tuple[Host | Switch, ...]:
        """All nodes of the graph: the hosts, then the switches."""
        return self.hosts + self.switches

    def node(self, name: str) -> Host | Switch:
        """Return the host or switch with this name. MidflightError if there is none."""
        for each in self.nodes:
            if each.name == name:
                return each
        raise MidflightError(f"there is no host or switch named {name}")

    def without(self, names: Collection[str]) -> Graph:
        """Return the graph without the switches of these names and without their links. Other names change nothing."""
        gone = {each.name for each in self.switches if each.name in names}
        switches = tuple(each for each in self.switches if each.name not in gone)
        links = tuple(each for each in self.links if each.left not in gone and each.right not in gone)
        return Graph(self.hosts, switches, links)

    def avoiding(self, names: Collection[str]) -> Graph:
        """Return the graph in which paths lead over the switches of these names only if there is no other way."""
        links = tuple(
            replace(each, delay=each.delay + _DETOUR) if each.left in names or each.right in names else each
            for each in self.links
        )
        return Graph(self.hosts, self.switches, links)

    def towards(self, destination: str) -> dict[str, Hop]:
        """Return, for every other node that can reach `destination`, the first hop of its shortest path there.

        The shortest path has the least delay, then the fewest links. Ties are broken by the name of the next node, then
        by the lower port, so the same graph always gives the same paths. Following the hops never leads in a circle,
        even over links without delay, because each hop has fewer links left than the one before. MidflightError if no
        node is named `destination`.
        """
        self.node(destination)
        switches = {each.name for each in self.switches}
        settled: dict[str, tuple[int, int]] = {}
        queue = [(0, 0, destination)]
        while queue:
            delay, length, name = heapq.heappop(queue)
            if name in settled:
                continue
            settled[name] = delay, length
            if name != destination and name not in switches:
                continue
            for _, far, cost in self._edges[name]:
                if far not in settled:
                    heapq.heappush(queue, (delay + cost, length + 1, far))
        hops: dict[str, Hop] = {}
        for name, (delay, length) in settled.items():
            if name == destination:
                continue
            _, port = min(
                (far, port)
                for port, far, cost in self._edges[name]
                if far in settled
                and (far == destination or far in switches)
                and (settled[far][0] + cost, settled[far][1] + 1) == (delay, length)
            )
            far = next(far for taken, far, _ in self._edges[name] if taken == port)
            hops[name] = Hop(port, far, delay, length)
        return hops

    def parts(self) -> dict[str, int]:
        """Return the number of the part that each switch is in, by name; switches of one part reach each other."""
        switches, found = {each.name for each in self.switches}, dict[str, int]()
        for each in self.switches:
            if each.name in found:
                continue
            number, left = len(found), [each.name]
            while left:
                name = left.pop()
                if name not in found:
                    found[name] = number
                    left += [far for _, far, _ in self._edges[name] if far in switches]
        return found

    def opposite(self, node: str, port: int) -> tuple[str, int]:
        """Return the node and port at the other end of the link at a node's port. MidflightError if the port has no
        link.
        """
        for link in self.links:
            if (link.left, link.left_port) == (node, port):
                return link.right, link.right_port
            if (link.right, link.right_port) == (node, port):
                return link.left, link.left_port
        raise MidflightError(f"no link ends at port {port} of {node}")

    def port_towards(self, node: str, neighbour: str) -> int:
        """Return the number of a node's port whose link leads to a neighbour. MidflightError if no link does.

        Of several links, it is the one with the least delay, then the one with the lowest port.
        """
        ports = [(delay, port) for port, far, delay in self._edges.get(node, ()) if far == neighbour]
        if not ports:
            raise MidflightError(f"no link leads from {node} to {neighbour}")
        return min(ports)[1]

    def path(self, source: str, destination: str) -> Path | None:
        """Return the shortest path between two nodes, given by name, or None if there is none. `towards` has the order.

        MidflightError if there is no node named `source` or `destination`.
        """
        self.node(source)
        hops = self.towards(destination)
        nodes = [source]
        while nodes[-1] != destination:
            if nodes[-1] not in hops:
                return None
            nodes.append(hops[nodes[-1]].node)
        return Path(tuple(nodes), hops[source].delay if source in hops else 0)

    def paths(self, source: str, destination: str, most: int) -> tuple[Path, ...]:
        """Return up to `most` shortest paths that visit no node twice, the best first, in the order of `towards`.

        Parallel links between two nodes count as one, the faster of them. Empty if there is no path. MidflightError if
        there is no node named `source` or `destination`.
        """
        self.node(source)
        left = self.towards(destination)
        found: list[Path] = []
        # Partial paths are ordered by a lower bound of their total, so complete paths are found in order (A*).
        queue: list[tuple[int, int, tuple[str, ...], int]] = [(0, 0, (source,), 0)]
        while queue and len(found) < most:
            _, _, nodes, delay = heapq.heappop(queue)
            if nodes[-1] == destination:
                found.append(Path(nodes, delay))
                continue
            steps: dict[str, int] = {}
            for _, far, cost in self._edges[nodes[-1]]:
                if far not in nodes and (far == destination or (far in left and self._carries(far))):
                    steps[far] = min(cost, steps.get(far, cost))
            for far, cost in steps.items():
                rest = left.get(far)
                least, length = (rest.delay, rest.length) if rest else (0, 0)
                heapq.heappush(queue, (delay + cost + least, len(nodes) + length, (*nodes, far), delay + cost))
        return tuple(found)

    def _carries(self, name: str) -> bool:
        return any(each.name == name for each in self.switches)
