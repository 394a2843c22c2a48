"""Our C-PS and fast loop as a decider of a simulation, in each of the three deployments of RFC 10053."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from midflight.runtime.steering.agents.board import State, state_of
from midflight.runtime.steering.policies import (
    Damping,
    Plan,
    Problem,
    better,
    cumulative,
    expected_wait,
    pick,
    plan,
    static_shares,
    wait_of,
    worth_moving,
)
from midflight.testbed.steer.simulate import View
from midflight.testbed.steer.world import World

__all__ = ["DEPLOYMENTS", "Deployment", "Steering"]

Deployment = Literal["optimum", "centralised", "distributed", "hybrid"]
DEPLOYMENTS: tuple[Deployment, ...] = ("centralised", "distributed", "hybrid")

REACH = 12  # the groups nearest to an ingress that are options for it; the largest one is always an option
TAIL = 2.0  # the weight of waiting in the optimisation
HALF_LIFE = 8.0  # of a carried load, in mean service times
SLOPE = 2.0  # the requests in an instance that one outstanding request beyond the expected number stands for


@dataclass(frozen=True, slots=True)
class _Group:
    """Equal instances at one site, which the slow loop treats as one option."""

    site: int
    members: tuple[int, ...]
    servers: int


@dataclass(slots=True)
class _Table:
    """The candidates of a class at an ingress: instances, with the running sums of both choices' weights."""

    ids: list[int]
    first: list[float]
    second: list[float]


class Steering:
    """The slow loop and the fast loop.

    In the `hybrid` deployment the slow loop runs in a controller, and the fast loop in every ingress. `distributed` has
    a slow loop in each ingress too, which only knows its own demand and how busy instances are. `centralised` has no
    fast loop: ingresses follow the controller's weights. `optimum` is the textbook's form of the latter, a baseline:
    without damping, hysteresis, or more weight on waiting.
    """

    moves_sessions = True

    def __init__(self, world: World, view: View, deployment: Deployment) -> None:
        self._world, self._view = world, view
        self._fast = deployment in ("hybrid", "distributed")
        self._alone = deployment == "distributed"
        self._damping = Damping(1.0, 0.0) if deployment == "optimum" else Damping()
        self._tail = 1.0 if deployment == "optimum" else TAIL
        self._random = random.Random(f"{deployment} {view.seed}")
        ingresses, classes, count = range(len(world.delay)), range(len(world.pools)), len(world.servers)
        self._groups = _groups(world)
        self._parts = [[g] for g in ingresses] if self._alone else [list(ingresses)]
        self._base = [[[self._fixed(g, c, i) for i in range(count)] for c in classes] for g in ingresses]
        self._half = [HALF_LIFE * min(world.service[c][i] for i in world.pools[c]) for c in classes]
        self._options = [self._option_list(part) for part in self._parts]
        self._plans: list[Plan | None] = [None] * len(self._parts)
        self._tables: dict[tuple[int, int], _Table] = {}
        self._steady = [[[0.0] * count for _ in classes] for _ in ingresses]
        self._toll = [[[0.0] * count for _ in classes] for _ in ingresses]
        # What an ingress knows of each instance: the last load and its time, and its own requests.
        self._load = [[0.0] * count for _ in ingresses]
        self._at = [[float("-inf")] * count for _ in ingresses]
        self._outstanding = [[0] * count for _ in ingresses]
        self._expected = [[0.0] * count for _ in ingresses]
        self._sent = [[[0] * count for _ in classes] for _ in ingresses]
        self._demand = np.zeros((len(world.delay), len(world.pools)))
        self._rates = np.zeros((len(world.delay), len(world.pools), count))
        self._planned = 0.0

    def choose(self, now: float, g: int, c: int, r: int, bound: int, without: int) -> int:
        """Return the number of the instance for a request of class `c` at ingress `g`, at time `now` in microseconds.

        `bound` is the instance of its session so far, or -1, where it stays unless moving is worth it (`worth_moving`).
        `without` is a switch that has refused it for want of a free slot, or -1: then only instances with a queue are
        possible.
        """
        del r
        table, alive, draw = self._tables[g, c], self._view.up, self._random.random
        index = pick(table.first, draw())
        i = table.ids[index]
        if self._fast:
            other = pick(table.second, draw())
            if other == index:
                other = (index + 1) % len(table.ids)
            j = table.ids[other]
            i = better(i, j, self._cost(now, g, c, i, without), self._cost(now, g, c, j, without))
        if not alive[i] or (without >= 0 and not self._world.queue[i]):
            i = min(self._world.pools[c], key=lambda each: (self._cost(now, g, c, each, without), each))
        if bound >= 0 and alive[bound] and without < 0:
            stay, go = self._cost(now, g, c, bound, without), self._cost(now, g, c, i, without)
            if not worth_moving(stay, go, self._world.scenario.classes[c].slo):
                i = bound
        if without >= 0:
            self._sent[g][c][without] -= 1  # it did no work, and the demand must not count twice
        self.sent(g, c, i)
        return i

    def sent(self, g: int, c: int, i: int) -> None:
        """Count a request of class `c` that follows its session from ingress number `g` to instance number `i`."""
        self._load[g][i] += 1.0
        self._outstanding[g][i] += 1
        self._sent[g][c][i] += 1

    def replied(self, now: float, g: int, c: int, i: int, load: int, at: float) -> None:
        """Store the load that a reply of instance number `i` carries to ingress number `g`, if it was measured after
        the last one.

        `at` is the time of its measurement, in microseconds.
        """
        del now, c
        self._outstanding[g][i] -= 1
        if at > self._at[g][i]:
            self._load[g][i] = load
            self._at[g][i] = at

    def unanswered(self, g: int, i: int) -> None:
        """Forget a request from ingress number `g` to instance number `i` that will not be answered."""
        self._outstanding[g][i] -= 1
        self._load[g][i] = max(0.0, self._load[g][i] - 1.0)

    def plan(self, now: float) -> None:
        """Run a round of the slow loop at time `now` (microseconds), in the controller or in each ingress.

        While the controller has failed, plans that it would make stay as they are.
        """
        if not self._alone and not self._view.controller:
            return  # plans stay as they are
        span = (now - self._planned) / 1e6
        sent = np.array(self._sent, dtype=np.float64)
        if span > 0.0:
            self._rates = sent / span
            rate = self._rates.sum(axis=2)
            self._demand = 0.5 * (self._demand + rate) if self._demand.any() else rate
        for number, part in enumerate(self._parts):
            problem = self._problem(now, number, part)
            if problem.demands.any():
                made = plan(problem, self._plans[number], self._damping)
                self._plans[number] = made
            else:
                static, nothing = static_shares(problem), np.zeros(len(problem.of))
                made = Plan(static, static, nothing, nothing, True)
            self._install(number, made)
        if span > 0.0:  # by Little's law
            times = (np.array(self._base) + np.array(self._steady)) / 1e6
            self._expected = (sent / span * times).sum(axis=1).tolist()
        self._sent = [[[0] * len(each) for each in one] for one in self._sent]
        self._planned = now

    def _cost(self, now: float, g: int, c: int, i: int, without: int) -> float:
        """Return the expected time until the reply from an instance, and its toll, infinite if it is not available."""
        if not self._view.up[i] or (without >= 0 and not self._world.queue[i]):
            return float("inf")
        servers, service = self._world.servers[i], self._world.service[c][i]
        recent = wait_of(self._load[g][i], servers, service)
        excess = SLOPE * (self._outstanding[g][i] - self._expected[g][i]) * service / servers
        age = now - self._at[g][i]
        wait = expected_wait(recent, self._steady[g][c][i], excess, age, self._half[c])
        return self._base[g][c][i] + self._toll[g][c][i] + wait

    def _fixed(self, g: int, c: int, i: int) -> float:
        """Return the time to a reply without waiting, and what the operator adds for its carbon, in microseconds."""
        world, scenario = self._world, self._world.scenario
        carbon = scenario.carbon_price * 1e3 * world.grams(c, i) if scenario.carbon_price else 0.0
        return 2.0 * world.delay[g][i] + world.service[c][i] + carbon

    def _option_list(self, part: list[int]) -> list[tuple[int, int, int]]:
        """Return the options of a part's demands in order: ingress, class and group."""
        found = []
        for g in part:
            for c, pool in enumerate(self._world.pools):
                serving = [n for n, each in enumerate(self._groups) if each.members[0] in pool]
                serving.sort(key=lambda n: (self._base[g][c][self._groups[n].members[0]], n))
                largest = max(serving, key=lambda n: len(self._groups[n].members) * self._groups[n].servers)
                kept = serving[:REACH]
                found += [(g, c, n) for n in (kept if largest in kept else [*kept, largest])]
        return found

    def _problem(self, now: float, number: int, part: list[int]) -> Problem:
        world, scenario, groups = self._world, self._world.scenario, self._groups
        classes, sites, options = len(world.pools), len(scenario.sites), self._options[number]
        first = [each.members[0] for each in groups]
        slower = [sum(self._slower(now, i) for i in each.members) / len(each.members) for each in groups]
        usual = np.array([world.service[c][first[n]] for _, c, n in options]) / 1e6
        seconds = usual * np.array([slower[n] for _, _, n in options])
        size = np.array([scenario.classes[c].request / world.rate[groups[n].site] / 1e6 for _, c, n in options])
        position = {g: each for each, g in enumerate(part)}
        numbers = np.arange(len(options))
        background = np.zeros(len(groups) + sites)
        if self._alone:
            known = self._busy(now)
            busy = np.array([sum(known[i] * each.servers for i in each.members) for each in groups])
            background[: len(groups)] = np.maximum(0.0, busy - self._own(part))
        alive = [max(0.001, sum(self._view.up[i] for i in each.members)) for each in groups]
        return Problem(
            demands=self._demand[part].ravel(),
            of=np.array([position[g] * classes + c for g, c, _ in options]),
            fixed=np.array([self._base[g][c][first[n]] for g, c, n in options]) / 1e6 + seconds - usual + size,
            use_option=np.concatenate([numbers, numbers]),
            use_queue=np.array([n for _, _, n in options] + [len(groups) + groups[n].site for _, _, n in options]),
            use_seconds=np.concatenate([seconds, size]),
            servers=np.array([float(each.servers) for each in groups] + [1.0] * sites),
            copies=np.array(alive + [1.0] * sites),
            cv2=np.array([max(each.cv2 for each in scenario.classes)] * len(groups) + [1.0] * sites),
            background=background,
            tail=self._tail,
        )

    def _slower(self, now: float, i: int) -> float:
        """Return the measured service time relative to the described one: 1 if there is no measurement to trust."""
        return self._view.report.service[i] if self._trusted(now, i) else 1.0

    def _busy(self, now: float) -> list[float]:
        """Return how busy each instance is, from 0 to 1, by the last report.

        Without one that can be trusted, it is the mean of its group, or of all instances that serve the same.
        """
        report, instances = self._view.report, self._world.scenario.instances
        trusted = [self._trusted(now, i) for i in range(len(instances))]
        alike: dict[tuple[str, ...], list[int]] = {}
        for i, each in enumerate(instances):
            alike.setdefault(tuple(sorted(each.serves)), []).append(i)
        busy = list(report.busy)
        for neighbours in (*alike.values(), *(each.members for each in self._groups)):
            known = [report.busy[i] for i in neighbours if trusted[i]]
            if known:
                for i in neighbours:
                    busy[i] = report.busy[i] if trusted[i] else sum(known) / len(known)
        return busy

    def _trusted(self, now: float, i: int) -> bool:
        """Return whether the last report of an instance is fresh, or the last good one. Its validity is `stale_by`."""
        return state_of(now - self._view.report.at[i], self._world.scenario.metrics.stale_by) != State.GONE

    def _own(self, part: list[int]) -> NDArray[np.float64]:
        """Return the busy servers of each group that the requests of these ingresses caused in the last round."""
        rates = self._rates[part].sum(axis=0)
        busy = (rates * np.array(self._world.service)).sum(axis=0) / 1e6
        return np.array([float(busy[list(each.members)].sum()) for each in self._groups])

    def _install(self, number: int, made: Plan) -> None:
        """Write a plan to the ingresses: weights, and the waits and tolls that their fast loops compare with."""
        rows: dict[tuple[int, int], tuple[list[int], list[float], list[float]]] = {}
        for o, (g, c, n) in enumerate(self._options[number]):
            members = [i for i in self._groups[n].members if self._view.up[i]] or list(self._groups[n].members)
            ids, first, second = rows.setdefault((g, c), ([], [], []))
            ids += members
            first += [float(made.shares[o]) / len(members)] * len(members)
            second += [float(made.second[o]) / len(members)] * len(members)
            for i in members:
                self._steady[g][c][i] = float(made.waits[o]) * 1e6
                self._toll[g][c][i] = float(made.tolls[o]) * 1e6
        for key, (ids, first, second) in rows.items():
            self._tables[key] = _Table(ids, cumulative(first), cumulative(second))


def _groups(world: World) -> list[_Group]:
    """Return the instances as groups: those of one site that serve the same in the same time."""
    made: dict[tuple[object, ...], list[int]] = {}
    for i, each in enumerate(world.scenario.instances):
        key = (world.site[i], tuple(sorted(each.serves.items())), each.servers, each.queue, each.watts)
        made.setdefault(key, []).append(i)
    return [_Group(world.site[each[0]], tuple(each), world.servers[each[0]]) for each in made.values()]
