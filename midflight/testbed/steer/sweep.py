"""A scenario under all policies and seeds, in this process or on workers of a Dask cluster.

The unit of work is one policy with one seed. It depends on nothing else, so the results do not depend on the number of
workers, and a unit whose worker dies runs again.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from multiprocessing import resource_tracker
from tempfile import TemporaryDirectory
from typing import Any

from midflight.errors import MidflightError
from midflight.runtime.devices.folders import owned_prefix
from midflight.runtime.p4runtime.descriptors import demand_descriptors
from midflight.testbed.steer.deciders import BASELINES, Baseline, Oracle
from midflight.testbed.steer.figures import Figures, measure, summarise
from midflight.testbed.steer.ours import DEPLOYMENTS, Steering
from midflight.testbed.steer.scenario import Scenario
from midflight.testbed.steer.simulate import Decider, View, simulate
from midflight.testbed.steer.world import World, requests

__all__ = ["OURS", "POLICIES", "evaluate", "local_cluster", "report", "sweep"]

OURS: tuple[str, ...] = DEPLOYMENTS
"""Our policies: the C-PS and the fast loop in three deployments."""

POLICIES: tuple[str, ...] = (*BASELINES, "optimum", "oracle", *OURS)
"""All policies by name."""

_FILES, _FILES_EACH = 32, 16  # that a local cluster opens here, and for each worker

ATTEMPTS = 10  # how often a unit may lose its worker

Unit = tuple[int, str]
Progress = Callable[[int, int, str], None]


def evaluate(scenario: Scenario, seed: int, policy: str) -> Figures:
    """Return the figures of one policy with one seed. KeyError if there is no such policy."""
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
) -> dict[str, list[Figures]]:
    """Return the figures of each policy, in the order of the seeds.

    `client` is a `distributed.Client`, None to run in this process. `progress` is called with the number of finished
    units, that of all, and the last one. MidflightError if there is no such policy, or if no worker can finish a unit.
    """
    for each in policies:
        if each not in POLICIES:
            raise MidflightError(f"there is no policy {each}", hint=f"the policies are {', '.join(POLICIES)}")
    units = [(seed, policy) for seed in seeds for policy in policies]
    done: dict[Unit, Figures] = {}
    for unit, figures in _remote(scenario, units, client) if client is not None else _here(scenario, units):
        done[unit] = figures
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


@contextmanager
def local_cluster(workers: int, address: str = "") -> Iterator[Any]:
    """Yield a client of a local Dask cluster with this many processes, or of the cluster at an address.

    A local one listens on loopback only, and ends with the block. MidflightError if distributed is not installed, or if
    the cluster cannot be reached or does not start, for example because this process may open too few files.
    """
    try:
        distributed: Any = import_module("distributed")
    except ImportError as error:
        raise MidflightError(
            "workers need Dask, which is not installed", hint="pip install 'midflight[sweep]'"
        ) from error
    if address:
        try:
            client = distributed.Client(address, timeout=10)
        except (OSError, TimeoutError, ValueError) as error:
            raise MidflightError(f"there is no Dask scheduler at {address}: {error}") from None
        with client:
            yield client
        return
    demand_descriptors(_FILES + _FILES_EACH * workers)
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix=owned_prefix("dask"), ignore_cleanup_errors=True))
        # Scheduler and workers put their files there, and not into a folder of their own, which would stay.
        stack.enter_context(import_module("dask").config.set({"temporary-directory": folder}))
        with _interrupts_blocked():
            try:
                cluster = stack.enter_context(
                    distributed.LocalCluster(
                        n_workers=workers,
                        threads_per_worker=1,
                        processes=True,
                        host="127.0.0.1",
                        dashboard_address=None,
                    )
                )
            except RuntimeError as error:
                raise MidflightError(f"the workers did not start: {error}") from error
        client = stack.enter_context(distributed.Client(cluster))
        client.run(_log_little)
        yield client


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in this thread; the threads and processes that begin here keep it blocked.

    Ctrl-C reaches all processes of a terminal. The workers must ignore it, as this process ends them.
    """
    resource_tracker.ensure_running()  # the first process of multiprocessing would unblock SIGINT when it starts this
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _log_little() -> None:
    """Leave the log of a worker to what is critical: futures report its errors, and the rest is about its end."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


def _here(scenario: Scenario, units: Sequence[Unit]) -> Iterator[tuple[Unit, Figures]]:
    for unit in units:
        yield unit, evaluate(scenario, *unit)


def _remote(scenario: Scenario, units: Sequence[Unit], client: Any) -> Iterator[tuple[Unit, Figures]]:
    as_completed: Any = import_module("distributed").as_completed
    futures = {client.submit(evaluate, scenario, *unit, pure=False, retries=ATTEMPTS): unit for unit in units}
    try:
        for future in as_completed(list(futures)):
            try:
                yield futures[future], future.result()
            except MidflightError:
                raise
            except Exception as error:
                seed, policy = futures[future]
                raise MidflightError(f"no worker could finish {policy} with seed {seed}: {error}") from error
    finally:
        client.cancel(list(futures))


def _maker(policy: str) -> Callable[[World, View], Decider]:
    if policy in BASELINES:
        return partial(Baseline, name=policy)
    if policy == "oracle":
        return Oracle
    if policy == "optimum":
        return partial(Steering, deployment="optimum")
    return partial(Steering, deployment=next(each for each in DEPLOYMENTS if each == policy))
