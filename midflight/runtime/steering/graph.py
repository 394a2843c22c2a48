"""A network as plain data, and the shortest paths over it."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from midflight.errors import MidflightError

__all__ = ["Graph", "Hop", "Host", "IPAddress", "Link", "Path", "Switch"]

IPAddress = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Host:
    """An end host, with its address; `mac` is a 48-bit integer."""

    name: str
    mac: int
    address: IPAddress


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch: `mac` is what its neighbours send to, a 48-bit integer."""

    name: str
    mac: int


@dataclass(frozen=True, slots=True)
class Link:
    """A cable between two ports, the same in both directions; `delay` is at least 0, its unit the caller's."""

    left: str
    left_port: int
    right: str
    right_port: int
    delay: int = 1


@dataclass(frozen=True, slots=True)
class Hop:
    """The first step from a node towards a destination, with what is left of the way from that node.

    `port` is the node's own, `delay` and `length` (in links) are those of the whole way.
    """

    port: int
    node: str
    delay: int
    length: int


@dataclass(frozen=True, slots=True)
class Path:
    """The nodes from a source to a destination, both included, and the delay between the two."""

    nodes: tuple[str, ...]
    delay: int

    def __str__(self) -> str:
        return f"{' -> '.join(self.nodes)} (delay {self.delay})"


@dataclass(frozen=True, slots=True)
class Graph:
    """Hosts, switches and links. Only switches carry traffic that is not their own.

    Raises MidflightError where two nodes share a name, two hosts an address, two cables a port, or where a
    link ends at a node that is not there.
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
                    f"two nodes are named {each.name}", hint="Give every host and switch its own name."
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
        """Hosts, then switches."""
        return self.hosts + self.switches

    def node(self, name: str) -> Host | Switch:
        """Return the host or switch of that name; MidflightError where there is none."""
        for each in self.nodes:
            if each.name == name:
                return each
        raise MidflightError(f"there is no host or switch named {name}")

    def without(self, names: Collection[str]) -> Graph:
        """Return what is left when these switches are taken out, with their cables."""
        switches = tuple(each for each in self.switches if each.name not in names)
        links = tuple(each for each in self.links if each.left not in names and each.right not in names)
        return Graph(self.hosts, switches, links)

    def towards(self, destination: str) -> dict[str, Hop]:
        """Return the first hop of the shortest way to `destination` from every other node that reaches it.

        Shortest is least delay, then fewest links; between equals the way through the neighbour whose name
        comes first, then the lower port, so that the same graph always gives the same ways. Following the
        hops never goes in a circle, even over links without delay: each has fewer links left than the one before.
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

    def opposite(self, node: str, port: int) -> tuple[str, int]:
        """Return the node and port at the other end of a port's cable; MidflightError where none is plugged in."""
        for link in self.links:
            if (link.left, link.left_port) == (node, port):
                return link.right, link.right_port
            if (link.right, link.right_port) == (node, port):
                return link.left, link.left_port
        raise MidflightError(f"no link ends at port {port} of {node}")

    def port_towards(self, node: str, neighbour: str) -> int:
        """Return the port of a node whose cable leads to a neighbour: the fastest, then the lowest numbered."""
        ports = [(delay, port) for port, far, delay in self._edges.get(node, ()) if far == neighbour]
        if not ports:
            raise MidflightError(f"no link leads from {node} to {neighbour}")
        return min(ports)[1]

    def path(self, source: str, destination: str) -> Path | None:
        """Return the shortest path between two nodes, or None where there is none."""
        self.node(source)
        hops = self.towards(destination)
        nodes = [source]
        while nodes[-1] != destination:
            if nodes[-1] not in hops:
                return None
            nodes.append(hops[nodes[-1]].node)
        return Path(tuple(nodes), hops[source].delay if source in hops else 0)

    def paths(self, source: str, destination: str, most: int) -> tuple[Path, ...]:
        """Return up to `most` shortest paths that pass no node twice, the best first, ordered as `towards` does.

        Cables side by side between the same two nodes are one way, by the faster of them.
        """
        self.node(source)
        left = self.towards(destination)
        found: list[Path] = []
        # Each partial path is taken up by the least that it can come to, so whole paths come out in order.
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
