"""The slow loop of a C-PS: round by round, what the network serves, what is demanded, and the weights for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from midflight.runtime.steering.cps.selector import Decision, PathSelector
from midflight.runtime.steering.policies.selector import Described

_Of = tuple[str, str]

__all__ = ["Network", "Rounds", "Served", "ServedClass", "ServedInstance"]


@dataclass(frozen=True, slots=True)
class ServedInstance:
    """An instance of a service: its host, the host's address (CSCI-ID), and its weights.

    `static` is the weight that it was added with, and `weight` the present one. `delay` is that of the path to it in
    seconds, by the description of the network. `reachable` says whether a path leads to it over switches
    that are on. `requests` counts the requests that have been sent to it since some time in the past, for all services.
    A `drained` instance gets no new flows: its operator says so.
    """

    host: str
    csci_id: str
    static: float
    weight: float
    delay: float
    reachable: bool
    requests: int
    drained: bool = False


@dataclass(frozen=True, slots=True)
class ServedClass:
    """A traffic class of a service: its name, and its instances with their weights in this class."""

    name: str
    instances: tuple[ServedInstance, ...]


@dataclass(frozen=True, slots=True)
class Served:
    """A service: its name, its address or the first one of its prefix (CS-ID), its instances with their weights for
    requests without a class, and its classes.
    """

    name: str
    cs_id: str
    instances: tuple[ServedInstance, ...]
    classes: tuple[ServedClass, ...] = ()


class Network(Protocol):
    """What a C-PS needs of a controller; `controller.services` is one."""

    def served(self, switch: str = "") -> Sequence[Served]:
        """Return all services, as they are seen from an ingress, or from the whole network if `switch` is empty.

        MidflightError if there is no such switch, or if the controller does not answer.
        """

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
        """Set the weights of a service's instances, by host, and return how many buckets moved: see `Services.weigh`.

        `traffic_class` is the class that they are for, empty for requests without one; `switch` the ingress, empty for
        all; `valid` is for how many seconds, None without limit. With `computed`, drained instances get none.
        MidflightError if there is no such service, class or host, or if the weights cannot be written.
        """


class Rounds:
    """Runs the rounds of a C-PS for all services of a network.

    * selector: decides.
    * network: the controller's services.
    * switch: the ingress that the weights are for, in the distributed deployment; empty for all ingresses, in the
      centralised and the hybrid one. The demand is that of the ingress, or of all.
    * valid: the seconds for which weights hold. If the C-PS dies, the static weights return after that.
    * service: the mean service time in seconds of instances that do not report theirs.
    """

    def __init__(
        self,
        selector: PathSelector,
        network: Network,
        *,
        switch: str = "",
        valid: float | None = None,
        service: float = 0.01,
    ) -> None:
        self.selector = selector
        self._network, self._switch, self._valid, self._service = network, switch, valid, service
        self._counted: dict[str, tuple[int, int]] = {}  # requests of each host, and when
        # By service and class, which is empty for requests without one.
        self._demand: dict[_Of, float] = {}
        self._written: dict[_Of, tuple[dict[str, float], int]] = {}

    def round(self, now: int) -> dict[str, Decision]:
        """Run a round at `now`, in nanoseconds, and return the decisions by service, each with those of its classes.

        Weights are only written if they change, or to extend their validity. MidflightError if the controller does not
        answer or refuses some; UnsupportedError if the extra `steer` is not installed. The services before that one
        have their new weights then; the next round tries the others again.
        """
        services = self._network.served(self._switch)
        self._measure(services, now)
        found = {each.name: self._decide(each, now) for each in services}
        pools = _pools(services)
        self.selector.forget(
            now,
            [(each.cs_id, name) for each, name, _ in pools],
            [it.csci_id for _, _, instances in pools for it in instances],
        )
        there = [(each.name, name) for each, name, _ in pools]
        self._demand = {of: each for of, each in self._demand.items() if of in there}
        self._written = {of: each for of, each in self._written.items() if of in there}
        return found

    def _decide(self, service: Served, now: int) -> Decision:
        """Decide and write the weights of a service, then those of its classes."""
        made = self._weights(service, "", service.instances, now)
        self._write(service, "", service.instances, made, now)
        classes = {}
        for each in service.classes:
            # Only the instances that the class was given: others have weights because they replaced dead ones.
            given = tuple(it for it in each.instances if it.static > 0)
            own = self._weights(service, each.name, given, now)
            if own.all_dead and not made.all_dead:
                own = replace(made, dead=dict(made.dead) | dict(own.dead), source="service")
                self._write(service, each.name, service.instances, own, now)
            else:
                self._write(service, each.name, given, own, now)
            classes[each.name] = own
        return replace(made, classes=classes)

    def _weights(self, service: Served, name: str, instances: Sequence[ServedInstance], now: int) -> Decision:
        """Return the weights of some instances for the requests of a class, or for those without one if `name` is
        empty.
        """
        used = [each for each in instances if not each.drained] or instances
        described = [Described(it.csci_id, 2.0 * it.delay, max(it.static, 1e-6), self._service) for it in used]
        unreachable = [each.csci_id for each in used if not each.reachable]
        demand = self._demand[service.name, name]
        return self.selector.decide(service.cs_id, described, demand, now, unreachable, traffic_class=name)

    def _write(self, service: Served, name: str, instances: Sequence[ServedInstance], made: Decision, now: int) -> None:
        """Write the weights of a class, unless they are written already and hold for long enough."""
        hosts = {each.csci_id: each.host for each in instances}
        # Those that are dead are left out, so that not even flows that echo them stay there.
        weights = {hosts[it]: weight for it, weight in made.weights.items() if it not in made.dead or weight > 0}
        last, at = self._written.get((service.name, name), ({}, 0))
        # Half of the validity has passed: extend it.
        due = self._valid is not None and (now - at) / 1e9 >= self._valid / 2
        if due or weights != last:
            self._network.weigh(
                service.name, weights, traffic_class=name, switch=self._switch, valid=self._valid, computed=True
            )
            self._written[service.name, name] = weights, now

    def _measure(self, services: Sequence[Served], now: int) -> None:
        """Compute the demand of each class from the requests to each host since the last round, smoothed over rounds.

        Hosts count all requests together. They are shared among the pools of instances that a host belongs to, equally,
        as nothing counts by class.
        """
        belongs: dict[str, int] = {}
        counts: dict[str, int] = {}
        pools = _pools(services)
        for _, _, instances in pools:
            for it in instances:
                belongs[it.host] = belongs.get(it.host, 0) + 1
                counts[it.host] = it.requests
        rates = {}
        for host, count in counts.items():
            before, at = self._counted.get(host, (count, now))
            # A switch that restarted counts from 0 again.
            if now > at and count >= before:
                rates[host] = (count - before) / ((now - at) / 1e9) / belongs[host]
        self._counted = {host: (count, now) for host, count in counts.items()}
        for service, name, instances in pools:
            demand = sum(rates.get(it.host, 0.0) for it in instances)
            earlier = self._demand.get((service.name, name))
            self._demand[service.name, name] = demand if earlier is None else 0.5 * (earlier + demand)


def _pools(services: Sequence[Served]) -> list[tuple[Served, str, tuple[ServedInstance, ...]]]:
    """Return all pools of instances: the service, the class or "" for requests without one, and the instances."""
    return [
        pool
        for each in services
        for pool in ((each, "", each.instances), *((each, c.name, c.instances) for c in each.classes))
    ]
