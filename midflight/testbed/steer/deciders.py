"""The baselines and the oracle as deciders of a simulation: their state at each ingress around the pure functions."""

from __future__ import annotations

import heapq
import math
import random
from bisect import bisect_left, insort

from midflight.runtime.steering.policies import baselines, mean_wait, worth_moving
from midflight.testbed.steer.scenario import Sessions
from midflight.testbed.steer.simulate import View
from midflight.testbed.steer.world import World

__all__ = ["BASELINES", "Baseline", "Oracle"]

BASELINES = ("nearest", "random", "round_robin", "ecmp", "least_loaded", "power_of_two", "jbsq2")


class Baseline:
    """One of the policies in `BASELINES`, by name, at every ingress.

    `power_of_two` compares the loads that replies carried to this ingress, and `least_loaded` the last metric report.
    `choose` raises ValueError for a name that is not in `BASELINES`.
    """

    moves_sessions = False

    def __init__(self, world: World, view: View, name: str) -> None:
        self._world, self._view, self._name = world, view, name
        self._random = random.Random(f"{name} {view.seed}")
        ingresses, classes = range(len(world.delay)), range(len(world.pools))
        self._delays = [[[world.delay[g][i] for i in world.pools[c]] for c in classes] for g in ingresses]
        self._hops = [[world.hops[i] for i in world.pools[c]] for c in classes]
        self._count = [[0 for _ in classes] for _ in ingresses]
        self._carried = [[0.0] * len(world.servers) for _ in ingresses]
        self._outstanding = [[0] * len(world.servers) for _ in ingresses]
        self._flow = view.requests.flow.tolist()

    def choose(self, now: float, g: int, c: int, r: int, bound: int, without: int) -> int:
        """Return the number of an instance of class `c` for request `r` at ingress `g`, or -1 to hold it until a reply
        arrives there.

        `without` is a switch that has refused the request, or -1: then only instances with a queue are possible. If
        none is, all are. `now` and the session's instance, `bound`, are ignored. ValueError if there is no such
        baseline.
        """
        del now, bound
        pool, alive = self._world.pools[c], self._view.up
        up = [alive[i] and (without < 0 or self._world.queue[i]) for i in pool]
        if not any(up):
            up = [True] * len(pool)
        index: int | None
        match self._name:
            case "nearest":
                index = baselines.nearest(self._delays[g][c], up)
            case "random":
                index = baselines.random_choice(up, self._random.random())
            case "round_robin":
                index = baselines.round_robin(up, self._count[g][c])
                self._count[g][c] += 1
            case "ecmp":
                index = baselines.ecmp(self._hops[c], up, self._flow[r])
            case "least_loaded":
                load, servers = self._view.report.load, self._world.servers
                index = baselines.least_loaded([load[i] / servers[i] for i in pool], self._delays[g][c], up)
            case "power_of_two":
                carried, servers = self._carried[g], self._world.servers
                first, second = (int(self._random.random() * len(pool)) for _ in range(2))
                if not (up[first] or up[second]):
                    first = baselines.nearest(self._delays[g][c], up)
                loads = {each: carried[pool[each]] / servers[pool[each]] for each in (first, second)}
                index = baselines.power_of_two(loads, up, first, second)  # type: ignore[arg-type]
            case "jbsq2":
                sent, servers = self._outstanding[g], self._world.servers
                index = baselines.jbsq([sent[i] / servers[i] for i in pool], self._delays[g][c], up, 2.0)
            case _:
                raise ValueError(f"there is no baseline {self._name}")
        if index is None:
            return -1
        self.sent(g, c, pool[index])
        return pool[index]

    def sent(self, g: int, c: int, i: int) -> None:
        """Count a request that follows its session from ingress number `g` to instance number `i`, without a choice."""
        del c
        self._outstanding[g][i] += 1

    def replied(self, now: float, g: int, c: int, i: int, load: int, at: float) -> None:
        """Store the load that a reply of instance number `i` carries to ingress number `g`, and count the reply."""
        del now, c, at
        self._carried[g][i] = load
        self._outstanding[g][i] = max(0, self._outstanding[g][i] - 1)

    def unanswered(self, g: int, i: int) -> None:
        """Forget a request from ingress number `g` to instance number `i` that will not be answered."""
        self._outstanding[g][i] = max(0, self._outstanding[g][i] - 1)

    def plan(self, now: float) -> None:
        """Do nothing: baselines have no slow loop."""


class Oracle:
    """A decider that knows exactly what is queued, in service and on the way everywhere, and how long each will take.

    It gives each request the earliest reply that is possible after the requests before it. Of later requests, it only
    knows how many those sessions will send that have begun: a session goes where its requests will wait least.
    """

    moves_sessions = True

    def __init__(self, world: World, view: View) -> None:
        self._world, self._view = world, view
        self._work: list[float] = view.requests.work.tolist()
        self._service: list[int] = view.requests.service.tolist()
        self._session: list[int] = view.requests.session.tolist()
        self._coming: list[list[tuple[float, int, int]]] = [[] for _ in world.scenario.sites]
        """The requests that have not reached each site yet: arrival, request and instance, in order of arrival."""
        self._order = [
            [
                sorted(pool, key=[2.0 * way + took for way, took in zip(delay, service, strict=True)].__getitem__)
                for pool, service in zip(world.pools, world.service, strict=True)
            ]
            for delay in world.delay
        ]
        self._sessions = [0] * len(world.servers)
        self._home: dict[int, int] = {}
        self._ends: list[tuple[float, int]] = []

    def choose(self, now: float, g: int, c: int, r: int, bound: int, without: int) -> int:
        """Return the number of the instance of class `c` that will have answered request `r` at ingress `g` first.

        `now` is in microseconds. `without` is a switch that has refused the request, or -1: then only instances with a
        queue are possible. For a request of a session, `bound` is its instance so far, or -1.
        """
        world, work = self._world, self._work[r]
        sessions = world.scenario.classes[c].sessions
        if sessions:
            return self._for_session(now, g, c, r, bound, sessions)
        delay, service, alive = world.delay[g], world.service[c], self._view.true_up
        best, best_finish = -1, math.inf
        for i in self._order[g][c]:
            possible = alive[i] and (without < 0 or world.queue[i])
            if possible and now + 2.0 * delay[i] + service[i] * work < best_finish:
                finish = self._finish(now, g, i, r)
                if finish < best_finish:
                    best, best_finish = i, finish
        if best < 0:
            best = next(i for i in self._order[g][c] if world.queue[i])
        insort(self._coming[world.site[best]], (now + delay[best], r, best))
        return best

    def _for_session(self, now: float, g: int, c: int, r: int, bound: int, sessions: Sessions) -> int:
        """Return the instance where requests of this session wait least, with the sessions that are there now."""
        world, session = self._world, self._session[r]
        while self._ends and self._ends[0][0] <= now:
            self._sessions[self._home.pop(heapq.heappop(self._ends)[1])] -= 1
        if session in self._home:
            self._sessions[self._home[session]] -= 1
        else:
            heapq.heappush(self._ends, (now + sessions.requests * sessions.interval, session))

        def cost(i: int) -> float:
            if not self._view.true_up[i]:
                return math.inf
            servers, service = world.servers[i], world.service[c][i]
            busy = (self._sessions[i] + 1) * service / sessions.interval / servers
            wait = mean_wait(servers, busy, world.scenario.classes[c].cv2, service) + max(0.0, busy - 0.995) * 1e9
            return 2.0 * world.delay[g][i] + service + wait

        best = min(world.pools[c], key=lambda i: (cost(i), i))
        if bound >= 0 and not worth_moving(cost(bound), cost(best), world.scenario.classes[c].slo):
            best = bound
        self._sessions[best] += 1
        self._home[session] = best
        return best

    def _finish(self, now: float, g: int, i: int, r: int) -> float:
        """Return when the reply to request `r` would arrive from instance `i`."""
        world, view = self._world, self._view
        site, delay = world.site[i], world.delay[g][i]
        coming = self._coming[site]
        passed = bisect_left(coming, (now, -1, -1))
        del coming[:passed]
        link, free, copied = view.link[site], view.free[i], False
        there, rate, classes = now + delay, world.rate[site], world.scenario.classes
        for arrival, other, where in coming:
            if arrival > there:
                break
            link = max(arrival, link) + classes[self._service[other]].request / rate
            if where == i:
                if not copied:
                    free, copied = free.copy(), True
                took = world.service[self._service[other]][i] * self._work[other]
                heapq.heapreplace(free, max(link, free[0]) + took)
        c = self._service[r]
        ready = max(there, link) + classes[c].request / rate
        if not world.queue[i] and free[0] > ready:
            return math.inf
        return max(ready, free[0]) + world.service[c][i] * self._work[r] + delay

    def sent(self, g: int, c: int, i: int) -> None:
        """Do nothing: requests of sessions that stay are known when they arrive."""

    def replied(self, now: float, g: int, c: int, i: int, load: int, at: float) -> None:
        """Do nothing: the oracle knows without replies."""

    def unanswered(self, g: int, i: int) -> None:
        """Do nothing: what died is no longer in the simulation's queues."""

    def plan(self, now: float) -> None:
        """Do nothing: the oracle has no slow loop."""
