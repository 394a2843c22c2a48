"""Timing of a batch as a whole: one call, native code from its first packet to its last."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from midflight.runtime.engine import Engine, Packets

__all__ = ["Clock", "Progress", "Rate", "Timed", "silent"]

Clock = Callable[[], float]
"""Returns seconds."""

Progress = Callable[[int, int, str], None]
"""Called after every run with the number of runs done, their total, and a description."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The rate of one program. All values but `compile_seconds` are medians over the runs, or the runs themselves.

    packets_per_second: input packets. nanoseconds: for one input packet. compile_seconds: from P4 text to native code.
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
    """A program ready to be timed. `prepare` restores its state before each run."""

    name: str
    engine: Engine
    batch: Packets
    prepare: Callable[[], None]
    compile_seconds: float

    def run(self, clock: Clock) -> float:
        """Run the batch once. Return packets a second."""
        self.prepare()
        start = clock()
        self.engine.process(self.batch)
        return len(self.batch) / max(clock() - start, 1e-9)

    def rate(self, runs: list[float]) -> Rate:
        """Return the rate for the results of these runs."""
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
    """Ignore progress."""
