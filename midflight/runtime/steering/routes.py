"""The routes of each switch and the members of its multicast groups, derived from a network's graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from midflight.errors import MidflightError
from midflight.runtime.steering.graph import Graph, Host, IPAddress, Path

__all__ = ["Member", "Route", "along", "members", "port_to", "routes", "tree"]


@dataclass(frozen=True, slots=True)
class Route:
    """A switch's route for packets to `address`, IPv4 or IPv6: they leave by `port`, with the destination MAC address
    `mac`.

    `mac`, a 48-bit integer, is that of the next node. `prefix` is the length of the matched prefix in bits; -1 stands
    for the whole address.
    """

    address: IPAddress
    port: int
    mac: int
    prefix: int = -1

    def __post_init__(self) -> None:
        if self.prefix < 0:
            object.__setattr__(self, "prefix", self.address.max_prefixlen)

    @property
    def key(self) -> tuple[int, int, int]:
        """The IP version, the address as an integer, and the prefix length: two routes with the same key replace each
        other.
        """
        return self.address.version, int(self.address), self.prefix

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix} by port {self.port}"


@dataclass(frozen=True, slots=True)
class Member:
    """A host that receives an application's multicast results: one copy leaves the switch by `port`.

    The copy gets the destination MAC address `mac` (that of the next node, 48 bits), the host's IP `address` and the
    UDP port `udp_port`.
    """

    port: int
    mac: int
    address: IPAddress
    udp_port: int


def routes(graph: Graph) -> dict[str, tuple[Route, ...]]:
    """Return, by switch name, the switch's routes to every host that it can reach, in the order of the hosts'
    addresses.

    A switch that reaches no host has no routes. Where several paths are shortest, `Graph.towards` says which is used.
    """
    found: dict[str, list[Route]] = {switch.name: [] for switch in graph.switches}
    for host in sorted(graph.hosts, key=lambda each: (each.address.version, int(each.address))):
        hops = graph.towards(host.name)
        for switch, entries in found.items():
            if hop := hops.get(switch):
                entries.append(Route(host.address, hop.port, graph.node(hop.node).mac))
    return {switch: tuple(entries) for switch, entries in found.items()}


def along(graph: Graph, path: Path, address: IPAddress) -> dict[str, Route]:
    """Return, by name, the route that each switch on a path needs so that packets to `address` follow it to its end.

    `address` is that of the service (its CS-ID in CATS), or any address that the last node of the path accepts.
    MidflightError if two nodes that follow each other on the path have no link in the graph.
    """
    switches = {each.name for each in graph.switches}
    return {
        node: Route(address, graph.port_towards(node, after), graph.node(after).mac)
        for node, after in pairwise(path.nodes)
        if node in switches
    }


def members(graph: Graph, switch: str, udp_ports: Mapping[str, int]) -> tuple[Member, ...]:
    """Return the members of a multicast group on `switch` for the hosts in `udp_ports`, ordered by the switch's port.

    `udp_ports` has the UDP port on which each host, given by name, receives.


    A switch distinguishes the copies of a packet by the port they leave by, so each port may have one member.
    MidflightError if two hosts are behind the same port, if a host is unreachable, or if there is no host of a name.
    """
    found: dict[int, tuple[str, Member]] = {}
    for name, udp_port in udp_ports.items():
        host = graph.node(name)
        if not isinstance(host, Host):
            raise MidflightError(f"{name} is a switch, and only hosts are members of a group")
        hop = graph.towards(name).get(switch)
        if hop is None:
            raise MidflightError(f"{switch} has no path to {name}")
        if hop.port in found:
            raise MidflightError(
                f"{found[hop.port][0]} and {name} both lie behind port {hop.port} of {switch}",
                hint="compute on a switch nearer to them, where each has a port of its own; a tree of switches can "
                "sum with Hierarchy(topology, program=program, workers=[...], server=...)",
            )
        found[hop.port] = name, Member(hop.port, graph.node(hop.node).mac, host.address, udp_port)
    return tuple(found[port][1] for port in sorted(found))


def port_to(graph: Graph, switch: str, host: str) -> int:
    """Return the port of a switch on the shortest path to a host. MidflightError if the host is out of reach or
    unknown.
    """
    hop = graph.towards(host).get(switch)
    if hop is None:
        raise MidflightError(f"{switch} has no path to {host}")
    return hop.port


def tree(graph: Graph, root: str, leaves: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return, for each switch, the ports by which it copies a packet on the way from `root` to all leaves.

    Every leaf is reached once, over its shortest path from the root. Only switches that copy to at least one port are
    in the result. MidflightError if a leaf is unreachable, or if there is no node named `root`.
    """
    graph.node(root)
    switches = {each.name for each in graph.switches}
    parents = graph.towards(root)
    ports: dict[str, set[int]] = {}
    for leaf in leaves:
        node = leaf
        while node != root:
            if node not in parents:
                raise MidflightError(f"there is no path from {root} to {leaf}")
            parent, port = graph.opposite(node, parents[node].port)
            if parent in switches:
                ports.setdefault(parent, set()).add(port)
            node = parent
    return {switch: tuple(sorted(ports[switch])) for switch in sorted(ports)}
