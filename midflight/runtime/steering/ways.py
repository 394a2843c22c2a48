"""The ways from switches to the instances of services, as actions of the tables that steer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from midflight.runtime.steering.entry import Entry
from midflight.runtime.steering.graph import Graph
from midflight.runtime.steering.mapped import mapped
from midflight.runtime.steering.steps import INSTANCES

__all__ = ["BUCKETS", "Action", "Ways", "find_ways", "steering_entry"]

_CONTROL = "ingress.steering"
BUCKETS = f"{_CONTROL}.buckets"
"""The table of the instances of buckets, with the ways to them."""

Params = tuple[tuple[str, int], ...]
Action = tuple[str, Params]
"""An action's name and its parameters."""


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways from each switch of a network to instances.

    `actions` are, by the switch's name and the instance's number, the actions that send a request there; an instance
    that a switch cannot reach is left out. `entries` are, by the switch's name, the entries that are the same whatever
    the services: which ports lead to other switches, and the ways.
    """

    actions: Mapping[str, Mapping[int, Action]]
    entries: Mapping[str, Sequence[Entry]]


def find_ways(graph: Graph, instances: Mapping[int, str]) -> Ways:
    """Return the ways to instances, given the names of their hosts by number: the shortest paths of the graph.

    KeyError if the graph has no such host.
    """
    hosts = {each.name: each for each in graph.hosts}
    macs = {each.name: each.mac for each in graph.nodes}
    entries, links = _trunks(graph), _links(graph)
    actions: dict[str, dict[int, Action]] = {switch: {} for switch in entries}
    towards: dict[str, list[tuple[str, Params]]] = {}
    for number, name in sorted(instances.items()):
        address, which = hosts[name].address, (("instance", number),)
        to = ("address", int(address))
        contact = f"{_CONTROL}.to_contact" if address.version == 4 else f"{_CONTROL}.to_contact_ipv6"
        attached, others = _out(graph, name, links[name], macs, towards)
        for switch, out in attached:
            made: Action = f"{_CONTROL}.to_attached", (out[0], which[0], out[1])
            actions[switch][number] = made
            where = (("address", mapped(address)),)
            entries[switch].append(Entry(f"{_CONTROL}.contacts", where, f"{_CONTROL}.to_instance", out))
            entries[switch].append(Entry(INSTANCES, which, *made))
        for switch, out in others:
            made = contact, (to, out[0], which[0], out[1])
            actions[switch][number] = made
            entries[switch].append(Entry(INSTANCES, which, *made))
    return Ways(actions, entries)


def _out(
    graph: Graph,
    host: str,
    links: Sequence[tuple[str, int]],
    macs: Mapping[str, int],
    towards: dict[str, list[tuple[str, Params]]],
) -> tuple[list[tuple[str, Params]], list[tuple[str, Params]]]:
    """Return the switches from which the way to a host is a link of their own, and the other ones that reach it.

    With each comes the port and the neighbour by which its packets leave. `links` are the switches that the host is
    linked to, with their ports. Paths to hosts with a single link are those to its switch, which `towards` keeps.
    """

    def ways(destination: str) -> list[tuple[str, str, Params]]:
        hops = graph.towards(destination)
        there = [(each.name, hops[each.name]) for each in graph.switches if each.name in hops]
        return [(switch, hop.node, _leaving(hop.port, macs[hop.node])) for switch, hop in there]

    if len(links) == 1:
        [(switch, port)] = links
        if switch not in towards:
            towards[switch] = [(each, out) for each, _, out in ways(switch)]
        return [(switch, _leaving(port, macs[host]))], towards[switch]
    found = ways(host)
    return (
        [(each, out) for each, node, out in found if node == host],
        [(each, out) for each, node, out in found if node != host],
    )


def _leaving(port: int, mac: int) -> Params:
    return ("egress_port", port), ("neighbour", mac)


def _links(graph: Graph) -> dict[str, list[tuple[str, int]]]:
    """Return the switches that each host is linked to, with their ports, by the host's name."""
    switches = {each.name for each in graph.switches}
    links: dict[str, list[tuple[str, int]]] = {each.name: [] for each in graph.hosts}
    for link in graph.links:
        left, right = (link.left, link.left_port), (link.right, link.right_port)
        for (near, _), (far, port) in ((left, right), (right, left)):
            if near in links and far in switches:
                links[near].append((far, port))
    return links


def _trunks(graph: Graph) -> dict[str, list[Entry]]:
    """Return, by switch name, the entries for the switch's ports that lead to other switches."""
    found: dict[str, list[Entry]] = {each.name: [] for each in graph.switches}
    for link in graph.links:
        if link.left in found and link.right in found:
            for name, port in ((link.left, link.left_port), (link.right, link.right_port)):
                found[name].append(steering_entry("trunks", (("port", port),), "NoAction"))
    return found


def steering_entry(
    table: str, match: tuple[tuple[str, object], ...], action: str, priority: int = 0, /, **params: int
) -> Entry:
    """Return an entry of a table that steers, given the names of table and action in the control."""
    name = action if action == "NoAction" else f"{_CONTROL}.{action}"
    return Entry(f"{_CONTROL}.{table}", match, name, tuple(sorted(params.items())), priority)
