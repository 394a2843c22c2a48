"""The cost of state in XDP programs that several processors run at the same time, by test runs."""

from __future__ import annotations

import os
import statistics
import threading
from collections.abc import Sequence
from pathlib import Path

from midflight.p4.frontend import check
from midflight.runtime.engine.bpf.engine import XdpEngine
from midflight.runtime.engine.bpf.syscall import run

__all__ = ["STATES", "bench_state"]

STATES = {
    "no state": ("", ""),
    "a counter": ("counter(16, CounterType.packets_and_bytes) n;", "n.count(1);"),
    "a register": ("register<bit<64>>(16) r;", "bit<64> x; r.read(x, 1); r.write(1, x + 1);"),
}
"""By name, a declaration and a statement: a counter is added to atomically, and a register is behind the lock."""

_PROGRAM = Path(__file__).with_name("stateful.p4")
_REPEAT = 100_000


def bench_state(*, runs: int = 5, processors: Sequence[int] | None = None) -> dict[str, tuple[float, float]]:
    """Return the nanoseconds of a packet on one processor, and on each of all at once, for each of `STATES`.

    All processors change the same element. `processors` are their numbers, by default all of this process. Figures are
    medians of `runs`. DeviceError without root.
    """
    numbers = sorted(os.sched_getaffinity(0)) if processors is None else [*processors]
    text = _PROGRAM.read_text()
    figures: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in STATES}
    engines = {
        name: XdpEngine(check(text.replace("// DECLARED", declared).replace("// UPDATED", updated), name))
        for name, (declared, updated) in STATES.items()
    }
    for _ in range(runs):
        for name, engine in engines.items():
            for among, found in zip((numbers[:1], numbers), figures[name], strict=True):
                found.append(statistics.fmean(_together(engine.program, among)))
    for engine in engines.values():
        engine.close()
    return {name: (statistics.median(one), statistics.median(each)) for name, (one, each) in figures.items()}


def _together(program: int, processors: Sequence[int]) -> list[float]:
    found: list[float] = []
    ready = threading.Barrier(len(processors))

    def work(processor: int) -> None:
        os.sched_setaffinity(0, {processor})  # of this thread
        ready.wait()
        found.append(float(run(program, bytes(60), repeat=_REPEAT).nanoseconds))

    threads = [threading.Thread(target=work, args=(each,)) for each in processors]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return found
