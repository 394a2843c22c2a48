"""The services of a controller as a path selector (C-PS) sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from midflight.errors import DeviceError
from midflight.runtime.controller.fleet import Fleet
from midflight.runtime.p4runtime.client.results import Count
from midflight.runtime.steering import Graph
from midflight.runtime.steering.cps.rounds import Served, ServedClass, ServedInstance
from midflight.runtime.steering.service import Pool, Service

__all__ = ["served_services"]


def served_services(
    fleet: Fleet, counters: Callable[[str], Mapping[str, Count]], switch: str = ""
) -> tuple[Served, ...]:
    """Return all services of a controller with their instances and classes.

    `counters` returns the packets and bytes that a switch has sent to each instance, by host; if it raises DeviceError,
    the switch counts nothing. With the name of a `switch`, weights, delays and counts are those of the requests that
    enter the network there. If it is empty, counts are sums over all switches, and delays are means over the switches
    that have hosts. An instance is reachable if a path over switches that are on leads to it from one of these
    switches. MidflightError if there is no switch of this name.
    """
    with fleet.lock:
        on = [name for name, each in fleet.switches.items() if each.on]
        alive = fleet.whole.without([name for name in fleet.switches if name not in on])
        if switch:
            fleet.switch(switch)
        sent: dict[str, int] = {}
        for name in on if not switch else [switch] if switch in on else []:
            with suppress(DeviceError):
                for host, count in counters(name).items():
                    sent[host] = sent.get(host, 0) + count.packets
        ingresses = [switch] if switch else _ingresses(fleet.whole)
        where = {host: _seen(fleet.whole, alive, host, ingresses) for host in fleet.desired.instances}
        addresses = {each.name: str(each.address) for each in fleet.whole.hosts}
        names = {number: name for name, number in fleet.desired.instances.items()}

        def instances(service: Service, pool: Pool) -> tuple[ServedInstance, ...]:
            return tuple(
                ServedInstance(
                    host,
                    addresses[host],
                    pool.static.get(number, 0.0),
                    pool.weights_at(switch).get(number, 0.0),
                    *where[host],
                    sent.get(host, 0),
                    number in service.drained,
                )
                for number, host in ((each, names[each]) for each in pool.instances)
            )

        return tuple(
            Served(
                each.name,
                str(each.address.network_address),
                instances(each, each.pool),
                tuple(ServedClass(name, instances(each, pool)) for name, (_, pool) in each.classes.items()),
            )
            for each in fleet.desired.services.values()
        )


def _ingresses(graph: Graph) -> list[str]:
    """Return the names of the switches that have hosts, or of all if none has."""
    hosts = {each.name: None for each in graph.hosts}
    found = [
        near for link in graph.links for near, far in ((link.left, link.right), (link.right, link.left)) if far in hosts
    ]
    return [*dict.fromkeys(each for each in found if each not in hosts)] or [each.name for each in graph.switches]


def _seen(whole: Graph, alive: Graph, host: str, ingresses: Sequence[str]) -> tuple[float, bool]:
    """Return the mean delay from the ingresses to a host in seconds, and whether one of them has a path there."""
    hops = whole.towards(host)
    delays = [hops[each].delay / 1e9 for each in ingresses if each in hops]
    there = alive.towards(host)
    return sum(delays) / len(delays) if delays else 0.0, any(each in there for each in ingresses)
