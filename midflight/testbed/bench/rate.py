"""How a batch is timed: as a whole, one call, native code from its first packet to its last."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from midflight.runtime.engine import Engine, Packets

__all__ = ["Clock", "Progress", "Rate", "Timed", "silent"]

Clock = Callable[[], float]
"""Gives seconds."""

Progress = Callable[[int, int, str], None]
"""Told after every run: how many are done, of how many, and in words what is going on."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What one program reached. All but `compile_seconds` are medians over the runs, or the runs themselves.

    packets_per_second: packets in. nanoseconds: for one packet in. compile_seconds: from P4 text to native code.
    """

    program: str
    packets_per_second: float
    nanoseconds: float
    runs: tuple[float, ...]
    packets: int
    packet_bytes: int
    compile_seconds: float


@dataclass(frozen=True, slots=True)
class Timed:
    """A program that is ready to be timed: `prepare` puts its state back before each run."""

    name: str
    engine: Engine
    batch: Packets
    prepare: Callable[[], None]
    compile_seconds: float

    def run(self, clock: Clock) -> float:
        """Run the batch once; return packets a second."""
        self.prepare()
        start = clock()
        self.engine.process(self.batch)
        return len(self.batch) / max(clock() - start, 1e-9)

    def rate(self, runs: list[float]) -> Rate:
        """Return what came of so many runs."""
        median = statistics.median(runs)
        return Rate(
            program=self.name,
            packets_per_second=median,
            nanoseconds=1e9 / median,
            runs=tuple(runs),
            packets=len(self.batch),
            packet_bytes=self.batch.bytes // len(self.batch),
            compile_seconds=self.compile_seconds,
        )


def silent(done: int, total: int, what: str) -> None:
    """Tell nobody of progress."""
