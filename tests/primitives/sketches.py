"""Programs of the sketches and of pruning with golden files of their P4."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from midflight.primitives import (
    Bloom,
    CountMin,
    Distinct,
    HeavyHitter,
    HyperLogLog,
    Program,
    Sample,
    SemiJoin,
    Skyline,
    TopN,
)

__all__ = ["SKETCHES"]

SKETCHES: Mapping[str, Callable[[], Program]] = {
    "bloom": lambda: Program(Bloom("seen", rows=2, columns=1000, capacity=100)),
    "countmin": lambda: Program(CountMin("traffic", rows=2, columns=1024)),
    "heavyhitter": lambda: Program(HeavyHitter("elephants", above=10**6, window=10**5, rows=2)),
    "hyperloglog": lambda: Program(HyperLogLog("users", precision=10)),
    "distinct": lambda: Program(Distinct("users", rows=1000)),
    "topn": lambda: Program(TopN("prices", n=100, lowest=64, levels=3, pruned="reply")),
    "skyline": lambda: Program(Skyline("hotels", points=2)),
    "semijoin": lambda: Program(SemiJoin("orders", rows=2)),
    "sample": lambda: Program(Sample("watch", one_in=1000, by="packet")),
}
