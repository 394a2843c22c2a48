"""The part of a controller that steers requests to the instances of services, by weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from numbers import Real
from sys import float_info

from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Balance
from midflight.primitives.kernel.map import Key
from midflight.primitives.steering import Steering, bucket_of
from midflight.runtime.controller.desired import DesiredState
from midflight.runtime.controller.fleet import Fleet
from midflight.runtime.controller.maps import ControlledMap
from midflight.runtime.controller.served import served_services
from midflight.runtime.p4runtime.client.results import Count
from midflight.runtime.steering import Graph, IPAddress
from midflight.runtime.steering.buckets import balance_maps
from midflight.runtime.steering.cps.rounds import Served
from midflight.runtime.steering.mapped import IPNetwork, mapped, mapped_prefix
from midflight.runtime.steering.service import Pool, Rule, Service, steering_entries
from midflight.runtime.steering.ways import Ways, find_ways

__all__ = ["Services"]

_NO_MAPS: Mapping[str, Mapping[Key, int]] = {"first": {}, "second": {}, "up": {}}
_LONGEST = 1e9  # seconds that weights may be valid


class Services:
    """The part of a `Controller` that steers requests to services, on all its switches: `controller.services`.

        services.add("vision", "10.9.0.1", {"h3": 1, "h4": 1})
        services.weigh("vision", {"h3": 1, "h4": 3}, valid=5.0)
        services.drain("vision", "h3")

    Instances are named by their hosts. The desired state holds the services, so a switch that is revived steers as
    before. Switches that are off are written when they are on again. Methods raise MidflightError for an unknown
    service, class or host, for weights that are negative, not finite or all 0, and if a service is added to a program
    without a `Steering`; and DeviceError if a switch refuses. After an error, nothing has changed.

    `maps` returns a map of an application on a switch: see `Controller.map`.
    """

    def __init__(self, fleet: Fleet, maps: Callable[[str, str, str], ControlledMap]) -> None:
        self._fleet = fleet
        self._maps = maps
        self._ways: tuple[Graph, Mapping[int, str], Ways] | None = None  # kept, because they do not depend on weights

    def __getitem__(self, service: str) -> Service:
        """Return a service by name, with its pools of instances. MidflightError if there is no such service."""
        found = self._fleet.desired.services.get(service)
        if found is None:
            names = ", ".join(self._fleet.desired.services) or "none"
            raise MidflightError(f"there is no service {service!r}", hint=f"services: {names}")
        return found

    def add(self, service: str, address: str, weights: Mapping[str, float]) -> None:
        """Start steering requests to `address`, an IPv4 or IPv6 address or prefix (CS-ID), to instances by weight.

        weights: by the host's name; each is finite and at least 0. They are also the static weights, which apply when
        updates stop: see `expire`. MidflightError if the name is empty or in use, if the address is invalid or in use
        by a service or a host, if the prefix contains a host's address, if a host is unknown, if a weight is negative
        or not finite or all are 0, or if the program has no `Steering` or one without room; DeviceError if a switch
        refuses. After an error, nothing has changed.
        """
        with self._fleet.lock:
            steering, desired = self._steering, self._fleet.desired
            network = _network(address)
            _check_name("service", service)
            if service in desired.services:
                raise MidflightError(f"there is a service {service!r} already", hint="remove it first, or weigh it")
            for other in desired.services.values():
                if mapped_prefix(other.address) == mapped_prefix(network):
                    raise MidflightError(f"{address} is the address of service {other.name!r}")
            self._check_hosts(network)
            desired, numbered = self._numbered(desired, weights, network)
            pool = Pool.of(_free(desired), numbered, steering.buckets)
            self._request(desired, Service(service, network, pool))

    def remove(self, service: str) -> None:
        """Stop steering requests to a service: they are routed to its address. MidflightError if there is no such
        service, DeviceError if a switch refuses; it then stays.
        """
        with self._fleet.lock:
            gone = self[service]
            desired = self._fleet.desired
            left = {name: each for name, each in desired.services.items() if each is not gone}
            used = _used(left.values())
            instances = {name: number for name, number in desired.instances.items() if number in used}
            self._change(replace(desired, services=left, instances=instances))

    def classify(self, service: str, traffic_class: str, rule: Rule, weights: Mapping[str, float]) -> None:
        """Give the requests of a service that `rule` matches weights of their own (C-TC).

        `traffic_class` is the name of the class, and `weights` are by the host's name. Replaces an earlier class of the
        same name. MidflightError if the service or a host is unknown, if the name is empty, if a weight is negative or
        not finite or all are 0, if another class of the service has the same rule, or if the program's `Steering` has
        no room; DeviceError if a switch refuses. Then nothing has changed.
        """
        with self._fleet.lock:
            found, steering = self[service], self._steering
            _check_name("class", traffic_class)
            desired, numbered = self._numbered(self._fleet.desired, weights, found.address)
            found = _undrained(found, numbered)
            for name, (other, _) in found.classes.items():
                if name != traffic_class and (other.match(), other.priority) == (rule.match(), rule.priority):
                    raise MidflightError(f"class {name!r} has the same rule", hint="give one of them another priority")
            held = found.classes.get(traffic_class)
            if held is None:
                pool = Pool.of(_free(desired), numbered, steering.buckets)
            else:
                pool = replace(held[1].weighted(numbered), static=numbered)
            classes = {**found.classes, traffic_class: (rule, pool)}
            self._request(desired, replace(found, classes=classes))

    def declassify(self, service: str, traffic_class: str) -> None:
        """Remove a class of a service, whose requests then have no class. MidflightError if there is no such service or
        class; DeviceError if a switch refuses, and the class then stays.
        """
        with self._fleet.lock:
            found = self[service]
            self._class(found, traffic_class)
            classes = {name: each for name, each in found.classes.items() if name != traffic_class}
            self._request(self._fleet.desired, replace(found, classes=classes))

    def weigh(
        self,
        service: str,
        weights: Mapping[str, float],
        *,
        traffic_class: str = "",
        switch: str = "",
        valid: float | None = None,
        computed: bool = False,
    ) -> int:
        """Set the weights of a service's instances, or of those of one of its classes; return how many buckets moved.

        A bucket counts once, no matter at how many switches it moved.

        `weights` are by the host's name; empty `traffic_class` means the requests without a class. Hosts that are left
        out get no new flows. As few flows move as possible. With `switch`, only the requests that enter the network
        there follow these weights; a later call without `switch` ends that. With `valid`, all weights of the service,
        also those of other classes, hold for this many seconds of the controller's clock: see `expire`. A later call
        without `valid`, for any class, makes them permanent. A weight above 0 ends the draining of an instance, unless
        the weights are `computed`, by a path selector: drained instances then get none.

        MidflightError if the service, the class, the switch or a host is unknown, if a weight is negative or not finite
        or all are 0, if `valid` is not a number above 0 and up to 1e9, or if a new instance exceeds what the program's
        `Steering` has room for; DeviceError if a switch refuses. Then nothing has changed.
        """
        with self._fleet.lock:
            found = self[service]
            if valid is not None and not (isinstance(valid, Real) and 0 < valid <= _LONGEST):
                raise MidflightError(f"weights cannot be valid for {valid!r} seconds; give a number above 0, up to 1e9")
            if switch:
                self._fleet.switch(switch)
            pool = found.pool if not traffic_class else self._class(found, traffic_class)[1]
            desired = self._fleet.desired
            if computed:
                drained = [name for name, number in desired.instances.items() if number in found.drained]
                weights = {name: 0.0 if name in drained else weight for name, weight in weights.items()}
            desired, numbered = self._numbered(desired, weights, found.address)
            found = _undrained(found, numbered)
            changed = pool.weighted(numbered, switch)
            until = None if valid is None else self._fleet.now() + round(valid * 1e9)
            self._request(desired, replace(found.with_pool(changed), until=until), written=changed != pool)
            where = [switch] if switch else ["", *pool.local]
            tables = [zip(pool.at(each), changed.at(each), strict=True) for each in where]
            return sum(any(one != other for one, other in bucket) for bucket in zip(*tables, strict=True))

    def balance(self, service: str, application: str) -> None:
        """Make the maps of a `Balance` follow the weights of a service, on all switches that run it, from now on.

        It then chooses between two instances by loads that replies carry, weighted as the service is: the fast loop of
        the hybrid deployment. If `application` is empty, no `Balance` follows the service any longer, and the maps are
        cleared. MidflightError if there is no such service, if the application is no `Balance` of the program, if its
        buckets are not as many as those of the `Steering`, if it has too few instances, or if it follows another
        service; DeviceError if a switch refuses.
        """
        with self._fleet.lock:
            found = self[service]
            if application:
                primitive = self._fleet.application(application).primitive
                if not isinstance(primitive, Balance):
                    raise MidflightError(f"{application} is not a Balance")
                if primitive.buckets != self._steering.buckets:
                    raise MidflightError(
                        f"{application} has {primitive.buckets} buckets, but the Steering {self._steering.buckets}",
                        hint="give both the same number",
                    )
                if (most := max(found.pool.instances)) > primitive.instances:
                    raise MidflightError(
                        f"instance {most} exceeds the {primitive.instances} instances of {application}"
                    )
                if other := [each.name for each in self._others(found) if each.balance == application]:
                    raise MidflightError(f"{application} follows the weights of service {other[0]!r} already")
            self._request(self._fleet.desired, replace(found, balance=application))

    def drain(self, service: str, host: str) -> None:
        """Give an instance of a service the weight 0 in all its pools: new flows go elsewhere.

        Pools are the sets of instances of the service itself and of each of its classes. Its entry remains, so requests
        for which a kernel such as `Balance` has chosen it still reach it. It stays drained, also when weights expire or
        a path selector computes others, until `weigh` or `classify` gives it a weight above 0. MidflightError if there
        is no such service, if the host is not an instance of the service, or if this would leave a pool without an
        instance; DeviceError if a switch refuses.
        """
        with self._fleet.lock:
            found, instances = self[service], self._fleet.desired.instances
            used = _used([found])
            number = instances.get(host)
            if number not in used:
                names = ", ".join(name for name, each in instances.items() if each in used)
                raise MidflightError(f"{host} is not an instance of {service!r}", hint=f"instances: {names}")
            for pool in found.pools:
                drained = pool.drained(number)
                if not any(drained.weights.values()):
                    raise MidflightError(
                        f"{host} is the last instance of {service!r}", hint="add another one, or remove the service"
                    )
                found = found.with_pool(drained)
            self._request(self._fleet.desired, replace(found, drained=tuple(sorted({*found.drained, number}))))

    def expire(self) -> tuple[str, ...]:
        """Return to the static weights of the services whose weights have expired, and return their names.

        Drained instances stay without a weight, unless only they have a static one.
        Without this call, the last weights hold. DeviceError if a switch refuses; services that came before have
        returned.
        """
        with self._fleet.lock:
            now, gone = self._fleet.now(), []
            for name, service in self._fleet.desired.services.items():
                if service.until is not None and service.until <= now:
                    for pool in service.pools:
                        static = {each: 0.0 if each in service.drained else it for each, it in pool.static.items()}
                        service = service.with_pool(pool.weighted(static if any(static.values()) else pool.static))
                    self._request(self._fleet.desired, replace(service, until=None))
                    gone.append(name)
            return tuple(gone)

    def instance(
        self,
        service: str,
        source: IPAddress | str,
        source_port: int = 0,
        port: int = 0,
        *,
        traffic_class: str = "",
        switch: str = "",
    ) -> str:
        """Return the name of the host that a flow's requests go to, or "" if its bucket has none.

        source: the client's address. source_port and port: the client's and the destination's UDP or TCP port, 0 for
        packets without ports. `switch` is where the requests enter the network; it only matters if that switch has
        weights of its own. Sends nothing: every switch computes the same. MidflightError if there is no such service or
        class, or if the address or a port is invalid.
        """
        found = self[service]
        for each in (source_port, port):
            if not 0 <= each <= 65535:
                raise MidflightError(f"a port is 0 to 65535, not {each}")
        pool = found.pool if not traffic_class else self._class(found, traffic_class)[1]
        table = pool.at(switch)
        number = table[bucket_of(mapped(_address(source)), source_port, port, len(table))]
        names = {each: name for name, each in self._fleet.desired.instances.items()}
        return names.get(number, "")

    def counters(self, switch: str) -> dict[str, Count]:
        """Return the packets and bytes that a switch has sent to each instance, by the name of its host.

        Instances to which the switch has no path are left out. Sends requests to the switch. MidflightError if there is
        no such switch; DeviceError if it does not answer, or if there has never been a session with it.
        """
        names = {each: name for name, each in self._fleet.desired.instances.items()}
        with self._fleet.lock:
            found = self._fleet.switch(switch).steering.steered()
        return {names[number]: count for number, count in found.items()}

    def served(self, switch: str = "") -> tuple[Served, ...]:
        """Return all services with their instances and classes, as a C-PS needs them: see `served.served_services`.

        Sends requests to the switches; those that do not answer count nothing. MidflightError if there is no switch of
        this name.
        """
        return served_services(self._fleet, self.counters, switch)

    def apply(self) -> None:
        """Write the services of the desired state to all switches that are on. Does nothing without a `Steering`.

        DeviceError if a switch refuses an entry; the switches before it have been written.
        """
        desired = self._fleet.desired
        self._write(desired)
        self._balance(replace(desired, services={}), desired)

    @property
    def _steering(self) -> Steering:
        steering = self._fleet.program.steering
        if steering is None:
            raise MidflightError("the program does not steer requests", hint="write Program(..., Steering())")
        return steering

    @staticmethod
    def _class(service: Service, name: str) -> tuple[Rule, Pool]:
        if name not in service.classes:
            known = ", ".join(service.classes) or "none"
            raise MidflightError(f"service {service.name!r} has no class {name!r}", hint=f"classes: {known}")
        return service.classes[name]

    def _numbered(
        self, desired: DesiredState, weights: Mapping[str, float], network: IPNetwork
    ) -> tuple[DesiredState, dict[int, float]]:
        """Return weights by the instances' numbers, and the desired state in which their hosts have numbers.

        `network` is the service's address, for which the hosts must be able to receive packets.
        """
        known = {each.name: each for each in self._fleet.whole.hosts}
        numbers = dict(desired.instances)
        for name, weight in weights.items():
            if name not in known:
                raise MidflightError(f"there is no host named {name}", hint=f"the hosts are {', '.join(sorted(known))}")
            if network.version == 6 and known[name].address.version == 4:
                raise MidflightError(
                    f"{name} has an IPv4 address and cannot receive packets for {network}",
                    hint="give the host an IPv6 address: with_ipv6() of a topology, or in the file of a network",
                )
            if name not in numbers:
                numbers[name] = _unused(numbers.values())
            if not (isinstance(weight, Real) and 0 <= weight <= float_info.max):
                raise MidflightError(f"the weight of {name} is {weight!r}; a weight is finite and at least 0")
        if not any(weights.values()):
            raise MidflightError("at least one instance needs a weight above 0")
        return replace(desired, instances=numbers), {numbers[name]: float(each) for name, each in weights.items()}

    def _check_hosts(self, network: IPNetwork) -> None:
        """Check that no host has an address of a service: packets to that host would go to an instance."""
        address, length = mapped_prefix(network)
        for host in self._fleet.whole.hosts:
            if mapped(host.address) >> 128 - length == address >> 128 - length:
                what = "is" if length == 128 else "contains"
                raise MidflightError(
                    f"{network} {what} the address of host {host.name}, {host.address}",
                    hint="a service needs addresses that no host has",
                )

    def _request(self, desired: DesiredState, service: Service, *, written: bool = True) -> None:
        """Make a service part of the desired state. Without `written`, its entries are the same as before."""
        desired = replace(desired, services={**desired.services, service.name: service})
        if written:
            self._change(desired)
        else:
            self._fleet.request(desired)

    def _change(self, desired: DesiredState) -> None:
        """Write a desired state to the switches; if one refuses, write the previous one again and raise its error."""
        before = self._fleet.desired
        try:
            self._write(desired)
            self._balance(before, desired)
        except MidflightError:
            with suppress(DeviceError):  # the switch may have died; the first error is the one to raise
                self._write(before)
                self._balance(desired, before)
            raise
        self._fleet.request(desired)

    def _others(self, service: Service) -> list[Service]:
        return [each for each in self._fleet.desired.services.values() if each.name != service.name]

    def _balance(self, before: DesiredState, after: DesiredState) -> None:
        """Write the maps of the `Balance`s whose services have changed."""
        bound = {each.balance: each.pool for each in before.services.values() if each.balance}
        wanted = {each.balance: each.pool for each in after.services.values() if each.balance}
        for application in (*wanted, *(each for each in bound if each not in wanted)):
            if bound.get(application) == wanted.get(application):
                continue
            for name, switch in self._fleet.switches.items():
                if switch.on and application in switch.running.placed:
                    pool = wanted.get(application)
                    maps = balance_maps(pool.at(name), pool.weights_at(name)) if pool else _NO_MAPS
                    for attribute, entries in maps.items():
                        _replace(self._maps(application, attribute, name), entries)

    def _write(self, desired: DesiredState) -> None:
        fleet, services = self._fleet, tuple(desired.services.values())
        if fleet.program.steering is None:
            return
        used = _used(services)
        instances = {number: name for name, number in desired.instances.items() if number in used}
        if self._ways is None or self._ways[:2] != (fleet.graph, instances):
            self._ways = fleet.graph, instances, find_ways(fleet.graph, instances)
        entries = steering_entries(services, instances, self._ways[2], fleet.program.steering)
        for name, switch in fleet.switches.items():
            if switch.on:
                switch.steering.steer(entries.get(name, ()))


def _replace(held: ControlledMap, entries: Mapping[Key, int]) -> None:
    """Write the entries that differ, and remove the others."""
    there = dict(held.items())
    for key, value in entries.items():
        if there.get(key) != value:
            held[key] = value
    for key in there:
        if key not in entries:
            del held[key]


def _network(address: str) -> IPNetwork:
    try:
        return ip_network(address)
    except ValueError as error:
        raise MidflightError(f"{address!r} is not the address or prefix of a service: {error}") from None


def _address(address: IPAddress | str) -> IPAddress:
    if isinstance(address, IPv4Address | IPv6Address):
        return address
    try:
        return ip_address(address)
    except ValueError as error:
        raise MidflightError(f"not the address of a client: {error}") from None


def _check_name(what: str, name: str) -> None:
    if not name:
        raise MidflightError(f"the name of a {what} must not be empty")


def _free(desired: DesiredState) -> int:
    """Return the number for another pool."""
    return _unused([pool.number for each in desired.services.values() for pool in each.pools])


def _unused(taken: Collection[int]) -> int:
    """Return the smallest number from 1 that is not taken."""
    return next(number for number in range(1, len(taken) + 2) if number not in taken)


def _undrained(service: Service, weights: Mapping[int, float]) -> Service:
    """Return the service in which instances with a weight above 0 are no longer drained."""
    return replace(service, drained=tuple(each for each in service.drained if not weights.get(each)))


def _used(services: Iterable[Service]) -> dict[int, None]:
    """Return the numbers of the instances that have a weight in a pool, as keys."""
    pools = [pool for each in services for pool in each.pools]
    return dict.fromkeys(number for pool in pools for number in pool.instances)
