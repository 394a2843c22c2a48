"""The commands about services of compute-aware forwarding, those of `midflight service` and `midflight cps`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from ipaddress import ip_network
from typing import Any

from midflight.errors import MidflightError
from midflight.runtime.controller.deployment import Deployment
from midflight.runtime.controller.observe.events import Event
from midflight.runtime.controller.service.server import Call
from midflight.runtime.controller.service.wire import Json
from midflight.runtime.steering.service import Rule

__all__ = ["SteeredServices"]

_RULE = ("source", "protocol", "port", "dscp", "flow_label", "application", "priority")
_PATIENCE = 0.5  # seconds between two comparisons for `watch`


class SteeredServices:
    """The commands about the services of a deployment, as methods like those of `Commands`.

    Those that change a service raise DeviceError if a switch refuses. After any error, nothing has changed.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    @property
    def calls(self) -> list[Call]:
        """The commands with one result."""
        return [
            self.services,
            self.add_service,
            self.remove_service,
            self.classify_service,
            self.declassify_service,
            self.weigh_service,
            self.balance_service,
            self.drain_service,
        ]

    def services(self, arguments: Json) -> Json:
        """Return `services`, each as `steering.cps.rounds.Served` with `valid` and `local`.

        `valid` is for how many seconds its weights hold, None if they are permanent. `local` are the switches that have
        weights of their own. Argument: `switch`, the ingress as which to see them, all if it is left out. Reads
        counters from the switches. MidflightError if there is no such switch.
        """
        controller = self._deployment.controller
        with controller.fleet.lock:
            now, served = controller.fleet.now(), controller.services.served(str(arguments.get("switch", "")))
            found = []
            for each in served:
                service = controller.services[each.name]
                valid = None if service.until is None else max(0.0, (service.until - now) / 1e9)
                found.append({**asdict(each), "valid": valid, "local": [*service.pool.local]})
        return {"services": found}

    def add_service(self, arguments: Json) -> Json:
        """Start steering to a service: see `Services.add`. Arguments: `service`, `address` and `weights`, by host.

        Return all three. MidflightError if the name or the address is in use or invalid, if a host is unknown, if
        `weights` is not an object, if a weight is not finite and at least 0, if all are 0, or if the program has no
        `Steering` or one without room.
        """
        name, address, weights = str(arguments["service"]), str(arguments["address"]), _weights(arguments)
        self._deployment.controller.services.add(name, address, weights)
        self._emit("service-added", f"{name} at {address} is served by {', '.join(weights)}")
        return {"service": name, "address": address, "weights": weights}

    def remove_service(self, arguments: Json) -> Json:
        """Stop steering to a service: its requests are routed to its address. Argument: `service`.

        Return it. MidflightError if there is no such service.
        """
        name = str(arguments["service"])
        self._deployment.controller.services.remove(name)
        self._emit("service-removed", f"requests to {name} are routed to its address")
        return {"service": name}

    def classify_service(self, arguments: Json) -> Json:
        """Give requests that match a rule weights of their own: see `Services.classify`.

        Arguments: `service`, `class`, `weights`, by host, and those of a `Rule` that may be left out: `source`, a
        network as text, `protocol`, `port`, `dscp`, `flow_label`, `application` and `priority`, numbers. Return the
        service, the class and the weights. MidflightError if the service or a host is unknown, if a value is out of its
        range or no network, if a weight is not finite and at least 0, if all are 0, if another class has the same rule,
        or if the program's `Steering` has no room.
        """
        name, traffic_class, weights = str(arguments["service"]), str(arguments["class"]), _weights(arguments)
        given = {each: arguments[each] for each in _RULE if arguments.get(each) is not None}
        if wrong := [each for each in given if each != "source" and not isinstance(given[each], int)]:
            raise MidflightError(f"a rule's {wrong[0]} is a number, not {given[wrong[0]]!r}")
        try:
            source = ip_network(given.pop("source")) if "source" in given else None
        except ValueError as error:
            raise MidflightError(f"the source of a rule is a network: {error}") from None
        rule = Rule(source=source, **given)
        self._deployment.controller.services.classify(name, traffic_class, rule, weights)
        shown = ", ".join(f"{each}={value}" for each, value in arguments.items() if each in _RULE and value is not None)
        self._emit("service-classified", f"{name}: class {traffic_class} is {shown or 'all requests'}")
        return {"service": name, "class": traffic_class, "weights": weights}

    def declassify_service(self, arguments: Json) -> Json:
        """Remove a class: see `Services.declassify`. Arguments: `service` and `class`.

        Return both. MidflightError if there is no such service or class.
        """
        name, traffic_class = str(arguments["service"]), str(arguments["class"])
        self._deployment.controller.services.declassify(name, traffic_class)
        self._emit("service-declassified", f"{name}: requests of class {traffic_class} have no class any more")
        return {"service": name, "class": traffic_class}

    def weigh_service(self, arguments: Json) -> Json:
        """Set the weights of a service's instances: see `Services.weigh`.

        Arguments: `service`, `weights`, by host, and those that may be left out: `class`, `switch`, `valid`, in
        seconds, and `computed`. Return `service`, and as `moved` how many buckets have another instance. MidflightError
        if a name is unknown, if `weights` is not an object, if a weight or `valid` is out of its range, or if all
        weights are 0.
        """
        name, weights, valid = str(arguments["service"]), _weights(arguments), arguments.get("valid")
        traffic_class, switch = str(arguments.get("class", "")), str(arguments.get("switch", ""))
        moved = self._deployment.controller.services.weigh(
            name,
            weights,
            traffic_class=traffic_class,
            switch=switch,
            valid=None if valid is None else float(valid),
            computed=bool(arguments.get("computed", False)),
        )
        if moved:
            shown = ", ".join(f"{host} {weight:.3g}" for host, weight in weights.items())
            whose = f"{name}, class {traffic_class}" if traffic_class else name
            self._emit("service-weighed", f"{whose}: {shown}", switch, moved=moved)
        return {"service": name, "moved": moved}

    def balance_service(self, arguments: Json) -> Json:
        """Make a `Balance` follow a service's weights. Arguments: `service` and `application`, empty to end it.

        Return both. Errors are those of `Services.balance`.
        """
        name, application = str(arguments["service"]), str(arguments["application"])
        self._deployment.controller.services.balance(name, application)
        self._emit("service-balanced", f"{name}: {application or 'nothing'} chooses by loads")
        return {"service": name, "application": application}

    def drain_service(self, arguments: Json) -> Json:
        """Give an instance no new flows: see `Services.drain`. Arguments: `service` and `host`.

        Return both. MidflightError if the host is not an instance of the service, or is the last one with a weight.
        """
        name, host = str(arguments["service"]), str(arguments["host"])
        self._deployment.controller.services.drain(name, host)
        self._emit("service-drained", f"{name}: {host} gets no new flows")
        return {"service": name, "host": host}

    def watch(self, arguments: Json, listening: Callable[[], bool]) -> Iterator[Json]:
        """Yield what `services` returns, first now and then whenever it changes, until `listening` returns False.

        Argument: `switch`, the ingress as which to see them, all if it is left out. MidflightError if there is no such
        switch.
        """
        shown: Json = {}
        for _ in self._deployment.follow(listening, _PATIENCE):
            found = self.services(arguments)
            if found != shown:
                shown = found
                yield found

    def _emit(self, kind: str, message: str, switch: str = "", **details: Any) -> None:
        self._deployment.emit(Event(kind, message, switch=switch, details=details))


def _weights(arguments: Json) -> dict[str, float]:
    given = arguments["weights"]
    if not isinstance(given, dict):
        raise MidflightError("weights must be an object of numbers by host")
    return {str(host): weight for host, weight in given.items()}
