"""The slow loop of a C-PS: round by round, what the network serves, what is demanded, and the weights for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from midflight.runtime.steering.cps.selector import Decision, PathSelector
from midflight.runtime.steering.policies.selector import Described

__all__ = ["Network", "Rounds", "Served", "ServedInstance"]


@dataclass(frozen=True, slots=True)
class ServedInstance:
    """An instance of a service: its host, the host's address (CSCI-ID), and its weights.

    `static` is the weight that it got when it was added, and `weight` the present one. `delay` is the time of the way
    to it in seconds, as the network's description has it. `reachable` says whether a path leads to it over switches
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
class Served:
    """A service: its name, its address or the first one of its prefix (CS-ID), and its instances."""

    name: str
    cs_id: str
    instances: tuple[ServedInstance, ...]


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
        switch: str = "",
        valid: float | None = None,
        computed: bool = False,
    ) -> int:
        """Set the weights of a service's instances, by host, and return how many buckets moved: see `Services.weigh`.

        `switch` is the ingress that they are for, empty for all; `valid` is for how many seconds, None without limit.
        With `computed`, drained instances get none.
        MidflightError if there is no such service or host, or if the weights cannot be written.
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
        self._demand: dict[str, float] = {}
        self._written: dict[str, tuple[dict[str, float], int]] = {}

    def round(self, now: int) -> dict[str, Decision]:
        """Run a round at `now`, in nanoseconds, and return the decisions by service.

        Weights are only written if they change, or to extend their validity. MidflightError if the controller does not
        answer or refuses some; UnsupportedError if the extra `steer` is not installed. The services before that one
        have their new weights then; the next round tries the others again.
        """
        services = self._network.served(self._switch)
        rates = self._rates(services, now)
        found = {}
        for each in services:
            demand = sum(rates.get(it.host, 0.0) for it in each.instances)
            before = self._demand.get(each.name)
            self._demand[each.name] = demand if before is None else 0.5 * (before + demand)
            found[each.name] = self._decide(each, now)
        addresses = [it.csci_id for each in services for it in each.instances]
        self.selector.forget(now, [each.cs_id for each in services], addresses)
        for known in (self._demand, self._written):
            for name in [name for name in known if name not in found]:
                del known[name]
        return found

    def _decide(self, service: Served, now: int) -> Decision:
        instances = [each for each in service.instances if not each.drained] or service.instances
        hosts = {each.csci_id: each.host for each in instances}
        described = [
            Described(each.csci_id, 2.0 * each.delay, max(each.static, 1e-6), self._service) for each in instances
        ]
        unreachable = [each.csci_id for each in instances if not each.reachable]
        made = self.selector.decide(service.cs_id, described, self._demand[service.name], now, unreachable)
        # Those that are dead are left out, so that not even flows that echo them stay there.
        weights = {hosts[name]: weight for name, weight in made.weights.items() if name not in made.dead or weight > 0}
        last, at = self._written.get(service.name, ({}, 0))
        # Half of the validity has passed: extend it.
        due = self._valid is not None and (now - at) / 1e9 >= self._valid / 2
        if due or weights != last:
            self._network.weigh(service.name, weights, switch=self._switch, valid=self._valid, computed=True)
            self._written[service.name] = weights, now
        return made

    def _rates(self, services: Sequence[Served], now: int) -> dict[str, float]:
        """Return the requests a second to each host since the last round, shared among the services it belongs to."""
        belongs: dict[str, int] = {}
        counts: dict[str, int] = {}
        for each in services:
            for it in each.instances:
                belongs[it.host] = belongs.get(it.host, 0) + 1
                counts[it.host] = it.requests
        rates = {}
        for host, count in counts.items():
            before, at = self._counted.get(host, (count, now))
            # A switch that restarted counts from 0 again.
            if now > at and count >= before:
                rates[host] = (count - before) / ((now - at) / 1e9) / belongs[host]
        self._counted = {host: (count, now) for host, count in counts.items()}
        return rates
