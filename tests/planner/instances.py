"""Small random planning problems, and the best plan by trying everything."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.placement.planner import Application, Costs, Device, Link, Network, Sink, Source, Step
from midflight.runtime.placement.planner.solution import Solution, arcs_of, value, violations

CHIP = Capabilities(kind="chip", packets_per_second=1e9, latency=400, power=300.0, register_arrays=1)
CARD = Capabilities(kind="card", packets_per_second=2e5, latency=2000, power=60.0, register_arrays=2)
HOST = Capabilities(kind="host", packets_per_second=1e5, latency=30_000, power=200.0)


def reasons(sheet: Capabilities, steps: frozenset[str]) -> tuple[str, ...]:
    """Let a device have as many steps as register arrays."""
    limit = sheet.register_arrays
    return (f"needs {len(steps)} arrays, has {limit}",) if limit is not None and len(steps) > limit else ()


def costs() -> Costs:
    return Costs(reasons)


def instance(seed: int) -> tuple[Network, Application, str]:
    """Return a problem with at most 5 switches, 3 hosts, 2 steps, and few ways round, and its objective."""
    rng = random.Random(seed)
    switches = [f"s{n}" for n in range(rng.randint(2, 4))]
    hosts = [f"h{n}" for n in range(rng.randint(2, 3))]
    devices = {name: Device(name, rng.choice((CHIP, CARD))) for name in switches}
    devices |= {name: Device(name, HOST, forwards=False) for name in hosts}
    ends = [(name, rng.choice(switches[:n])) for n, name in enumerate(switches) if n]
    ends += [(name, rng.choice(switches)) for name in hosts]
    if len(switches) > 2 and rng.random() < 0.5:
        ends.append((switches[0], switches[-1]))
    rates = (10**8, 10**9, 10**10)
    links = [Link(one, other, rng.choice(rates), rng.choice((500, 1000, 5000))) for one, other in dict.fromkeys(ends)]
    split = rng.random() < 0.4
    senders = tuple(rng.sample(hosts, rng.randint(1, len(hosts) - 1)))
    sources = [Source("data", senders, rng.choice((1e7, 5e7, 2e8)))]
    steps = [Step("first", ("data",), rng.choice((0.1, 0.5, 1.0)) if not split else 1.0, split=split)]
    if rng.random() < 0.6:
        steps.append(Step("second", ("first",), rng.choice((0.2, 1.0, 1.5))))
    sinks = [Sink("store", (rng.choice(hosts),), steps[-1].name)]
    objective = rng.choice(("bytes", "bytes", "latency", "energy", "spare"))
    return Network(devices, tuple(links)), Application(sources, steps, sinks), objective


def simple_paths(network: Network, start: str, end: str) -> list[tuple[str, ...]]:
    after: dict[str, list[str]] = {}
    for one, other in arcs_of(network):
        after.setdefault(one, []).append(other)
    found: list[tuple[str, ...]] = []
    waiting: list[tuple[str, ...]] = [(start,)]
    while waiting:
        path = waiting.pop()
        if path[-1] == end:
            found.append(path)
        elif len(path) == 1 or network.devices[path[-1]].forwards:
            waiting += [(*path, each) for each in after.get(path[-1], ()) if each not in path]
    return found


def solutions(network: Network, application: Application) -> Iterator[Solution]:
    """Yield every placement with all paths, trees and sets of helpers."""
    names = list(network.devices)
    flows = application.flows()
    for places in itertools.product(names, repeat=len(application.steps)):
        at = {step.name: place for step, place in zip(application.steps, places, strict=True)}
        single = [each for each in flows if not (each.taker and application.by_name[each.taker].split)]
        joined = [each for each in flows if each not in single]
        ways = [simple_paths(network, each.origin or at[each.maker], each.target or at[each.taker]) for each in single]
        joins = [simple_paths(network, each.origin or at[each.maker], at[each.taker]) for each in joined]
        for chosen in itertools.product(*joins):
            tree: dict[str, str] = {}
            fine = True
            for path in chosen:
                for one, other in itertools.pairwise(path):
                    fine = fine and tree.setdefault(one, other) == other
            if not fine:
                continue
            step = next((each.name for each in application.steps if each.split), "")
            inner = [each for each in tree if each != at.get(step)]
            for number in range(len(inner) + 1):
                for helpers in itertools.combinations(inner, number):
                    for paths in itertools.product(*ways):
                        named = {each.name: path for each, path in zip(single, paths, strict=True)}
                        yield Solution(
                            at, named, {step: tree} if step else {}, {step: frozenset(helpers)} if step else {}
                        )


def best(network: Network, application: Application, objective: str) -> float | None:
    """Return the value of the best plan; None if none keeps all limits."""
    found: float | None = None
    asked = costs()
    for each in solutions(network, application):
        worth = value(network, application, each, objective)
        if (found is None or worth < found) and not violations(network, application, each, asked):
            found = worth
    return found
