"""The tables that a simulation works on, computed once from a scenario, and the requests of one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from midflight.errors import MidflightError
from midflight.testbed.steer.scenario import Scenario, ServiceClass

__all__ = ["Requests", "World", "requests"]

MOST = 20_000_000
"""The largest number of requests of a seed."""

Numbers = NDArray[np.float64]
Indexes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of one seed in order of time: when, for which class, from which ingress, and how much work.

    `time` is in microseconds from the start; `service` and `ingress` are numbers of classes and ingresses, from 0.
    `work` is relative to the class's mean. `session` is the number of its session, -1 for none. `flow` is a hash of the
    client's flow, for ECMP.
    """

    time: Numbers
    service: Indexes
    ingress: Indexes
    work: Numbers
    session: Indexes
    flow: Indexes

    def __len__(self) -> int:
        return len(self.time)


class World:
    """A scenario as tables with numbers for names.

    `pools` has the instances of each class. `delay[g][i]` is the way from ingress g to instance i in microseconds, and
    `hops[i]` its number of forwarders. `service[c][i]` is the mean service time of class c there, in microseconds.
    `site`, `servers` and `queue` have, by instance, the number of its site, how many requests it serves at a time, and
    whether others wait for a server.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        sites = {each.name: number for number, each in enumerate(scenario.sites)}
        self.site = [sites[each.site] for each in scenario.instances]
        self.servers = [each.servers for each in scenario.instances]
        self.queue = [each.queue for each in scenario.instances]
        self.pools = [
            [number for number, each in enumerate(scenario.instances) if one.name in each.serves]
            for one in scenario.classes
        ]
        self.service = [[each.serves.get(one.name, 0.0) for each in scenario.instances] for one in scenario.classes]
        ingress = np.array([(each.x, each.y) for each in scenario.ingresses])
        place = np.array([(each.x, each.y) for each in scenario.sites])
        distance = np.sqrt(((ingress[:, None, :] - place[None, :, :]) ** 2).sum(axis=2))
        access = np.array([each.access for each in scenario.sites])
        self.site_delay: Numbers = access[None, :] + scenario.kilometre * distance
        self.delay: list[list[float]] = self.site_delay[:, self.site].tolist()
        self.hops = [scenario.sites[each].hops for each in self.site]
        self.rate = [each.rate / 8e6 for each in scenario.sites]  # bytes in a microsecond

    def joules(self, c: int, i: int) -> tuple[float, float]:
        """Return the joules of a mean request of class `c` at instance `i`: there, and in the network."""
        one, scenario = self.scenario.classes[c], self.scenario
        network = (one.request + one.reply) * 1e-6 * self.hops[i] * scenario.joules_per_megabyte
        return self.service[c][i] * 1e-6 * scenario.instances[i].watts, network

    def grams(self, c: int, i: int) -> float:
        """Return the grams of CO2 of a mean request of class `c` at instance `i`, with its way there and back."""
        there, network = self.joules(c, i)
        scenario = self.scenario
        return (there * scenario.sites[self.site[i]].carbon + network * scenario.network_carbon) / 3.6e6

    def capacity(self, service: int) -> float:
        """Return the requests a second that all servers of a class could answer."""
        one = self.scenario.classes[service]
        work = [self.servers[each] / self.service[service][each] for each in self.pools[service]]
        return one.share * sum(work) * 1e6


def requests(world: World, seed: int) -> Requests:
    """Return the requests of a seed. Each class and ingress has its own random numbers.

    MidflightError if there would be more than `MOST`.
    """
    scenario = world.scenario
    expected = scenario.load * scenario.seconds * sum(world.capacity(c) for c in range(len(scenario.classes)))
    if expected > MOST:
        raise MidflightError(
            f"there are at most {MOST:,} requests, not {expected:,.0f}",
            hint="shorten the duration, or reduce the load",
        )
    weights = np.array([each.weight for each in scenario.ingresses])
    weights = weights / weights.sum()
    parts: list[Requests] = []
    sessions = 0
    for c, one in enumerate(scenario.classes):
        rate = scenario.load * world.capacity(c) / 1e6
        for g in range(len(weights)):
            rng = np.random.default_rng((seed, c, g))
            made = _stream(world, rng, one, c, g, rate * weights[g], sessions)
            parts.append(made)
            sessions = max(sessions, int(made.session.max(initial=-1)) + 1)
    columns = {each: np.concatenate([getattr(part, each) for part in parts]) for each in Requests.__dataclass_fields__}
    order = np.argsort(columns["time"], kind="stable")
    return Requests(**{name: column[order] for name, column in columns.items()})


def _stream(
    world: World, rng: np.random.Generator, one: ServiceClass, c: int, g: int, rate: float, sessions: int
) -> Requests:
    scenario = world.scenario
    length = one.sessions.requests if one.sessions else 1
    highest = rate / length
    surges = [
        each
        for each in scenario.surges
        if each.service == one.name and each.ingress in ("", scenario.ingresses[g].name)
    ]
    for each in surges:
        highest *= max(1.0, each.factor)
    end = scenario.seconds * 1e6
    times = np.sort(rng.random(rng.poisson(highest * end)) * end)
    # Thinning: keep each arrival with a probability of the rate at its time divided by the highest rate.
    now = np.full(len(times), rate / length)
    for each in surges:
        now = np.where((times >= each.start) & (times < each.end), now * each.factor, now)
    times = times[rng.random(len(times)) * highest < now]
    if not one.sessions:
        count = len(times)
        return Requests(
            times,
            np.full(count, c),
            np.full(count, g),
            _work(rng, one.cv2, count),
            np.full(count, -1),
            rng.integers(0, 1 << 32, count),
        )
    steps = np.arange(length) * one.sessions.interval
    each_time = (times[:, None] + steps[None, :]).ravel()
    moved = (steps // one.sessions.dwell).astype(np.int64) if one.sessions.dwell else np.zeros(length, np.int64)
    ingress = np.tile((g + moved) % len(scenario.ingresses), len(times))
    session = np.repeat(np.arange(len(times)) + sessions, length)
    flow = np.repeat(rng.integers(0, 1 << 32, len(times)), length)
    work = _work(rng, one.cv2, len(each_time))
    kept = each_time < end
    return Requests(each_time[kept], np.full(int(kept.sum()), c), ingress[kept], work[kept], session[kept], flow[kept])


def _work(rng: np.random.Generator, cv2: float, count: int) -> Numbers:
    return rng.gamma(1.0 / cv2, cv2, count) if cv2 > 0.0 else np.ones(count)
