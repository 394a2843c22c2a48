"""A placement with paths, and what it costs: loads of links and devices, and the value of an objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from midflight.runtime.placement.planner.costs import Costs
from midflight.runtime.placement.planner.model import Application, Network

__all__ = ["Arc", "Loads", "Solution", "arcs_of", "loads", "value", "violations"]

Arc = tuple[str, str]
"""A link in one direction."""


@dataclass(frozen=True, slots=True)
class Solution:
    """A placement: the device of each step, and the path of each flow, as names of devices, by the flow's name.

    A split step is at the device that completes it. `trees` has, for each split step, the next device of every device
    on its tree, and `helpers` the devices of the tree that combine what arrives.
    """

    at: Mapping[str, str]
    paths: Mapping[str, tuple[str, ...]]
    trees: Mapping[str, Mapping[str, str]]
    helpers: Mapping[str, frozenset[str]]

    def on(self, device: str) -> frozenset[str]:
        """Return the steps that a device runs, also as a helper."""
        return frozenset(
            {step for step, where in self.at.items() if where == device}
            | {step for step, where in self.helpers.items() if device in where}
        )


@dataclass(frozen=True, slots=True)
class Loads:
    """The bits a second on each link's direction, and the packets a second that each device's steps process.

    `latency` is the longest time from a source to a result, in nanoseconds.
    """

    links: Mapping[Arc, float]
    devices: Mapping[str, float]
    latency: float


def arcs_of(network: Network) -> dict[Arc, tuple[int, int]]:
    """Return the free rate in bits a second and the delay in ns of each direction of each link, by its two devices.

    Of parallel links, the fastest counts.
    """
    found: dict[Arc, tuple[int, int]] = {}
    for each in network.links:
        for arc in ((each.one, each.other), (each.other, each.one)):
            if arc not in found or found[arc][0] < each.rate:
                found[arc] = each.rate, each.delay
    return found


def loads(network: Network, application: Application, solution: Solution) -> Loads:
    """Return what a solution puts on links and devices, and the longest time from a source to a result in ns."""
    arcs = arcs_of(network)
    links: dict[Arc, float] = {}
    packets: dict[str, float] = {}
    times: dict[str, float] = {}
    sheets = {name: each.sheet for name, each in network.devices.items()}

    def put(arc: Arc, rate: float) -> None:
        links[arc] = links.get(arc, 0.0) + rate

    flows = application.flows()
    rates = application.rates()
    longest = 0.0
    for step in application.steps:
        inputs = [each for each in flows if each.taker == step.name]
        place = solution.at[step.name]
        begun = 0.0
        if step.split:
            tree = solution.trees[step.name]
            amounts: dict[str, float] = {}
            arrived: dict[str, float] = {}
            for each in inputs:
                origin = each.origin or solution.at[each.maker]
                amounts[origin] = amounts.get(origin, 0.0) + each.rate
                arrived[origin] = max(arrived.get(origin, 0.0), times.get(each.maker, 0.0))
            unit = max(each.rate for each in inputs)
            for device in _leaves_first(tree, place):
                amount = amounts.get(device, 0.0)
                if device in solution.helpers[step.name] or device == place:
                    packets[device] = packets.get(device, 0.0) + amount / application.packet
                    amount = min(amount, unit)
                    arrived[device] = arrived.get(device, 0.0) + (sheets[device].latency or 0)
                if device != place:
                    after = tree[device]
                    put((device, after), amount)
                    amounts[after] = amounts.get(after, 0.0) + amount
                    delay = arrived.get(device, 0.0) + arcs[device, after][1]
                    arrived[after] = max(arrived.get(after, 0.0), delay)
                    if step.returns:
                        put((after, device), rates[step.name])
            begun = arrived.get(place, 0.0)
            times[step.name] = begun
            if step.returns:
                longest = max(longest, begun + max((_depth(tree, arcs, each, place) for each in tree), default=0.0))
        else:
            for each in inputs:
                path = solution.paths[each.name]
                time = times.get(each.maker, 0.0)
                for arc in pairwise(path):
                    put(arc, each.rate)
                    time += arcs[arc][1]
                begun = max(begun, time)
            packets[place] = packets.get(place, 0.0) + application.incoming(step) / application.packet
            times[step.name] = begun + (sheets[place].latency or 0)
        longest = max(longest, times[step.name])
    for each in flows:
        if each.target:
            time = times[each.maker]
            for arc in pairwise(solution.paths[each.name]):
                put(arc, each.rate)
                time += arcs[arc][1]
            longest = max(longest, time)
    return Loads(links, packets, longest)


def value(network: Network, application: Application, solution: Solution, objective: str) -> float:
    """Return the value of an objective for a solution; less is better.

    The units are those of `OBJECTIVES`: bits a second, nanoseconds, watts, or for "spare" the share of what is free
    that the busiest link or device uses, 0 to 1 if no limit is exceeded. Links without a free rate and devices
    without a known one do not count there. `objective` must be one of `OBJECTIVES`.
    """
    found = loads(network, application, solution)
    if objective == "latency":
        return found.latency
    if objective == "energy":
        return sum(
            (network.devices[name].sheet.power or 0.0)
            * packets
            / (network.devices[name].sheet.packets_per_second or 1e9)
            for name, packets in found.devices.items()
        )
    if objective == "spare":
        arcs = arcs_of(network)
        links = [load / arcs[arc][0] for arc, load in found.links.items() if arcs[arc][0]]
        rates = ((network.devices[name].sheet.packets_per_second, it) for name, it in found.devices.items())
        return max([*links, *(packets / rate for rate, packets in rates if rate)], default=0.0)
    return sum(found.links.values())


def violations(network: Network, application: Application, solution: Solution, costs: Costs) -> tuple[str, ...]:
    """Return which limits a solution breaks, as texts; empty if it keeps all."""
    arcs = arcs_of(network)
    found = loads(network, application, solution)
    broken = [
        f"link {one} to {other} carries {load / 1e6:,.0f} Mbit/s of {arcs[one, other][0] / 1e6:,.0f}"
        for (one, other), load in found.links.items()
        if load > arcs[one, other][0] * (1 + 1e-9)
    ]
    for name, device in network.devices.items():
        if steps := solution.on(name):
            broken += [f"{name}: {reason}" for reason in costs.reasons(device.sheet, steps)]
        rate = device.sheet.packets_per_second
        if rate is not None and found.devices.get(name, 0.0) > rate * (1 + 1e-9):
            broken.append(f"{name} gets {found.devices[name]:,.0f} packets a second, and processes {rate:,.0f}")
    return tuple(broken)


def _leaves_first(tree: Mapping[str, str], root: str) -> list[str]:
    """Return the devices of a tree, each after those that send to it, the root last."""
    below: dict[str, int] = dict.fromkeys([*tree, root], 0)
    for after in tree.values():
        below[after] = below.get(after, 0) + 1
    ready = [name for name, number in below.items() if not number]
    order = []
    while ready:
        name = ready.pop()
        order.append(name)
        if name in tree:
            below[tree[name]] -= 1
            if not below[tree[name]]:
                ready.append(tree[name])
    return order


def _depth(tree: Mapping[str, str], arcs: Mapping[Arc, tuple[int, int]], device: str, root: str) -> float:
    time = 0.0
    while device != root:
        time += arcs[tree[device], device][1]
        device = tree[device]
    return time
