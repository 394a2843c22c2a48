"""A good placement for networks of any size: dynamic programming over the steps with shortest paths, then repair and
local search.

For steps without `split` that feed one step each, the placement of least bytes follows from one search with Dijkstra's
algorithm for each edge of the application: the cost of having the input at a device is the start of the search. What a
link or device cannot carry makes it dearer, and the search is repeated.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence

from midflight.runtime.placement.planner.costs import Costs
from midflight.runtime.placement.planner.model import Application, Flow, Network, Step
from midflight.runtime.placement.planner.solution import Arc, Solution, arcs_of, loads, value, violations

__all__ = ["rerouted", "search"]

_ROUNDS = 12
_ROOTS = 24  # candidates for the device that completes a split step
_LARGE = 400  # devices, above which there is no local search
_FAR = float("inf")


def search(network: Network, application: Application, costs: Costs, objective: str) -> Solution | None:
    """Return a placement of all steps that keeps all limits, and that is as good by the objective as the search finds.

    None if no placement that keeps all limits was found, which does not prove that there is none.
    """
    graph = _Graph(network, objective)
    best: Solution | None = None
    best_value = _FAR
    for _ in range(_ROUNDS):
        found = _construct(graph, application, costs)
        if found is None:
            break
        if not violations(network, application, found, costs):
            worth = value(network, application, found, objective)
            if worth < best_value:
                best, best_value = found, worth
            break
        graph.penalise(application, found, costs)
    if best is None:
        return None
    return _improved(graph, application, costs, objective, best, best_value)


class _Graph:
    """A network for searches: neighbours with weights, prices of full links, and steps that devices must not have."""

    def __init__(self, network: Network, objective: str) -> None:
        self.network = network
        self.objective = objective
        self.arcs = arcs_of(network)
        self.after: dict[str, list[str]] = {name: [] for name in network.devices}
        for one, other in self.arcs:
            self.after[one].append(other)
        self.price: dict[Arc, float] = {}
        self.banned: dict[str, set[str]] = {}
        self._near: dict[str, tuple[dict[str, float], dict[str, str]]] = {}
        self._fastest = max((rate for rate, _ in self.arcs.values()), default=1)

    def weight(self, arc: Arc) -> float:
        rate, delay = self.arcs[arc]
        if self.objective == "latency":
            own = delay + 1e-3
        elif self.objective == "spare":
            own = self._fastest / max(rate, 1)
        else:
            own = 1.0 + delay * 1e-9
        return own * (1.0 + self.price.get(arc, 0.0))

    def own_cost(self, name: str, packets: float) -> float:
        """Return what a step costs at a device beside the paths, in the unit of the paths' costs."""
        sheet = self.network.devices[name].sheet
        if self.objective == "latency":
            return float(sheet.latency or 0)
        if self.objective == "energy":
            return packets * (sheet.power or 0.0) / (sheet.packets_per_second or 1e9) * 1e9
        if self.objective == "spare" and sheet.packets_per_second:
            return packets / sheet.packets_per_second * 1e9
        return 0.0

    def allowed(self, step: Step, name: str, packets: float, costs: Costs) -> bool:
        sheet = self.network.devices[name].sheet
        if step.name in self.banned.get(name, ()):
            return False
        if sheet.packets_per_second is not None and packets > sheet.packets_per_second:
            return False
        return costs.fit(sheet, [step.name])

    def penalise(self, application: Application, found: Solution, costs: Costs) -> None:
        """Make full links dearer, and take a step from every crowded device."""
        self._near.clear()
        carried = loads(self.network, application, found)
        for arc, load in carried.links.items():
            if load > self.arcs[arc][0]:
                self.price[arc] = 2 * self.price.get(arc, 0.5) + load / max(self.arcs[arc][0], 1)
        for name, device in self.network.devices.items():
            steps = sorted(found.on(name))
            rate = device.sheet.packets_per_second
            busy = rate is not None and carried.devices.get(name, 0.0) > rate
            if steps and (busy or not costs.fit(device.sheet, steps)):
                self.banned.setdefault(name, set()).add(steps[-1])

    def distances(self, starts: Mapping[str, float], rate: float = 1.0) -> tuple[dict[str, float], dict[str, str]]:
        """Return the cost from the cheapest start to every device, and the device before it on that path."""
        found: dict[str, float] = {}
        before: dict[str, str] = {}
        queue = [(cost, name, "") for name, cost in sorted(starts.items()) if cost < _FAR]
        heapq.heapify(queue)
        while queue:
            cost, name, last = heapq.heappop(queue)
            if name in found:
                continue
            found[name] = cost
            before[name] = last
            if last and not self.network.devices[name].forwards:
                continue
            for other in self.after[name]:
                if other not in found:
                    heapq.heappush(queue, (cost + rate * self.weight((name, other)), other, name))
        return found, before

    def near(self, start: str) -> tuple[dict[str, float], dict[str, str]]:
        """Return the cost of one unit from a device to every other, and the device before it on that path."""
        if start in self._near:
            return self._near[start]
        after = self.after[start]
        devices = self.network.devices
        if len(after) == 1 and devices[after[0]].forwards and not devices[start].forwards:
            # Hosts on one switch share its search.
            found, before = self.near(after[0])
            own = self.weight((start, after[0]))
            found = {name: own + cost for name, cost in found.items()}
            found[start] = 0.0
            return found, {**before, after[0]: start, start: ""}
        self._near[start] = self.distances({start: 0.0})
        return self._near[start]

    def back(self, before: Mapping[str, str], end: str) -> tuple[str, ...]:
        """Return the path to a device, from the start that it belongs to."""
        path = [end]
        while before[path[-1]]:
            path.append(before[path[-1]])
        return tuple(reversed(path))


def _scale(graph: _Graph, rate: float) -> float:
    return 1.0 if graph.objective == "latency" else rate


def _construct(graph: _Graph, application: Application, costs: Costs) -> Solution | None:
    """Place the steps in order by dynamic programming, then fix places and paths backwards from the last."""
    flows = application.flows()
    users: dict[str, list[Flow]] = {}
    for each in flows:
        if each.maker:
            users.setdefault(each.maker, []).append(each)
    cost: dict[str, dict[str, float]] = {}  # by step, of having its result at each device where it may run
    for step in application.steps:
        inputs = [each for each in flows if each.taker == step.name]
        total = dict.fromkeys(graph.network.devices, 0.0)
        # The root of a sum of many inputs is found by its tree instead.
        for each in inputs if not step.split or len(inputs) <= _ROOTS else ():
            rate = _scale(graph, each.rate)
            if each.maker:
                found, _ = graph.distances(cost[each.maker], rate)
                rate = 1.0
            else:
                found, _ = graph.near(each.origin)
            for name in total:
                total[name] += found.get(name, _FAR) * rate
        packets = application.incoming(step) / application.packet
        least = 0.0 if step.split else packets
        for name in total:
            if graph.allowed(step, name, least, costs):
                total[name] += graph.own_cost(name, packets)
            else:
                total[name] = _FAR
        cost[step.name] = total
    return _fixed(graph, application, costs, flows, users, cost)


def _fixed(
    graph: _Graph,
    application: Application,
    costs: Costs,
    flows: Sequence[Flow],
    users: Mapping[str, Sequence[Flow]],
    cost: Mapping[str, Mapping[str, float]],
) -> Solution | None:
    at: dict[str, str] = {}
    paths: dict[str, tuple[str, ...]] = {}
    trees: dict[str, dict[str, str]] = {}
    helpers: dict[str, frozenset[str]] = {}
    for step in reversed(application.steps):
        ends = [each.target or at[each.taker] for each in users.get(step.name, ())]
        place = _place(graph, application, step, ends, users.get(step.name, ()), cost[step.name], flows, costs)
        if place is None:
            return None
        at[step.name] = place
        for each in users.get(step.name, ()):
            if each.taker and application.by_name[each.taker].split:
                continue
            _, before = graph.near(place)
            end = each.target or at[each.taker]
            if end not in before:
                return None
            paths[each.name] = graph.back(before, end)
    for step in application.steps:
        inputs = [each for each in flows if each.taker == step.name]
        if step.split:
            tree = _tree(graph, [each.origin or at[each.maker] for each in inputs], at[step.name])
            if tree is None:
                return None
            trees[step.name] = tree
            helpers[step.name] = _helpers(graph, application, step, tree, inputs, at, costs)
        else:
            for each in inputs:
                if each.origin:
                    _, before = graph.near(each.origin)
                    paths[each.name] = graph.back(before, at[step.name])
    return Solution(at, paths, trees, helpers)


def _place(
    graph: _Graph,
    application: Application,
    step: Step,
    ends: Sequence[str],
    users: Sequence[Flow],
    cost: Mapping[str, float],
    flows: Sequence[Flow],
    costs: Costs,
) -> str | None:
    """Return the device for a step whose results have to reach devices that are known already."""
    total = {name: each for name, each in cost.items() if each < _FAR}
    for each, end in zip(users, ends, strict=True):
        found, _ = graph.near(end)
        rate = _scale(graph, each.rate)
        total = {name: worth + rate * found[name] for name, worth in total.items() if name in found}
    if not total:
        return None
    order = sorted(total, key=lambda name: (total[name], name))
    if not step.split:
        return order[0]
    inputs = [each for each in flows if each.taker == step.name]
    origins = [each.origin for each in inputs if each.origin]
    unit = inputs[0].rate
    best: tuple[float, str] | None = None
    for name in _roots(graph, order, origins):
        tree = _tree(graph, origins, name)
        if tree is None:
            continue
        placed = {step.name: name}
        combine = _helpers(graph, application, step, tree, [each for each in inputs if each.origin], placed, costs)
        amounts = _amounts(tree, origins, name, combine, unit)
        worth = sum(amounts.values()) + unit * step.returns * len(tree) * step.keeps
        for each, end in zip(users, ends, strict=True):
            worth += each.rate * graph.near(end)[0].get(name, _FAR)
        if not _carries(graph, application, name, amounts):
            continue
        if best is None or worth < best[0]:
            best = worth, name
    return best[1] if best is not None else order[0]


def _roots(graph: _Graph, order: Sequence[str], origins: Sequence[str]) -> list[str]:
    """Return candidates for the root of a tree: the best by sums of distances, and devices in the middle."""
    if len(order) <= _ROOTS:
        return list(order)
    found, _ = graph.distances(dict.fromkeys(origins, 0.0))
    farthest = sorted(order, key=lambda name: (-found.get(name, -1.0), name))
    spread = [order[n * len(order) // 8] for n in range(8)]
    return list(dict.fromkeys([*order[: _ROOTS // 2], *farthest[:4], *spread]))


def _tree(graph: _Graph, origins: Iterable[str], root: str) -> dict[str, str] | None:
    """Return the next device towards the root for every device on shortest paths, which meet as early as they can."""
    found, before = graph.near(root)
    tree: dict[str, str] = {}
    for origin in origins:
        if origin not in found:
            return None
        name = origin
        while name != root and name not in tree:
            near = [
                other
                for other in graph.after[name]
                if other in found
                and (graph.network.devices[other].forwards or other == root)
                and found[other] + graph.weight((other, name)) <= found[name] * (1 + 1e-12)
            ]
            joined = [other for other in near if other in tree or other == root]
            tree[name] = min(joined or near or [before[name]])
            name = tree[name]
    return tree


def _helpers(
    graph: _Graph,
    application: Application,
    step: Step,
    tree: Mapping[str, str],
    inputs: Sequence[Flow],
    at: Mapping[str, str],
    costs: Costs,
) -> frozenset[str]:
    """Return the devices of a tree that get several inputs and can combine them."""
    root = at[step.name]
    arrives: dict[str, int] = {}
    for each in inputs:
        origin = each.origin or at.get(each.maker, root)
        arrives[origin] = arrives.get(origin, 0) + 1
    for after in tree.values():
        arrives[after] = arrives.get(after, 0) + 1
    rate = max((each.rate for each in inputs), default=0.0)
    return frozenset(
        name
        for name, number in arrives.items()
        if number > 1
        and name != root
        and name in tree
        and graph.allowed(step, name, number * rate / application.packet, costs)
    )


def _amounts(
    tree: Mapping[str, str], origins: Sequence[str], root: str, combine: frozenset[str], rate: float
) -> dict[Arc, float]:
    """Return the rate on each link of a tree."""
    below: dict[str, int] = dict.fromkeys([*tree, root], 0)
    for after in tree.values():
        below[after] = below.get(after, 0) + 1
    amount: dict[str, float] = {}
    for name in origins:
        amount[name] = amount.get(name, 0.0) + rate
    ready = [name for name, number in below.items() if not number]
    found: dict[Arc, float] = {}
    while ready:
        name = ready.pop()
        if name not in tree:
            continue
        after = tree[name]
        sent = min(amount.get(name, 0.0), rate) if name in combine else amount.get(name, 0.0)
        found[name, after] = sent
        amount[after] = amount.get(after, 0.0) + sent
        below[after] -= 1
        if not below[after]:
            ready.append(after)
    return found


def _carries(graph: _Graph, application: Application, root: str, amounts: Mapping[Arc, float]) -> bool:
    """Return whether links and root carry what a tree brings."""
    arrives = sum(load for (_, other), load in amounts.items() if other == root)
    rate = graph.network.devices[root].sheet.packets_per_second
    if rate is not None and arrives / application.packet > rate:
        return False
    return all(load <= graph.arcs[arc][0] for arc, load in amounts.items())


def _improved(
    graph: _Graph, application: Application, costs: Costs, objective: str, best: Solution, worth: float
) -> Solution:
    """Move one step at a time to a better device, until none helps."""
    network = graph.network
    flows = application.flows()
    for _ in range(4 if len(network.devices) <= _LARGE else 0):
        improved = False
        for step in application.steps:
            for name in network.devices:
                if name == best.at[step.name] or not costs.fit(network.devices[name].sheet, [step.name]):
                    continue
                moved = _rerouted(graph, application, costs, flows, {**best.at, step.name: name})
                if moved is None or violations(network, application, moved, costs):
                    continue
                found = value(network, application, moved, objective)
                if found < worth * (1 - 1e-9):
                    best, worth, improved = moved, found, True
        if not improved:
            break
    return best


def _rerouted(
    graph: _Graph, application: Application, costs: Costs, flows: Sequence[Flow], at: Mapping[str, str]
) -> Solution | None:
    """Return a solution with steps at given devices, on shortest paths."""
    paths, trees, helpers = {}, {}, {}
    searched: dict[str, Mapping[str, str]] = {}
    for step in application.steps:
        if step.split:
            inputs = [each for each in flows if each.taker == step.name]
            tree = _tree(graph, [each.origin or at[each.maker] for each in inputs], at[step.name])
            if tree is None:
                return None
            trees[step.name] = tree
            helpers[step.name] = _helpers(graph, application, step, tree, inputs, at, costs)
    for each in flows:
        if each.taker and application.by_name[each.taker].split:
            continue
        start, end = each.origin or at[each.maker], each.target or at[each.taker]
        if start not in searched:
            searched[start] = graph.near(start)[1]
        if end not in searched[start]:
            return None
        paths[each.name] = graph.back(searched[start], end)
    return Solution(at, paths, trees, helpers)


def rerouted(
    network: Network, application: Application, costs: Costs, at: Mapping[str, str], objective: str
) -> Solution | None:
    """Return the solution with each step at the device that `at` gives it, on shortest paths; limits may be exceeded.

    None if no path reaches one of the devices.
    """
    return _rerouted(_Graph(network, objective), application, costs, application.flows(), at)
