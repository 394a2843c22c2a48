"""A scenario of compute-aware forwarding: clients' demand, ingresses, sites, instances, and what happens to them.

Times are in microseconds, places in kilometres, sizes in bytes. `file.py` reads scenarios from YAML.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from midflight.errors import MidflightError

__all__ = [
    "CONTROLLER",
    "Failure",
    "Ingress",
    "Instance",
    "Metrics",
    "Scenario",
    "ServiceClass",
    "Sessions",
    "Site",
    "Surge",
]

SHORTEST = 1000.0
"""The shortest interval and round of the metrics, in microseconds."""

LEAST_LOAD, MOST_LOAD = 0.01, 2.0  # the limits of the offered load in files and of --load
SECONDS, WARMUP = 5.0, 1.0  # of a scenario, by default


@dataclass(frozen=True, slots=True)
class Sessions:
    """Requests that belong together, and that one instance serves (instance affinity, RFC 10054).

    A session has `requests` requests, one every `interval` microseconds. Its client moves on to the next ingress after
    each `dwell` microseconds; 0 is never. To move it to another instance, `state` bytes are transferred.
    """

    requests: int
    interval: float
    dwell: float = 0.0
    state: int = 0


@dataclass(frozen=True, slots=True)
class ServiceClass:
    """Requests for one service (CS-ID), with a service level objective `slo` for the time to the reply (microseconds).

    `request` and `reply` are sizes in bytes. `sessions` describes requests that belong together; None if none do.
    `cv2` is the squared coefficient of variation of the service time: 0 constant, 1 exponential (gamma distributions).
    `share` is the part of the servers that is meant for this class where several classes use them.
    """

    name: str
    slo: float
    request: int = 200
    reply: int = 200
    cv2: float = 1.0
    share: float = 1.0
    sessions: Sessions | None = None


@dataclass(frozen=True, slots=True)
class Ingress:
    """An ingress CATS-Forwarder at a place (`x`, `y`) in kilometres. Its part of the demand is proportional to
    `weight`.
    """

    name: str
    x: float = 0.0
    y: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Site:
    """A service site behind an egress CATS-Forwarder, over a link of `rate` bits a second. `x` and `y` are kilometres.

    A packet needs `access` microseconds, plus the propagation over the distance, and passes `hops` forwarders. `carbon`
    is the carbon intensity of the electricity there, in grams of CO2 a kilowatt-hour.
    """

    name: str
    x: float = 0.0
    y: float = 0.0
    access: float = 50.0
    rate: float = 10e9
    hops: int = 1
    carbon: float = 300.0


@dataclass(frozen=True, slots=True)
class Instance:
    """A service contact instance (CSCI-ID) at a site: `servers` requests at a time.

    `serves` has, by class, the mean service time in microseconds.
    Without `queue`, as in the slots of a switch, a request that finds no free server is forwarded to another instance.
    A busy server needs `watts` more than an idle one.
    """

    name: str
    site: str
    serves: dict[str, float]
    servers: int = 1
    watts: float = 10.0
    queue: bool = True


@dataclass(frozen=True, slots=True)
class Surge:
    """A change of the demand for a service: it is multiplied by `factor` from `start` to `end`, in microseconds.

    Only the demand at the ingress named `ingress` changes, or at all ingresses if the name is empty.
    """

    service: str
    start: float
    end: float
    factor: float
    ingress: str = ""

    def check(self, classes: Collection[str], ingresses: Collection[str]) -> None:
        """Raise MidflightError if the service or ingress is unknown, or if the surge does not end after it starts."""
        if self.service not in classes or (self.ingress and self.ingress not in ingresses):
            raise MidflightError(f"there is no class {self.service} at ingress {self.ingress or 'any'}")
        _check_span(self.start, self.end)


CONTROLLER = "controller"
"""The name of the C-PS in a failure."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something fails at `start` and comes back at `end`, in microseconds.

    `name` is that of an instance, a site with all its instances, or an ingress; "INGRESS SITE" is the path between
    them, and "controller" the C-PS of the centralised deployments. What was under way there is lost, and sent again.
    """

    name: str
    start: float
    end: float

    def check(self, known: Collection[str], ingresses: Collection[str], sites: Collection[str]) -> None:
        """Raise MidflightError if the name is unknown, or if the failure does not end after it starts.

        `known` are the names of sites and instances. The name may also be that of an ingress, "INGRESS SITE" for the
        path between them, or "controller".
        """
        ingress, _, site = self.name.partition(" ")
        path = ingress in ingresses and site in sites
        if not path and self.name != CONTROLLER and self.name not in (*known, *ingresses):
            raise MidflightError(f"there is no site, instance, ingress or path {self.name} that could fail")
        _check_span(self.start, self.end)


def _check_span(start: float, end: float) -> None:
    if not 0.0 <= start < end:
        raise MidflightError(f"a surge or failure must end after it starts: from {start:g} us to {end:g} us")


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics' way to the C-PS: agents report every `interval`, and reports travel for `delay`. In microseconds.

    The C-PS plans every `round`. A part `stale` of the instances reports values that are `stale_by` older, in replies
    too. A dead instance is known after `detect`.
    """

    interval: float = 50_000.0
    delay: float = 2_000.0
    round: float = 200_000.0
    stale: float = 0.0
    stale_by: float = 1_000_000.0
    detect: float = 10_000.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole scenario. `load` is the offered work as a part of what all servers of a service can do.

    It lasts `seconds` of virtual time; the first `warmup` of them are not counted. `joules_per_megabyte` is the energy
    of a megabyte over one hop, with the network's carbon intensity `network_carbon`. `carbon_price` is the delay in
    microseconds that our policies accept to save a milligram of CO2. A kilometre takes `kilometre` microseconds.

    MidflightError if a name is unknown, if there are no classes or ingresses or no ingress has a weight above 0, if a
    class has no instance with a queue, if the warm-up is not shorter than the scenario, or if a time or rate that must
    be positive is not.
    """

    name: str
    classes: tuple[ServiceClass, ...]
    ingresses: tuple[Ingress, ...]
    sites: tuple[Site, ...]
    instances: tuple[Instance, ...]
    load: float = 0.7
    seconds: float = SECONDS
    warmup: float = WARMUP
    surges: tuple[Surge, ...] = ()
    failures: tuple[Failure, ...] = ()
    metrics: Metrics = field(default_factory=Metrics)
    kilometre: float = 5.0
    joules_per_megabyte: float = 1.0
    network_carbon: float = 300.0
    carbon_price: float = 0.0

    def __post_init__(self) -> None:
        sites, names = {each.name for each in self.sites}, {each.name for each in self.classes}
        if not self.ingresses or not self.classes:
            raise MidflightError("a scenario needs classes and ingresses")
        if not any(each.weight > 0 for each in self.ingresses):
            raise MidflightError("no ingress has a positive weight")
        if self.warmup >= self.seconds:
            raise MidflightError(f"a warmup of {self.warmup} s is not shorter than the duration of {self.seconds} s")
        for each in self.instances:
            if each.site not in sites:
                raise MidflightError(f"instance {each.name}: there is no site {each.site}")
            if missing := sorted(each.serves.keys() - names):
                raise MidflightError(f"instance {each.name}: there is no class {missing[0]}")
        for name in sorted(names):
            if not any(name in each.serves and each.queue for each in self.instances):
                raise MidflightError(f"class {name}: no instance with a queue serves it")
        mortal = sites | {each.name for each in self.instances}
        for failure in self.failures:
            failure.check(mortal, {each.name for each in self.ingresses}, sites)
        ingresses = {each.name for each in self.ingresses}
        for surge in self.surges:
            surge.check(names, ingresses)
        metrics = self.metrics
        if min(metrics.interval, metrics.round, metrics.detect, metrics.stale_by) <= 0.0:
            raise MidflightError("interval, round, detect and stale_by of the metrics must be positive")
        if min(metrics.interval, metrics.round) < SHORTEST:
            raise MidflightError("interval and round of the metrics take at least 1 ms")
        if any(each.rate <= 0.0 for each in self.sites):
            raise MidflightError("the rate of each site must be positive")
        if any(each.sessions and each.sessions.interval <= 0.0 for each in self.classes):
            raise MidflightError("the interval of the requests of a session must be positive")
