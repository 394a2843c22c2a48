"""The figures of a run, and their means and confidence intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from midflight.testbed.steer.simulate import Run
from midflight.testbed.steer.world import Requests, World

__all__ = ["NAMES", "Figures", "measure", "summarise"]

NAMES = ("p50_us", "p99_us", "slo_misses", "moved", "bytes", "joules", "grams")
"""The figures that are compared."""

RECORD, CARRIED = 64, 8  # bytes of a metric record, and of a load in a reply
_RECORDS = {"least_loaded": 1, "optimum": 1, "centralised": 1, "hybrid": 1, "distributed": 0}
_CARRY = ("power_of_two", "hybrid", "distributed")


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one policy and seed, of the requests after the warm-up.

    Of `requests`, `lost` got no reply, and `slo_misses` none within the service level objective of their class.
    `p50_us` and `p99_us` are the median and the 99th percentile of the delay in microseconds, in which a lost request
    counts 1e12, and `quantiles` its percentiles 0 to 100. `refused` counts how often a full switch forwarded a request,
    and `retried` how often one was sent again because a failure had lost it or its reply. `moved` counts moves of
    sessions. These three are of the whole run. `bytes` are those on all links, those of requests and replies once for
    each hop, with the moved state and the metrics of the whole run. `joules` is the energy of the work and of the way,
    and `grams` the CO2 for it. `classes` has p50 and p99 of each class in microseconds, and the part that missed its
    objective. `steered_away` is the longest time after a failure, in microseconds, at which a request was still sent to
    what had failed; None if none was.
    """

    requests: int
    lost: int
    p50_us: float
    p99_us: float
    slo_misses: int
    moved: int
    bytes: int
    joules: float
    grams: float
    refused: int
    retried: int
    classes: dict[str, tuple[float, float, float]]
    quantiles: list[float]
    steered_away: float | None = None


def measure(world: World, requests: Requests, run: Run, policy: str) -> Figures:
    """Return the figures of a run of the policy with this name, over the requests after the scenario's warmup.

    `requests` are those that were simulated, and `run` what became of each.
    """
    scenario = world.scenario
    kept = requests.time >= scenario.warmup * 1e6
    latency, service = run.latency[kept], requests.service[kept]
    slo = np.array([each.slo for each in scenario.classes])[service]
    served = kept & np.isfinite(run.latency)
    c, i, work = requests.service[served], run.instance[served], requests.work[served]
    size = np.array([each.request + each.reply for each in scenario.classes])[c] + CARRIED * (policy in _CARRY)
    hops = np.array(world.hops)[i]
    there = np.array(world.service)[c, i] * work * 1e-6 * np.array([each.watts for each in scenario.instances])[i]
    network = size * hops * 1e-6 * scenario.joules_per_megabyte
    carbon = np.array([scenario.sites[each].carbon for each in world.site])[i]
    receivers = len(world.delay) if policy == "distributed" else _RECORDS.get(policy, 0)
    state = sum(each.sessions.state for each in scenario.classes if each.sessions)
    finite = np.where(np.isfinite(latency), latency, 1e12)
    return Figures(
        requests=len(latency),
        lost=int((~np.isfinite(latency)).sum()),
        p50_us=_percentile(finite, 50),
        p99_us=_percentile(finite, 99),
        slo_misses=int((latency > slo).sum()),
        moved=run.moved,
        bytes=int((size * hops).sum()) + run.reports * RECORD * receivers + run.moved * state,
        joules=float(there.sum() + network.sum()),
        grams=float((there * carbon).sum() + network.sum() * scenario.network_carbon) / 3.6e6,
        refused=run.refused,
        retried=run.retried,
        classes={
            each.name: (
                _percentile(finite[service == number], 50),
                _percentile(finite[service == number], 99),
                float((latency > slo)[service == number].mean()) if (service == number).any() else 0.0,
            )
            for number, each in enumerate(scenario.classes)
        },
        quantiles=[_percentile(finite, each) for each in range(101)],
        steered_away=max(
            (run.last_sent[each] - scenario.failures[each].start for each in sorted(run.last_sent)), default=None
        ),
    )


def summarise(figures: Sequence[Figures]) -> dict[str, object]:
    """Return the means over seeds as JSON, each with the half-width of its 95 % confidence interval as `..._ci`.

    The latter is left out for one seed. Means of counts are rounded. `requests`, `lost`, `refused` and `retried` are
    sums over the seeds, and `steered_away_us` is the largest.
    """
    summary: dict[str, object] = {}
    for name in NAMES:
        values = [float(getattr(each, name)) for each in figures]
        mean = sum(values) / len(values)
        summary[name] = round(mean) if name in ("slo_misses", "moved", "bytes") else mean
        if len(values) > 1:
            summary[f"{name}_ci"] = _half_width(values)
    for name in ("requests", "lost", "refused", "retried"):
        summary[name] = sum(getattr(each, name) for each in figures)
    away = [each.steered_away for each in figures if each.steered_away is not None]
    if away:
        summary["steered_away_us"] = max(away)
    classes: Mapping[str, object] = {
        name: {
            label: sum(each.classes[name][index] for each in figures) / len(figures)
            for index, label in enumerate(("p50_us", "p99_us", "missed"))
        }
        for name in figures[0].classes
    }
    summary["classes"] = classes
    summary["quantiles_us"] = [
        sum(each.quantiles[percent] for each in figures) / len(figures) for percent in range(101)
    ]
    return summary


def _half_width(values: Sequence[float]) -> float:
    from scipy.stats import t

    deviation = float(np.std(np.array(values), ddof=1))
    return float(t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))


def _percentile(values: NDArray[np.float64], percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else 0.0
