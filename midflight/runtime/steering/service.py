"""Services of compute-aware forwarding, as values, and the table entries of a switch that steers their requests."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from midflight.errors import MidflightError
from midflight.primitives.steering import Steering
from midflight.runtime.steering.buckets import rebalance, spread
from midflight.runtime.steering.entry import Entry
from midflight.runtime.steering.mapped import IPNetwork, mapped_prefix
from midflight.runtime.steering.ways import BUCKETS, Action, Ways, steering_entry

__all__ = ["Pool", "Rule", "Service", "steering_entries"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the traffic classifier (C-TC): the requests of a service that it matches. None matches everything.

    source: a network.
    protocol: an IP protocol, 0 to 255, such as 6 for TCP.
    port: a destination port of UDP or TCP, 0 to 65535.
    dscp: a Differentiated Services code point, 0 to 63.
    flow_label: an IPv6 flow label of 20 bits, 0 over IPv4.
    application: the 16-bit id of an application in the common header.
    priority: 1 to 2**31 - 1; of several rules that match, the largest wins.

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
        if not 1 <= self.priority < 1 << 31:
            raise MidflightError(f"a rule's priority must be 1 to 2**31 - 1, not {self.priority}")

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
        """Return the pool in which an instance has the weight 0 at every ingress. Its static weight stays.

        An ingress that would be left without an instance loses its own weights. If it is the last instance of the
        pool, all weights are 0 and no bucket has an instance.
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
    `Balance` whose maps follow the weights of the pool, empty for none. `drained` are the numbers of the instances that
    get no new flows until an operator gives them a weight, whatever a path selector computes.
    """

    name: str
    address: IPNetwork
    pool: Pool
    classes: Mapping[str, tuple[Rule, Pool]] = field(default_factory=dict)
    until: int | None = None
    balance: str = ""
    drained: tuple[int, ...] = ()

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
    services: Collection[Service], instances: Mapping[int, str], ways: Ways, steering: Steering
) -> dict[str, list[Entry]]:
    """Return, by switch name, the entries with which it steers requests to services, in the order to write them in.

    `instances` are the names of the instances' hosts, by number, and `ways` those to them. Instances that a switch
    cannot reach have no entry there, and requests to them are routed to the service's address. MidflightError if there
    are more services, rules or pools, or a larger number of an instance, than `steering` has room for.
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
    return {
        switch: [*entries, *(entry for each in services for entry in _service(each, switch, ways.actions[switch]))]
        for switch, entries in ways.entries.items()
    }


def _service(service: Service, switch: str, ways: Mapping[int, Action]) -> list[Entry]:
    """Return the entries of a service at a switch: buckets first, then rules, then its address.

    `ways` are the actions that lead to the instances that the switch can reach, by number.
    """
    found = [
        Entry(BUCKETS, (("pool", pool.number), ("bucket", bucket)), *ways[instance])
        for pool in service.pools
        for bucket, instance in enumerate(pool.at(switch))
        if instance in ways
    ]
    for rule, pool in service.classes.values():
        match = (("pool", service.pool.number), *rule.match())
        found.append(steering_entry("classes", match, "class_is", rule.priority, pool_number=pool.number))
    where = (("address", mapped_prefix(service.address)),)
    rules = int(bool(service.classes))
    return [*found, steering_entry("services", where, "service", pool_number=service.pool.number, has_rules=rules)]
