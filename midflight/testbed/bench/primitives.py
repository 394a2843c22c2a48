"""The packet rate of each primitive of the library on the embedded switch, in process, on one core.

The traffic is that of the primitive's tests (see `load`). All output is compared with the executed kernel before
anything is timed. Aggregate is also timed with an increasing number of lanes, with each sum compared with NumPy's, to
measure the cost of a lane.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from midflight.testbed.bench.engine import aggregation
from midflight.testbed.bench.load import Load
from midflight.testbed.bench.rate import Clock, Progress, Rate, Timed, silent
from midflight.testbed.conformance.subject import subject

__all__ = ["LANES", "LaneCost", "PrimitiveRate", "PrimitivesBench", "bench_primitives"]

LANES = (1, 8, 32, 64, 128)
WORKERS = 4


@dataclass(frozen=True, slots=True)
class PrimitiveRate:
    """The packet rate of one primitive on the embedded switch, its parameters, and the outcomes of its packets.

    `outcomes` counts packets "dropped", "forwarded" and "answered". A multicast answer counts once.
    """

    name: str
    parameters: Mapping[str, Any]
    outcomes: Mapping[str, int]
    rate: Rate


@dataclass(frozen=True, slots=True)
class LaneCost:
    """The cost of a packet by its number of lanes, in nanoseconds: `fixed` + `each` * lanes, a fit to the fastest runs.

    On a shared machine, the fastest run of a number of lanes says most about the program. `off` is the largest distance
    of such a run from the line, relative to the line.
    """

    lanes: tuple[int, ...]
    rates: tuple[Rate, ...]
    fixed: float
    each: float
    off: float


@dataclass(frozen=True, slots=True)
class PrimitivesBench:
    """The packet rates of primitives in one benchmark run. `lanes` is None if Aggregate was not among them."""

    primitives: tuple[PrimitiveRate, ...]
    lanes: LaneCost | None
    seed: int

    def json(self) -> dict[str, object]:
        """Return the figures as data for JSON: a dict with a key for each field."""
        return asdict(self)


def bench_primitives(
    names: Sequence[str],
    *,
    runs: int = 15,
    packets: int = 4096,
    lanes: Sequence[int] = LANES,
    seed: int = 0,
    progress: Progress | None = None,
    clock: Clock = time.perf_counter,
) -> PrimitivesBench:
    """Measure the packet rates of primitives by name, and the cost of a lane if Aggregate is among them.

    `packets` is the least number of packets in a batch, which is processed `runs` times. `lanes` are the numbers of
    lanes to try. Inputs are random numbers from `seed`. `progress` is called after every run; None for no reports.
    `clock` returns seconds. MidflightError if a name is unknown or the output is wrong.
    """
    report = progress or silent
    subjects = [subject(each) for each in names]
    by_lanes = lanes if "Aggregate" in names else ()
    total = runs * (len(subjects) + len(by_lanes))
    done = 0
    found = []
    for each in subjects:
        name = each.primitive.__name__
        report(done, total, f"{name}: compiling and checking")
        load = Load(each, packets, seed, clock)
        timed = load.timed()
        rates = []
        for _ in range(runs):
            rates.append(timed.run(clock))
            done += 1
            report(done, total, name)
        found.append(PrimitiveRate(name, load.primitive.parameters, load.outcomes, timed.rate(rates)))
    made = []
    for count in by_lanes:
        report(done, total, f"Aggregate: compiling {count} lanes")
        made.append(aggregation(count, WORKERS, packets, seed, clock))
    by_count: list[list[float]] = [[] for _ in made]
    for _ in range(runs):  # In turns, so that other load on the machine affects all of them.
        for each_timed, rates in zip(made, by_count, strict=True):
            rates.append(each_timed.run(clock))
            done += 1
            report(done, total, each_timed.name)
    return PrimitivesBench(tuple(found), _cost(by_lanes, made, by_count) if made else None, seed)


def _cost(lanes: Sequence[int], made: Sequence[Timed], runs: Sequence[list[float]]) -> LaneCost:
    quickest = np.array([1e9 / max(each) for each in runs])
    counts = np.array(lanes, float)
    # Weighted for relative errors: 10% of a short time counts as much as 10% of a long one.
    each, fixed = np.polyfit(counts, quickest, 1, w=1 / quickest) if len(lanes) > 1 else (0.0, quickest[0])
    line = fixed + each * counts
    rates = tuple(timed.rate(found) for timed, found in zip(made, runs, strict=True))
    return LaneCost(tuple(lanes), rates, float(fixed), float(each), float(np.max(np.abs(quickest - line) / line)))
