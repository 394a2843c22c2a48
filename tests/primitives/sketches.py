"""The programs of the sketches and of pruning whose P4 is kept in golden files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from midflight.primitives import Bloom, CountMin, Program

__all__ = ["SKETCHES"]

SKETCHES: Mapping[str, Callable[[], Program]] = {
    "bloom": lambda: Program(Bloom("seen", rows=2, columns=1000, capacity=100)),
    "countmin": lambda: Program(CountMin("traffic", rows=2, columns=1024)),
}
