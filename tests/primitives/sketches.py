"""The programs of the sketches and of pruning whose P4 is kept in golden files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from midflight.primitives import Bloom, CountMin, HeavyHitter, HyperLogLog, Program

__all__ = ["SKETCHES"]

SKETCHES: Mapping[str, Callable[[], Program]] = {
    "bloom": lambda: Program(Bloom("seen", rows=2, columns=1000, capacity=100)),
    "countmin": lambda: Program(CountMin("traffic", rows=2, columns=1024)),
    "heavyhitter": lambda: Program(HeavyHitter("elephants", above=10**6, window=10**5, rows=2)),
    "hyperloglog": lambda: Program(HyperLogLog("users", precision=10)),
}
