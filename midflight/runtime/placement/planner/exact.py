"""The best placement and paths as a mixed-integer program.

Each flow takes a path of binary variables, one for each direction of a link. The devices of a split step form a tree
towards the one that completes it: a device that combines sends one unit on, any other all that it gets. What does not
fit a device together is excluded when a solution has it, for all devices with the same sheet, and the program is solved
again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf

from midflight.runtime.milp import Model, Solved
from midflight.runtime.placement.planner.costs import Costs
from midflight.runtime.placement.planner.model import Application, Flow, Network, Step
from midflight.runtime.placement.planner.solution import Arc, Solution, arcs_of

__all__ = ["solve"]

_SLIGHTLY = 1e-6  # the weight of bytes on links in the other objectives, which avoids detours


def solve(
    network: Network, application: Application, costs: Costs, objective: str, patience: float
) -> tuple[Solution | None, bool]:
    """Return the best solution found within `patience` seconds, or None, and whether that is proven.

    Proven means that no solution is better, or, for None, that there is none.
    """
    deadline = time.monotonic() + patience
    program = _Program(network, application, costs, objective)
    while True:
        solved = program.model.solve(deadline - time.monotonic())
        if solved.values is None:
            return None, solved.proven
        found = program.solution(solved)
        crowded = [
            (name, steps)
            for name in network.devices
            if len(steps := found.on(name)) > 1 and not costs.fit(network.devices[name].sheet, steps)
        ]
        if not crowded:
            return found, solved.proven
        if time.monotonic() > deadline:
            return None, False
        for name, steps in crowded:
            program.exclude(network.devices[name].sheet, steps)


class _Program:
    """The variables of the program: where steps are (`at`), paths of flows (`uses`), trees of split steps."""

    def __init__(self, network: Network, application: Application, costs: Costs, objective: str) -> None:
        self.network = network
        self.application = application
        self.objective = objective
        self.model = Model()
        self.arcs = arcs_of(network)
        self.out: dict[str, list[Arc]] = {name: [] for name in network.devices}
        self.into: dict[str, list[Arc]] = {name: [] for name in network.devices}
        for arc in self.arcs:
            self.out[arc[0]].append(arc)
            self.into[arc[1]].append(arc)
        flows = application.flows()
        # Rates are multiples of the fastest flow's, so that the solver's tolerances suit them.
        self.unit = max([each.rate for each in flows], default=1.0) or 1.0
        self.flows = tuple(replace(each, rate=each.rate / self.unit) for each in flows)
        self.at = {
            step.name: {
                name: self.model.variable(high=float(costs.fit(device.sheet, [step.name])))
                for name, device in network.devices.items()
            }
            for step in application.steps
        }
        self.helps: dict[str, dict[str, int]] = {}
        self.uses: dict[str, dict[Arc, int]] = {}
        self.next: dict[str, dict[Arc, int]] = {}
        self.sends: dict[str, dict[Arc, int]] = {}
        self.loads: dict[Arc, list[tuple[int, float]]] = {arc: [] for arc in self.arcs}
        self.packets: dict[str, list[tuple[int, float]]] = {name: [] for name in network.devices}
        self.times: dict[str, int] = {}
        self.rates = {name: rate / self.unit for name, rate in application.rates().items()}
        self._total = sum(each.rate for each in self.flows) + sum(self.rates.values())
        for step in application.steps:
            self.model.constrain([(each, 1) for each in self.at[step.name].values()], 1, 1)
            inputs = [each for each in self.flows if each.taker == step.name]
            if step.split:
                self._tree(step, inputs, costs)
            else:
                for each in inputs:
                    self._path(each)
                for name in network.devices:
                    amount = application.incoming(step) / self.unit
                    self.packets[name].append((self.at[step.name][name], amount))
        for each in self.flows:
            if each.target:
                self._path(each)
        self._limits()
        self._aim()

    def exclude(self, sheet: object, steps: frozenset[str]) -> None:
        """Forbid that steps are together on any device with this sheet."""
        for name, device in self.network.devices.items():
            if device.sheet is sheet:
                self.model.constrain(
                    [term for step in sorted(steps) for term in self._runs(step, name)], 0, len(steps) - 1
                )

    def solution(self, solved: Solved) -> Solution:
        at = {
            step: next(name for name, each in variables.items() if solved.chosen(each))
            for step, variables in self.at.items()
        }
        paths = {}
        for each in self.flows:
            if each.name in self.uses:
                start = each.origin or at[each.maker]
                end = each.target or at[each.taker]
                paths[each.name] = _walk(
                    start, end, {arc for arc, v in self.uses[each.name].items() if solved.chosen(v)}
                )
        trees, helpers = {}, {}
        for step, variables in self.next.items():
            after = {arc[0]: arc[1] for arc, each in variables.items() if solved.chosen(each)}
            inputs = [each.origin or at[each.maker] for each in self.flows if each.taker == step]
            trees[step] = _pruned(after, inputs, at[step])
            helpers[step] = frozenset(
                name for name, each in self.helps[step].items() if solved.chosen(each) and name in trees[step]
            )
        return Solution(at, paths, trees, helpers)

    def _runs(self, step: str, name: str) -> list[tuple[int, float]]:
        terms = [(self.at[step][name], 1.0)]
        return [*terms, (self.helps[step][name], 1.0)] if step in self.helps else terms

    def _path(self, flow: Flow) -> None:
        """Add a path for a flow: as much leaves a device as arrives, except at its ends."""
        uses = {arc: self.model.variable() for arc in self.arcs}
        self.uses[flow.name] = uses
        for name, device in self.network.devices.items():
            terms = [(uses[arc], 1.0) for arc in self.out[name]] + [(uses[arc], -1.0) for arc in self.into[name]]
            supply = 0.0
            if flow.maker:
                terms.append((self.at[flow.maker][name], -1.0))
            else:
                supply += float(flow.origin == name)
            if flow.taker:
                terms.append((self.at[flow.taker][name], 1.0))
            else:
                supply -= float(flow.target == name)
            self.model.constrain(terms, supply, supply)
            if not device.forwards:
                arrives: list[tuple[int, float]] = [(uses[arc], 1.0) for arc in self.into[name]]
                if flow.taker:
                    self.model.constrain([*arrives, (self.at[flow.taker][name], -1.0)], -inf, 0)
                elif flow.target != name:
                    self.model.constrain(arrives, 0, 0)
        for arc, each in uses.items():
            self.loads[arc].append((each, flow.rate))

    def _tree(self, step: Step, inputs: Sequence[Flow], costs: Costs) -> None:
        """Add the tree of a split step: `next` is whether it has a direction of a link, `sends` the rate there, and a
        flow of one unit for each input keeps it connected."""
        model, many = self.model, float(len(inputs))
        unit = max(each.rate for each in inputs)
        most = sum(each.rate for each in inputs)
        root = self.at[step.name]
        helps = {
            name: model.variable(high=float(costs.fit(device.sheet, [step.name])))
            for name, device in self.network.devices.items()
        }
        after = {arc: model.variable() for arc in self.arcs}
        sends = {arc: model.variable(high=most, integer=False) for arc in self.arcs}
        units = {arc: model.variable(high=many, integer=False) for arc in self.arcs}
        self.helps[step.name], self.next[step.name], self.sends[step.name] = helps, after, sends
        for arc in self.arcs:
            model.constrain([(sends[arc], 1), (after[arc], -most)], -inf, 0)
            model.constrain([(units[arc], 1), (after[arc], -many)], -inf, 0)
            self.loads[arc].append((sends[arc], 1.0))
            if step.returns:
                self.loads[arc[1], arc[0]].append((after[arc], self.rates[step.name]))
        for name, device in self.network.devices.items():
            own = sum(each.rate for each in inputs if each.origin == name)
            count = sum(1 for each in inputs if each.origin == name)
            makers = [each for each in inputs if each.maker]
            model.constrain([(helps[name], 1), (root[name], 1)], 0, 1)
            model.constrain([(after[arc], 1) for arc in self.out[name]], 0, 1)
            if not device.forwards:  # a host is on the tree as an input or as the root only
                model.constrain([*((after[arc], 1.0) for arc in self.into[name]), (root[name], -many)], -inf, 0)
            terms = [(units[arc], 1.0) for arc in self.out[name]] + [(units[arc], -1.0) for arc in self.into[name]]
            terms += [(self.at[each.maker][name], -1.0) for each in makers] + [(root[name], many)]
            model.constrain(terms, count, count)
            out = [(sends[arc], 1.0) for arc in self.out[name]]
            arrived = [(sends[arc], -1.0) for arc in self.into[name]]
            arrived += [(self.at[each.maker][name], -each.rate) for each in makers]
            model.constrain([*out, *arrived, (helps[name], most), (root[name], most)], own, inf)
            for arc in self.out[name]:  # what is on the tree sends a unit at least
                model.constrain([(sends[arc], 1), (after[arc], -unit)], 0, inf)
            # A device that combines has to process what it receives.
            gets = model.variable(high=most, integer=False)
            came = [(variable, -factor) for variable, factor in arrived]
            model.constrain([(gets, -1), *came, (helps[name], most), (root[name], most)], -inf, most - own)
            self.packets[name].append((gets, 1.0))

    def _limits(self) -> None:
        for terms, most in self._shares():
            # Where everything together fits, there is nothing to limit.
            if sum(abs(factor) * self.model.high[variable] for variable, factor in terms) > most:
                unit = most or 1.0
                self.model.constrain([(variable, factor / unit) for variable, factor in terms], -inf, most / unit)

    def _shares(self) -> Iterator[tuple[list[tuple[int, float]], float]]:
        """Yield the traffic of each direction of a link, and of each device, with the most that it carries."""
        for arc, (rate, _) in self.arcs.items():
            if self.loads[arc]:
                yield self.loads[arc], rate / self.unit
        for name, device in self.network.devices.items():
            speed = device.sheet.packets_per_second
            if speed is not None and self.packets[name]:
                yield self.packets[name], speed * self.application.packet / self.unit

    def _aim(self) -> None:
        model = self.model
        scale = 1.0 / max(self._total, 1.0)
        for terms in self.loads.values():
            for variable, factor in terms:
                weight = 1.0 if self.objective == "bytes" else _SLIGHTLY
                model.cost[variable] += weight * factor * scale
        if self.objective == "energy":
            for name, device in self.network.devices.items():
                joules = (device.sheet.power or 0.0) / (device.sheet.packets_per_second or 1e9)
                for variable, factor in self.packets[name]:
                    model.cost[variable] += joules * factor * self.unit / self.application.packet
        elif self.objective == "spare":
            busiest = model.variable(high=1.0, integer=False, cost=1.0)
            for terms, most in self._shares():
                if most:  # what is in use already carries nothing
                    shares = [(variable, factor / most) for variable, factor in terms]
                    model.constrain([*shares, (busiest, -1.0)], -inf, 0)
        elif self.objective == "latency":
            self._latency()

    def _latency(self) -> None:
        """Limit the time of every result from below by the times of its inputs, in microseconds; minimise the last."""
        model = self.model
        delays = sum(delay for _, delay in self.arcs.values())
        inside = sum(device.sheet.latency or 0 for device in self.network.devices.values())
        horizon = (delays + inside) * (len(self.application.steps) + 1) / 1e3
        last = model.variable(high=horizon, integer=False, cost=1.0)
        for step in self.application.steps:
            self.times[step.name] = done = model.variable(high=horizon, integer=False)
            model.constrain([(last, 1), (done, -1)], 0, inf)
            inputs = [each for each in self.flows if each.taker == step.name]
            if step.split:
                self._tree_latency(step, inputs, done, last, horizon)
                continue
            own = [
                (self.at[step.name][name], -(device.sheet.latency or 0) / 1e3)
                for name, device in self.network.devices.items()
            ]
            for each in inputs:
                model.constrain([(done, 1), *own, *self._elapsed(each)], 0, inf)
        for each in self.flows:
            if each.target:
                model.constrain([(last, 1), *self._elapsed(each)], 0, inf)

    def _elapsed(self, flow: Flow) -> list[tuple[int, float]]:
        terms = [(each, -self.arcs[arc][1] / 1e3) for arc, each in self.uses[flow.name].items()]
        return [*terms, (self.times[flow.maker], -1.0)] if flow.maker else terms

    def _tree_latency(self, step: Step, inputs: Sequence[Flow], done: int, last: int, horizon: float) -> None:
        model = self.model
        begun = {name: model.variable(high=horizon, integer=False) for name in self.network.devices}
        depth = {name: model.variable(high=horizon, integer=False) for name in self.network.devices}
        for name, device in self.network.devices.items():
            own = (device.sheet.latency or 0) / 1e3
            model.constrain([(done, 1), (begun[name], -1), (self.at[step.name][name], -horizon)], own - horizon, inf)
            for arc in self.out[name]:
                delay = self.arcs[arc][1] / 1e3
                after = self.next[step.name][arc]
                terms = [(begun[arc[1]], 1.0), (begun[name], -1.0), (self.helps[step.name][name], -own)]
                model.constrain([*terms, (after, -horizon)], delay - horizon, inf)
                model.constrain([(depth[name], 1), (depth[arc[1]], -1), (after, -horizon)], delay - horizon, inf)
            if step.returns:
                model.constrain([(last, 1), (done, -1), (depth[name], -1)], 0, inf)
        for each in inputs:
            if each.maker:
                for name, variable in begun.items():
                    terms = [(variable, 1.0), (self.times[each.maker], -1.0), (self.at[each.maker][name], -horizon)]
                    model.constrain(terms, -horizon, inf)


def _walk(start: str, end: str, used: set[Arc]) -> tuple[str, ...]:
    """Return the path of the used directions from start to end, without circles."""
    after: dict[str, list[str]] = {}
    for one, other in sorted(used):
        after.setdefault(one, []).append(other)
    before: dict[str, str] = {start: ""}
    queue = [start]
    for name in queue:
        for other in after.get(name, ()):
            if other not in before:
                before[other] = name
                queue.append(other)
    path = [end]
    while path[-1] != start:
        path.append(before[path[-1]])
    return tuple(reversed(path))


def _pruned(after: Mapping[str, str], inputs: Sequence[str], root: str) -> dict[str, str]:
    """Return only the part of a tree that leads from inputs to the root."""
    kept: dict[str, str] = {}
    for name in inputs:
        while name != root and name not in kept:
            kept[name] = after[name]
            name = after[name]
    return kept
