"""Tests of the lab "Heavy hitters". The oracle counts every flow exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from midflight.labs.bench import Bench, GradedTest, Incorrect, require
from midflight.labs.kernels import FORWARDED, Kernel, Outcome
from midflight.labs.packets import header

__all__ = ["TESTS"]

NAME = "heavy.py"
WIRE = header("request", "flow:32 size:32 estimate:32")
TOP = (1 << 32) - 1


def start(bench: Bench, width: int, threshold: int) -> Kernel:
    """Return the submitted primitive on a switch."""
    return Kernel(bench, NAME, "HeavyHitters", WIRE, width=width, threshold=threshold)


def play(kernel: Kernel, packets: Sequence[tuple[int, int]]) -> list[Outcome]:
    """Send packets, given as (flow, size). Incorrect if one is not forwarded, or has changed."""
    outcomes = kernel.send([{"flow": flow, "size": size} for flow, size in packets])
    for number, ((flow, size), each) in enumerate(zip(packets, outcomes, strict=True), 1):
        head = f"packet {number}, flow {flow}, size {size}"
        require(each.verdict == FORWARDED, f"{head}: it {each.verdict}, must be forwarded")
        have = (each.fields["flow"], each.fields["size"])
        require(have == (flow, size), f"{head}: flow and size have become {have}")
    return outcomes


def exact(bench: Bench) -> None:
    """Few flows are counted exactly."""
    flows = [bench.random.getrandbits(32) for _ in range(8)]
    packets = [(bench.random.choice(flows), bench.random.randrange(40, 1500)) for _ in range(120)]
    counts: Counter[int] = Counter()
    outcomes = play(start(bench, 2048, TOP), packets)
    for number, ((flow, size), each) in enumerate(zip(packets, outcomes, strict=True), 1):
        counts[flow] += size
        have, must = each.fields["estimate"], counts[flow]
        require(have == must, f"packet {number}, flow {flow}, size {size}: the estimate is {have}, must be {must}")


def bounds(bench: Bench) -> None:
    """Many flows: estimates are never too small, and rarely too large."""
    width, random = 512, bench.random
    flows = [random.getrandbits(32) for _ in range(350)]
    packets = [(flow, random.randrange(40, 1500)) for flow in flows for _ in range(2)]
    random.shuffle(packets)
    counts: Counter[int] = Counter()
    large = 0
    for (flow, size), each in zip(packets, play(start(bench, width, TOP), packets), strict=True):
        counts[flow] += size
        have = each.fields["estimate"]
        require(have >= counts[flow], f"flow {flow}: the estimate is {have}, but the flow has {counts[flow]} bytes")
        large += have > counts[flow]
    share = 100 * large // len(packets)
    require(share <= 15, f"with 350 flows and 3 rows of {width} counters, {share}% of the estimates are too large")


def alerts(bench: Bench) -> None:
    """Every heavy flow is reported once."""
    random, threshold = bench.random, bench.random.randrange(3000, 6000)
    flows = [random.getrandbits(32) for _ in range(10)]
    packets = [(random.choice(flows), random.randrange(40, 1500)) for _ in range(150)]
    packets += [(flow, size) for flow in (1, 2) for size in (threshold - 1000, 1000, 40)]
    counts: Counter[int] = Counter()
    outcomes = play(start(bench, 2048, threshold), packets)
    for number, ((flow, size), each) in enumerate(zip(packets, outcomes, strict=True), 1):
        before, counts[flow] = counts[flow], counts[flow] + size
        must = ((flow, counts[flow]),) if before < threshold <= counts[flow] else ()
        if each.alerts != must:
            raise Incorrect(
                f"packet {number}, flow {flow}, {before} bytes before, {counts[flow]} now, threshold {threshold}: "
                f"the alerts are {list(each.alerts)}, must be {list(must)}"
            )


def saturation(bench: Bench) -> None:
    """Counters saturate."""
    flow, total = bench.random.getrandbits(32), 0
    sizes = [1 << 31, (1 << 31) - 100, 40, 59, 1, 1500, 1 << 31]
    packets = [(flow, size) for size in sizes]
    for size, each in zip(sizes, play(start(bench, 16, TOP), packets), strict=True):
        total = min(TOP, total + size)
        have = each.fields["estimate"]
        require(have == total, f"with {total} bytes, the estimate is {have}, must be {total}")


TESTS = [
    GradedTest("exact", 30, "Few flows are counted exactly", exact),
    GradedTest("bounds", 30, "Estimates are never too small, and rarely too large", bounds),
    GradedTest("alerts", 30, "Every heavy flow is reported once", alerts),
    GradedTest("saturation", 10, "Counters saturate", saturation),
]
