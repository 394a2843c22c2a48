"""Services of compute-aware forwarding, as values, and the table entries of a switch that steers their requests."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from midflight.errors import MidflightError
from midflight.primitives.steering import Steering
from midflight.runtime.steering.buckets import rebalance, spread
from midflight.runtime.steering.entry import Entry
from midflight.runtime.steering.graph import Graph, IPAddress

__all__ = ["IPNetwork", "Pool", "Rule", "Service", "mapped", "mapped_prefix", "steering_entries"]

IPNetwork = IPv4Network | IPv6Network

FORWARDER = {4: IPv4Address("192.0.0.8"), 6: IPv6Address("100::8")}
"""The source of packets between forwarders, by IP version: dummy addresses (RFC 7600, RFC 6666), as no one replies."""

_MAPPED = IPv6Address("64:ff9b:1::")
_CONTROL = "ingress.steering"


def mapped(address: IPAddress) -> int:
    """Return an address as the IPv6 address that a switch compares: IPv4 addresses are mapped to 64:ff9b:1::/96."""
    return int(address) if address.version == 6 else int(_MAPPED) + int(address)


def mapped_prefix(network: IPNetwork) -> tuple[int, int]:
    """Return a network as the IPv6 prefix that a switch compares: its address and its length in bits.

    An IPv4 network becomes one of 64:ff9b:1::/96, so its length grows by 96.
    """
    return mapped(network.network_address), network.prefixlen + (96 if network.version == 4 else 0)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the traffic classifier (C-TC): the requests of a service that it matches. None matches everything.

    source: a network.
    protocol: an IP protocol, 0 to 255, such as 6 for TCP.
    port: a destination port of UDP or TCP, 0 to 65535.
    dscp: a Differentiated Services code point, 0 to 63.
    flow_label: an IPv6 flow label of 20 bits, 0 over IPv4.
    application: the 16-bit id of an application in the common header.
    priority: at least 1; of several rules that match, the largest wins.

    MidflightError if a value is out of its range.
    """

    source: IPNetwork | None = None
    protocol: int | None = None
    port: int | None = None
    dscp: int | None = None
    flow_label: int | None = None
    application: int | None = None
    priority: int = 1

    def __post_init__(self) -> None:
        bits = {"protocol": 8, "port": 16, "dscp": 6, "flow_label": 20, "application": 16}
        for name, width in bits.items():
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1 << width:
                raise MidflightError(f"a rule's {name} must be 0 to {(1 << width) - 1}, not {value}")
        if self.priority < 1:
            raise MidflightError(f"a rule's priority must be at least 1, not {self.priority}")

    def match(self) -> tuple[tuple[str, object], ...]:
        """Return the match of a table entry, without fields that match everything."""
        found: list[tuple[str, object]] = []
        if self.source is not None:
            address, length = mapped_prefix(self.source)
            found.append(("source", (address, (1 << 128) - (1 << 128 - length))))
        widths = {"protocol": 8, "port": 16, "dscp": 6, "flow_label": 20, "application": 16}
        for name, width in widths.items():
            if (value := getattr(self, name)) is not None:
                found.append((name, (value, (1 << width) - 1)))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Pool:
    """A set of instances that share requests: their weights, and the instance of each bucket (0 for none).

    Both are by the instances' numbers (CSCI-ID). `static` are the weights that return when updates stop. `local` has
    the weights and buckets of those ingresses that have their own, by switch name.
    """

    number: int
    static: Mapping[int, float]
    weights: Mapping[int, float]
    table: tuple[int, ...]
    local: Mapping[str, tuple[Mapping[int, float], tuple[int, ...]]] = field(default_factory=dict)

    @classmethod
    def of(cls, number: int, weights: Mapping[int, float], buckets: int) -> Pool:
        """Return a new pool with this number and this many buckets; its static weights are the same.

        MidflightError for a weight that is negative or not finite.
        """
        return cls(number, dict(weights), dict(weights), spread(weights, buckets))

    @property
    def instances(self) -> tuple[int, ...]:
        """The numbers of all instances that have a weight here, also of 0."""
        local = [number for weights, _ in self.local.values() for number in weights]
        return tuple(dict.fromkeys((*self.static, *self.weights, *local)))

    def at(self, switch: str) -> tuple[int, ...]:
        """Return the instance of each bucket at an ingress, a switch given by name: its own table if it has one,
        otherwise that of the pool.
        """
        return self.local[switch][1] if switch in self.local else self.table

    def weights_at(self, switch: str) -> Mapping[int, float]:
        """Return the weights of the instances at an ingress, a switch given by name: its own if it has any, otherwise
        those of the pool.
        """
        return self.local[switch][0] if switch in self.local else self.weights

    def weighted(self, weights: Mapping[int, float], switch: str = "") -> Pool:
        """Return the pool with other weights, with as few buckets moved as possible. `static` stays the same.

        With `switch`, only that ingress gets these weights. Without it all get them, and none has its own any more.
        MidflightError for a weight that is negative or not finite.
        """
        table = rebalance(self.at(switch), weights)
        if switch:
            return replace(self, local={**self.local, switch: (dict(weights), table)})
        return replace(self, weights=dict(weights), table=table, local={})

    def drained(self, number: int) -> Pool:
        """Return the pool in which an instance has the weight 0 everywhere.

        An ingress that would be left without an instance loses its own weights.
        """
        if number not in self.instances:
            return self
        made = replace(self.weighted({**self.weights, number: 0.0}), local=self.local)
        for switch, (weights, _) in self.local.items():
            rest = {**weights, number: 0.0}
            if any(rest.values()):
                made = made.weighted(rest, switch)
            else:
                made = replace(made, local={name: each for name, each in made.local.items() if name != switch})
        return made


@dataclass(frozen=True, slots=True)
class Service:
    """A service: its address, which all instances share (CS-ID), its pool, and the pools of its traffic classes.

    `until` is the time in nanoseconds at which the weights expire, or None if they do not. `balance` is the name of the
    `Balance` whose maps follow the weights of the pool, empty for none.
    """

    name: str
    address: IPNetwork
    pool: Pool
    classes: Mapping[str, tuple[Rule, Pool]] = field(default_factory=dict)
    until: int | None = None
    balance: str = ""

    @property
    def pools(self) -> tuple[Pool, ...]:
        """All pools, that of requests without a class first."""
        return self.pool, *(pool for _, pool in self.classes.values())

    def with_pool(self, pool: Pool) -> Service:
        """Return the service with a pool in place of the one with the same number, that of the service or of a
        class.
        """
        if pool.number == self.pool.number:
            return replace(self, pool=pool)
        classes = {name: (rule, pool if it.number == pool.number else it) for name, (rule, it) in self.classes.items()}
        return replace(self, classes=classes)


def steering_entries(
    graph: Graph, services: Collection[Service], instances: Mapping[int, str], steering: Steering
) -> dict[str, list[Entry]]:
    """Return, by switch name, the entries with which it steers requests to services, in the order to write them in.

    `instances` are the names of the instances' hosts, by number. Those that a switch cannot reach have no entry there,
    and requests to them are routed to the service's address. MidflightError if there are more services, rules or pools,
    or a larger number of an instance, than `steering` has room for.
    """
    if instances and max(instances) > steering.instances:
        raise MidflightError(f"instance {max(instances)} exceeds Steering(instances={steering.instances})")
    for what, count in (
        ("services", len(services)),
        ("rules", sum(len(each.classes) for each in services)),
        ("pools", sum(len(each.pools) for each in services)),
    ):
        if count > getattr(steering, what):
            raise MidflightError(f"{count} {what}, but the program has Steering({what}={getattr(steering, what)})")
    found = _trunks(graph)
    _add_instances(graph, instances, found)
    same = [entry for each in services for entry in _service(each, "")]
    own = dict.fromkeys(name for each in services for pool in each.pools for name in pool.local)
    return {
        switch: entries + ([it for each in services for it in _service(each, switch)] if switch in own else same)
        for switch, entries in found.items()
    }


def _service(service: Service, switch: str) -> list[Entry]:
    """Return the entries of a service at a switch: buckets first, then rules, then its address."""
    found = [
        _entry("buckets", (("pool", pool.number), ("bucket", bucket)), "instance_is", number=instance)
        for pool in service.pools
        for bucket, instance in enumerate(pool.at(switch))
        if instance
    ]
    for rule, pool in service.classes.values():
        match = (("pool", service.pool.number), *rule.match())
        found.append(_entry("classes", match, "class_is", rule.priority, pool_number=pool.number))
    where = (("address", mapped_prefix(service.address)),)
    rules = int(bool(service.classes))
    return [*found, _entry("services", where, "service", pool_number=service.pool.number, has_rules=rules)]


def _trunks(graph: Graph) -> dict[str, list[Entry]]:
    """Return, by switch name, the entries for the switch's ports that lead to other switches."""
    found: dict[str, list[Entry]] = {each.name: [] for each in graph.switches}
    for link in graph.links:
        if link.left in found and link.right in found:
            for name, port in ((link.left, link.left_port), (link.right, link.right_port)):
                found[name].append(_entry("trunks", (("port", port),), "NoAction"))
    return found


def _add_instances(graph: Graph, instances: Mapping[int, str], found: Mapping[str, list[Entry]]) -> None:
    """Add to the entries of each switch those that say where the instances are, seen from it."""
    hosts = {each.name: each for each in graph.hosts}
    links: dict[str, list[tuple[str, int]]] = {name: [] for name in hosts}
    for link in graph.links:
        left, right = (link.left, link.left_port), (link.right, link.right_port)
        for (near, _), (far, port) in ((left, right), (right, left)):
            if near in links and far in found:
                links[near].append((far, port))
    parts = graph.parts()
    members: dict[int, list[str]] = {}
    for switch, part in parts.items():
        members.setdefault(part, []).append(switch)
    for number, name in sorted(instances.items()):
        host, which = hosts[name], (("instance", number),)
        version = host.address.version
        contact = {"ingress_address": int(FORWARDER[version]), "contact_address": int(host.address)}
        beyond = _entry("instances", which, "to_contact", ipv6=int(version == 6), **contact)
        attached = _attached(graph, name, links[name])
        for switch in [each for part in dict.fromkeys(parts[each] for each in attached) for each in members[part]]:
            if switch not in attached:
                found[switch].append(beyond)
                continue
            behind = {"port": attached[switch], "mac": host.mac}
            where = (("address", mapped(host.address)),)
            found[switch].append(_entry("contacts", where, "to_instance", **behind))
            found[switch].append(_entry("instances", which, "to_attached", **behind))


def _attached(graph: Graph, host: str, links: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Return the switches whose shortest path to a host is a link of their own, and the port of that link.

    `links` are all switches that have one, with their ports.
    """
    if len(links) < 2:
        return dict(links)
    hops = graph.towards(host)
    return {switch: hops[switch].port for switch, _ in links if hops[switch].node == host}


def _entry(
    table: str, match: tuple[tuple[str, object], ...], action: str, priority: int = 0, /, **params: int
) -> Entry:
    name = action if action == "NoAction" else f"{_CONTROL}.{action}"
    return Entry(f"{_CONTROL}.{table}", match, name, tuple(sorted(params.items())), priority)
