"""Timing of packet batches on the engine: one call, native code from a batch's first packet to its last."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from midflight.runtime.engine import Engine, Packets

__all__ = ["Clock", "Progress", "Rate", "Timed", "silent"]

Clock = Callable[[], float]
"""A function that returns the time in seconds, from any start."""

Progress = Callable[[int, int, str], None]
"""Called after every run with the number of runs done, their total, and a description."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The packet rate of one program on the engine.

    packets_per_second: the median over the runs, in input packets; `runs` has each run's.
    nanoseconds: the median time for one input packet.
    packets: the size of the batch.
    packet_bytes: the mean size of a packet.
    compile_seconds: from P4 text to native code.
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
    """A compiled program with a batch of packets, ready to be timed.

    `prepare` restores its state before each run, and `compile_seconds` is how long compilation took.
    """

    name: str
    engine: Engine
    batch: Packets
    prepare: Callable[[], None]
    compile_seconds: float

    def run(self, clock: Clock) -> float:
        """Restore the state, process the batch once, and return packets per second. `clock` returns seconds."""
        self.prepare()
        start = clock()
        self.engine.process(self.batch)
        return len(self.batch) / max(clock() - start, 1e-9)

    def rate(self, runs: list[float]) -> Rate:
        """Return the program's `Rate` from the results of several calls of `run`. `runs` must not be empty."""
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
    """Do nothing: a `Progress` for callers that want no reports."""
