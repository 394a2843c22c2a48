"""Detection of switches on one path that would compute on the same request."""

from __future__ import annotations

from collections.abc import Iterator

from midflight.primitives.kernel.packet import Verdict
from midflight.runtime.controller.desired import AdmissionRequest
from midflight.runtime.controller.fleet import Fleet
from midflight.runtime.steering import Graph, port_to

__all__ = ["computing_twice"]


def computing_twice(fleet: Fleet, application: str, switch: str) -> dict[str, tuple[str, str]]:
    """Return the other switches that compute on some of the requests on which `switch` computes, too, each with an
    example.

    The key is the name of a switch, and the value is a pair of hosts, by name, between which the route passes both and
    both have admitted the application by the port on which requests arrive. Empty if the kernel forwards no requests or
    only one switch has admitted the application. Considers admissions as `Controller.admit` makes them, not jobs.
    """
    admitted = {where: each for (name, where), each in fleet.desired.admissions.items() if name == application}
    if len(admitted) < 2 or switch not in admitted:
        return {}
    if Verdict.FORWARD not in fleet.application(application).primitive.kernel.verdicts:
        return {}
    ports = {name: _ports(fleet.graph, each) for name, each in admitted.items()}
    found: dict[str, tuple[str, str]] = {}
    for source, destination, path in _paths(fleet.graph):
        computing = [name for name, port in path if name in ports and (not ports[name] or port in ports[name])]
        if switch in computing:
            for each in computing:
                if each != switch:
                    found.setdefault(each, (source, destination))
        if len(found) == len(admitted) - 1:
            break
    return found


def _ports(graph: Graph, request: AdmissionRequest) -> frozenset[int]:
    """Return the ports of a switch by which it takes an application's requests; empty for all ports."""
    return frozenset(port_to(graph, request.switch, each.name) for each in (*request.hosts, *request.senders))


def _paths(graph: Graph) -> Iterator[tuple[str, str, list[tuple[str, int]]]]:
    """Yield source and destination of each route, and its switches in order with the ports by which packets arrive."""
    for destination in graph.hosts:
        hops = graph.towards(destination.name)
        for source in graph.hosts:
            path, node = [], source.name
            while node in hops:
                node, port = graph.opposite(node, hops[node].port)
                path.append((node, port))
            if path and source.address.version == destination.address.version:
                yield source.name, destination.name, path[:-1]
