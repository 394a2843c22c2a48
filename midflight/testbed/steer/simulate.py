"""A discrete-event simulation of requests, instances and links, for one policy and one seed.

It works on requests, not on packets. A request travels to its site, waits for the site's link and then for a server, in
order of arrival, and is served. Its reply travels back and carries the instance's load. The same seed gives the same
result, bit for bit.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from midflight.testbed.steer.scenario import CONTROLLER
from midflight.testbed.steer.world import Requests, World

__all__ = ["Decider", "Report", "Run", "View", "simulate"]

_ARRIVE, _FINISH, _REPLY, _DISPATCH, _SAMPLE, _REPORT, _PLAN, _FAIL, _RECOVER, _DETECT, _AGAIN = range(11)


@dataclass(frozen=True, slots=True)
class Report:
    """The metrics of all instances at a time: requests in each one, and the busy share and service time since before.

    `at` has the time of measurement of each instance, -inf if there is none. `service` is relative to the mean
    service time that the instance's description gives.
    """

    at: list[float]
    load: list[int]
    busy: list[float]
    service: list[float]


@dataclass(slots=True)
class View:
    """The view of a decider on the simulation: which instances are known to be alive, the last report, and whether
    there is a `controller`. While an ingress chooses, `up` says which instances it can reach, as far as it knows.

    Only an oracle may read the rest: which instances are really alive, when each of their servers becomes free (a heap
    for each instance), when each site's link does, and the requests with their work.
    """

    seed: int
    up: list[bool]
    report: Report
    requests: Requests
    true_up: list[bool]
    free: list[list[float]]
    link: list[float]
    controller: bool = True


class Decider(Protocol):
    """Chooses instances: the policy with its state at all ingresses. Times are in microseconds of virtual time.

    Ingresses (`g`), classes (`c`), instances (`i`) and requests (`r`) are given by their numbers, from 0.
    """

    moves_sessions: bool
    """Whether `choose` is asked again when a session's client has moved to another ingress."""

    def choose(self, now: float, g: int, c: int, r: int, bound: int, without: int) -> int:
        """Return an instance for request `r` of class `c` at ingress `g`, or -1 to hold it until a reply arrives there.

        `bound` is the instance of its session so far, or -1. `without` is a switch that has refused it for want of a
        free slot, or -1: then only instances with a queue are possible.
        """

    def sent(self, g: int, c: int, i: int) -> None:
        """Count a request of class `c` that follows its session from ingress `g` to instance `i`, without a choice."""

    def replied(self, now: float, g: int, c: int, i: int, load: int, at: float) -> None:
        """Process a reply of instance `i` to a request of class `c`, which reaches ingress `g` at time `now`.

        It carries the instance's `load`, the number of requests in it, measured at time `at`.
        """

    def unanswered(self, g: int, i: int) -> None:
        """Forget a request to instance `i`, which has refused it, or has died before the reply."""

    def plan(self, now: float) -> None:
        """Run a round of the slow loop at time `now`, which adapts the shares of requests that instances get."""


@dataclass(slots=True)
class Run:
    """The results of a simulation.

    `latency` is the time from request to reply in microseconds, infinite if there was none by the end of the run, and
    `instance` the number of the one that served it. `moved` counts the moves of sessions from one instance to another,
    `refused` how often a full switch forwarded a request, `retried` how often one was sent again because a failure had
    lost it or its reply, and `reports` the metric updates. `last_sent` is when the last request was sent to what had
    failed, or over it, in microseconds, by number of the failure; failures that met no request are left out.
    """

    latency: NDArray[np.float64]
    instance: NDArray[np.int64]
    moved: int = 0
    refused: int = 0
    retried: int = 0
    reports: int = 0
    last_sent: dict[int, float] = field(default_factory=dict)


def simulate(world: World, requests: Requests, policy: Callable[[World, View], Decider], seed: int = 0) -> Run:
    """Return the run of these requests under a policy, until each has been answered or has no instance left.

    `policy` makes the decider for the scenario and its view of the run. `seed` is that of its random choices.
    """
    return _Simulation(world, requests, policy, seed).run()


class _Simulation:
    def __init__(self, world: World, requests: Requests, policy: Callable[[World, View], Decider], seed: int) -> None:
        self.world = world
        count = len(world.servers)
        nothing = Report([-math.inf] * count, [0] * count, [0.0] * count, [1.0] * count)
        self.free = [[0.0] * each for each in world.servers]
        self.link = [0.0] * len(world.scenario.sites)
        self.view = View(seed, [True] * count, nothing, requests, [True] * count, self.free, self.link)
        self.decider = policy(world, self.view)
        self.out = Run(np.full(len(requests), np.inf), np.full(len(requests), -1, dtype=np.int64))
        self.time: list[float] = requests.time.tolist()
        self.service: list[int] = requests.service.tolist()
        self.ingress: list[int] = requests.ingress.tolist()
        self.work: list[float] = requests.work.tolist()
        self.session: list[int] = requests.session.tolist()
        self.home: dict[int, tuple[int, int]] = {}
        self.events: list[tuple[float, int, int, int, int]] = []
        self.numbered = 0
        self.load = [0] * count
        self.epoch = [0] * count
        self.busy = [0.0] * count
        self.done = [0] * count
        self.done_work = [0.0] * count
        self.held: dict[tuple[int, int], deque[int]] = {}
        metrics = world.scenario.metrics
        late = round(metrics.stale * count)
        # Stale instances are spread over the list, so that neighbours differ.
        self.late = [(each * late) // count != ((each + 1) * late) // count for each in range(count)]
        self.samples: deque[tuple[float, list[int], list[float], list[float]]] = deque()
        self.pending: dict[int, Report] = {}
        self.carried: dict[int, tuple[float, int]] = {}
        self.broken: dict[int, None] = {}  # failures that have begun and not ended, by number
        self.known: dict[int, None] = {}  # those that have been detected
        self.all_up, self.true_up = self.view.up, self.view.true_up
        ingresses = {each.name: g for g, each in enumerate(world.scenario.ingresses)}
        sites = {each.name: s for s, each in enumerate(world.scenario.sites)}
        self.lost_ingress: dict[int, int] = {}
        self.lost_path: dict[int, tuple[int, int]] = {}
        for number, failure in enumerate(world.scenario.failures):
            ingress, _, site = failure.name.partition(" ")
            if ingress in ingresses and site in sites:
                self.lost_path[number] = ingresses[ingress], sites[site]
            elif failure.name in ingresses:
                self.lost_ingress[number] = ingresses[failure.name]
        self.fragile = bool(self.lost_ingress or self.lost_path)

    def failing(self, g: int, i: int) -> int:
        """Return the number of a failure between a client at an ingress and an instance, or -1."""
        for number in self.broken:
            if self.lost_ingress.get(number) == g or self.lost_path.get(number) == (g, self.world.site[i]):
                return number
        return -1

    def entered(self, now: float, r: int) -> bool:
        """Move a request whose ingress is known to be dead to the next one; return whether its ingress is alive.

        A request that reaches a dead one is sent again after the detection time.
        """
        for _ in self.world.delay:
            dead = [number for number, g in self.lost_ingress.items() if g == self.ingress[r] and number in self.broken]
            if not dead:
                return True
            if dead[0] not in self.known:
                self.out.retried += 1
                self.out.last_sent[dead[0]] = now
                self.push(now + self.world.scenario.metrics.detect, _AGAIN, r, -1)
                return False
            self.ingress[r] = (self.ingress[r] + 1) % len(self.world.delay)
        self.push(now + self.world.scenario.metrics.detect, _AGAIN, r, -1)  # all are dead
        return False

    def reachable(self, g: int, up: list[bool], failures: dict[int, None]) -> list[bool]:
        """Return which instances are up and reachable from an ingress, with these failures of paths."""
        cut = [site for number, (one, site) in self.lost_path.items() if one == g and number in failures]
        return [each and self.world.site[i] not in cut for i, each in enumerate(up)] if cut else up

    def push(self, time: float, kind: int, a: int, b: int) -> None:
        self.numbered += 1
        heapq.heappush(self.events, (time, self.numbered, kind, a, b))

    def run(self) -> Run:
        metrics, scenario = self.world.scenario.metrics, self.world.scenario
        end = scenario.seconds * 1e6
        self.push(0.0, _PLAN, 0, 0)
        for k in range(1, int(end // metrics.interval) + 1):
            self.push(k * metrics.interval, _SAMPLE, k, 0)
        for k in range(1, int(end // metrics.round) + 1):
            self.push(k * metrics.round, _PLAN, 0, 0)
        for number, failure in enumerate(scenario.failures):
            self.push(failure.start, _FAIL, number, 0)
            self.push(failure.end, _RECOVER, number, 0)
        events, times, count, pop = self.events, self.time, len(self.time), heapq.heappop
        following = 0
        while events or following < count:
            if following < count and (not events or times[following] <= events[0][0]):
                self.dispatch(times[following], following, -1)
                following += 1
                continue
            now, _, kind, a, b = pop(events)
            if kind == _ARRIVE:
                self.arrive(now, a, b)
            elif kind == _FINISH:
                self.finish(now, a, b)
            elif kind == _REPLY:
                self.reply(now, a, b)
            else:
                self.rare(now, kind, a, b)
        return self.out

    def dispatch(self, now: float, r: int, without: int) -> None:
        if not self.fragile:
            self.choose(now, r, without)
        elif self.entered(now, r):
            g = self.ingress[r]
            self.view.up = self.reachable(g, self.all_up, self.known)
            self.view.true_up = self.reachable(g, self.true_up, self.broken)
            self.choose(now, r, without)
            self.view.up, self.view.true_up = self.all_up, self.true_up

    def choose(self, now: float, r: int, without: int) -> None:
        c, g, session = self.service[r], self.ingress[r], self.session[r]
        bound = -1
        if session >= 0 and session in self.home and without < 0:
            bound, before = self.home[session]
            if self.view.up[bound] and (before == g or not self.decider.moves_sessions):
                self.decider.sent(g, c, bound)
                self.send(now, r, g, bound)
                return
        i = self.decider.choose(now, g, c, r, bound, without)
        if i < 0:
            self.held.setdefault((g, c), deque()).append(r)
            return
        if session >= 0:
            if bound >= 0 and i != bound:
                self.out.moved += 1
            self.home[session] = i, g
        self.send(now, r, g, i)

    def send(self, now: float, r: int, g: int, i: int) -> None:
        if not self.true_up[i]:
            for number in self.failed(i):
                self.out.last_sent[number] = now
        self.numbered += 1
        heapq.heappush(self.events, (now + self.world.delay[g][i], self.numbered, _ARRIVE, r, i))

    def arrive(self, now: float, r: int, i: int) -> None:
        world, c = self.world, self.service[r]
        broken = self.failing(self.ingress[r], i) if self.fragile else -1
        if broken >= 0 and broken in self.lost_path:
            self.out.last_sent[broken] = now - world.delay[self.ingress[r]][i]
        if broken >= 0 or not self.true_up[i]:
            self.out.retried += 1
            self.out.instance[r] = i
            self.push(now + world.scenario.metrics.detect, _DISPATCH, r, -1)
            return
        free, site = self.free[i], world.site[i]
        ready = max(now, self.link[site]) + world.scenario.classes[c].request / world.rate[site]
        if not world.queue[i] and free[0] > ready:
            self.out.refused += 1
            self.push(now, _DISPATCH, r, i)
            return
        self.link[site] = ready
        took = world.service[c][i] * self.work[r]
        ends = max(ready, free[0]) + took
        heapq.heapreplace(free, ends)
        self.load[i] += 1
        self.out.instance[r] = i
        self.numbered += 1
        heapq.heappush(self.events, (ends, self.numbered, _FINISH, r, self.epoch[i]))

    def finish(self, now: float, r: int, epoch: int) -> None:
        i: int = int(self.out.instance[r])
        if epoch != self.epoch[i]:
            return  # its instance died, and the request was sent again
        self.load[i] -= 1
        c = self.service[r]
        self.busy[i] += self.world.service[c][i] * self.work[r]
        self.done[i] += 1
        self.done_work[i] += self.work[r]
        if self.fragile and self.failing(self.ingress[r], i) >= 0:  # the reply is lost
            self.out.retried += 1
            self.push(now + self.world.scenario.metrics.detect, _DISPATCH, r, -1)
            return
        back = self.world.delay[self.ingress[r]][i]
        self.out.latency[r] = now + back - self.time[r]
        self.numbered += 1
        if self.late[i]:
            self.carried[r] = self.late_load(now, i)
        heapq.heappush(self.events, (now + back, self.numbered, _REPLY, r, self.load[i]))

    def reply(self, now: float, r: int, load: int) -> None:
        g, c = self.ingress[r], self.service[r]
        i = int(self.out.instance[r])
        at, load = self.carried.pop(r) if self.late[i] else (now - self.world.delay[g][i], load)
        self.decider.replied(now, g, c, i, load, at)
        waiting = self.held.get((g, c))
        if waiting:
            self.dispatch(now, waiting.popleft(), -1)

    def rare(self, now: float, kind: int, a: int, b: int) -> None:
        metrics = self.world.scenario.metrics
        if kind == _DISPATCH:
            g, c = self.ingress[a], self.service[a]
            self.decider.unanswered(g, b if b >= 0 else int(self.out.instance[a]))
            self.dispatch(now, a, b)
            waiting = self.held.get((g, c))
            if waiting:
                self.dispatch(now, waiting.popleft(), -1)
        elif kind == _SAMPLE:
            self.sample(now, a)
        elif kind == _REPORT:
            self.view.report = self.pending.pop(a)
        elif kind == _AGAIN:
            self.dispatch(now, a, -1)
        elif kind == _PLAN:
            self.decider.plan(now)
        elif kind == _FAIL:
            self.broken[a] = None
            if self.world.scenario.failures[a].name == CONTROLLER:
                self.view.controller = False
            for i in self.victims(a):
                self.true_up[i] = False
                self.epoch[i] += 1
                self.load[i] = 0
                self.free[i] = [0.0] * self.world.servers[i]
            self.recall(now, set(self.victims(a)))
            self.push(now + metrics.detect, _DETECT, a, 0)
        elif kind == _RECOVER:
            self.broken.pop(a, None)
            self.known.pop(a, None)
            if self.world.scenario.failures[a].name == CONTROLLER:
                self.view.controller = True
            for i in self.victims(a):
                self.true_up[i] = self.view.up[i] = True
        elif kind == _DETECT:
            if a in self.broken:
                self.known[a] = None
            for i in self.victims(a):
                self.view.up[i] = self.true_up[i]
            held, self.held = self.held, {}
            for waiting in held.values():
                for r in waiting:
                    self.dispatch(now, r, -1)

    def recall(self, now: float, victims: set[int]) -> None:
        """Send the requests in dead instances again, once their clients' timeout has passed."""
        lost = [each[3] for each in self.events if each[2] == _FINISH and int(self.out.instance[each[3]]) in victims]
        for r in sorted(each for each in lost if self.out.latency[each] == math.inf):
            self.out.retried += 1
            self.push(now + self.world.scenario.metrics.detect, _DISPATCH, r, -1)

    def victims(self, number: int) -> list[int]:
        name, scenario = self.world.scenario.failures[number].name, self.world.scenario
        return [index for index, each in enumerate(scenario.instances) if name in (each.name, each.site)]

    def failed(self, i: int) -> list[int]:
        return [number for number in range(len(self.world.scenario.failures)) if i in self.victims(number)]

    def sample(self, now: float, number: int) -> None:
        metrics = self.world.scenario.metrics
        count, span = len(self.load), metrics.interval
        busy = [min(1.0, self.busy[i] / span / self.world.servers[i]) for i in range(count)]
        service = [self.done_work[i] / self.done[i] if self.done[i] else 1.0 for i in range(count)]
        self.samples.append((now, list(self.load), busy, service))
        self.busy, self.done, self.done_work = [0.0] * count, [0] * count, [0.0] * count
        while len(self.samples) > 1 and self.samples[1][0] <= now - metrics.stale_by:
            self.samples.popleft()
        old, fresh = self.samples[0], self.samples[-1]
        there = old[0] <= now - metrics.stale_by
        chosen = [(old if there else None) if self.late[i] else fresh for i in range(count)]
        self.pending[number] = Report(
            [each[0] if each else -math.inf for each in chosen],
            [each[1][i] if each else 0 for i, each in enumerate(chosen)],
            [each[2][i] if each else 0.0 for i, each in enumerate(chosen)],
            [each[3][i] if each else 1.0 for i, each in enumerate(chosen)],
        )
        self.out.reports += count
        self.push(now + metrics.delay, _REPORT, number, 0)

    def late_load(self, now: float, i: int) -> tuple[float, int]:
        """Return the load that a stale instance's reply carries, of `stale_by` ago, with the time of measurement."""
        limit, found = now - self.world.scenario.metrics.stale_by, (-math.inf, 0)
        for time, load, _, _ in self.samples:
            if time > limit:
                break
            found = time, load[i]
        return found
