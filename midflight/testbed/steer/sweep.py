"""A scenario under all policies and seeds, in this process or on workers of a Dask cluster.

The unit of work is one policy with one seed. It depends on nothing else, so the results do not depend on the number of
workers, and a unit whose worker dies runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from midflight.errors import MidflightError
from midflight.testbed.cluster import results
from midflight.testbed.steer.deciders import BASELINES, Baseline, Oracle
from midflight.testbed.steer.figures import Figures, measure, summarise
from midflight.testbed.steer.ours import DEPLOYMENTS, Steering
from midflight.testbed.steer.scenario import Scenario
from midflight.testbed.steer.simulate import Decider, View, simulate
from midflight.testbed.steer.world import World, requests

__all__ = ["OURS", "POLICIES", "evaluate", "report", "sweep"]

OURS: tuple[str, ...] = DEPLOYMENTS
"""Our policies: the C-PS and the fast loop in three deployments."""

POLICIES: tuple[str, ...] = (*BASELINES, "optimum", "oracle", *OURS)
"""All policies by name."""

Unit = tuple[int, str]
Progress = Callable[[int, int, str], None]


def evaluate(scenario: Scenario, seed: int, policy: str) -> Figures:
    """Return the figures of one policy with one seed.

    KeyError if there is no such policy; MidflightError if the scenario has more than 20,000,000 requests.
    """
    world = World(scenario)
    sent = requests(world, seed)
    return measure(world, sent, simulate(world, sent, _maker(policy), seed), policy)


def sweep(
    scenario: Scenario,
    seeds: Sequence[int],
    policies: Sequence[str] = POLICIES,
    *,
    client: Any = None,
    progress: Progress | None = None,
    arrived: Callable[[str, Figures], None] = lambda *_: None,
) -> dict[str, list[Figures]]:
    """Return the figures of each policy, in the order of the seeds.

    `client` is a `distributed.Client`, None to run in this process. `progress` is called with the number of finished
    units, that of all, and the last one, and `arrived` with the policy of each finished unit and its figures.
    MidflightError if there is no such policy, or if no worker can finish a unit.
    """
    for each in policies:
        if each not in POLICIES:
            raise MidflightError(f"there is no policy {each}", hint=f"the policies are {', '.join(POLICIES)}")
    units = [(seed, policy) for seed in seeds for policy in policies]
    done: dict[Unit, Figures] = {}
    for unit, figures in _remote(scenario, units, client) if client is not None else _here(scenario, units):
        done[unit] = figures
        arrived(unit[1], figures)
        if progress:
            progress(len(done), len(units), f"{unit[1]}, seed {unit[0]}")
    return {policy: [done[seed, policy] for seed in seeds] for policy in policies}


def report(scenario: Scenario, seeds: Sequence[int], found: Mapping[str, list[Figures]]) -> dict[str, object]:
    """Return the results as JSON: the scenario and, by name, the policies with their figures (`figures.summarise`)."""
    return {
        "scenario": scenario.name,
        "load": scenario.load,
        "stale": scenario.metrics.stale,
        "seeds": list(seeds),
        "ours": [each for each in found if each in OURS],
        "policies": {name: summarise(each) for name, each in found.items()},
    }


def _here(scenario: Scenario, units: Sequence[Unit]) -> Iterator[tuple[Unit, Figures]]:
    for unit in units:
        yield unit, evaluate(scenario, *unit)


def _remote(scenario: Scenario, units: Sequence[Unit], client: Any) -> Iterator[tuple[Unit, Figures]]:
    def name(unit: Unit) -> str:
        return f"{unit[1]} with seed {unit[0]}"

    return results(client, partial(evaluate, scenario), units, name)


def _maker(policy: str) -> Callable[[World, View], Decider]:
    if policy in BASELINES:
        return partial(Baseline, name=policy)
    if policy == "oracle":
        return Oracle
    if policy == "optimum":
        return partial(Steering, deployment="optimum")
    return partial(Steering, deployment={each: each for each in DEPLOYMENTS}[policy])  # type: ignore[index]
