"""The time that networks take to open, and the work that it is spent on."""

from __future__ import annotations

import cProfile
import dis
import inspect
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

import midflight
from midflight.primitives import Aggregate, Filter, Program, Threshold
from midflight.testbed.net import Net
from midflight.testbed.topology import Topology, fat_tree, star

__all__ = ["Opened", "OpeningBench", "bench_opening"]

NETWORKS: Mapping[str, Callable[[], Topology]] = {
    "star, 1 switch": lambda: star(5),
    "fat tree, 20 switches": lambda: fat_tree(4),
}

_GENERATORS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_RESUME = dis.opmap["RESUME"]
_PACKAGE = str(Path(midflight.__file__).parent) + os.sep


@dataclass(frozen=True, slots=True)
class Opened:
    """What opening one network takes. It was opened several times, each time with a new program object.

    `seconds` has the wall-clock time of each run, and `processor` the processor time, in all of this process's threads
    and in the processes that it has started and ended. `calls` are the calls from one file of the package to another,
    in one run of all threads of this process. `spent` is where one run's time went in this process's opening thread, in
    seconds by folder of the package, or "others" for everything beyond it; waiting is included.
    """

    name: str
    switches: int
    seconds: tuple[float, ...]
    processor: tuple[float, ...]
    calls: int
    spent: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class OpeningBench:
    """How long networks of different sizes take to open on one kind of fabric, "sim" or "netns"."""

    fabric: str
    networks: tuple[Opened, ...]

    def json(self) -> dict[str, Any]:
        """Return the figures as data for JSON, with the median of `seconds` for each network."""
        return {
            "fabric": self.fabric,
            "networks": [asdict(each) | {"median": median(each.seconds)} for each in self.networks],
        }


def bench_opening(
    fabric: str = "sim", *, runs: int = 3, progress: Callable[[int, int, str], None] | None = None
) -> OpeningBench:
    """Open and close networks on a fabric, "sim" or "netns", `runs` times each, and measure the opening.

    `progress` is called with the number of steps done, their total and a description. MidflightError if the fabric is
    not available, such as "netns" without root.
    """
    tell = progress or (lambda *_: None)
    found = []
    steps = len(NETWORKS) * (runs + 2)
    for number, (name, topology) in enumerate(NETWORKS.items()):
        made = topology()
        at = number * (runs + 2)
        seconds, processor = [], []
        for run in range(runs):
            tell(at + run, steps, name)
            begun, cpu = time.perf_counter(), _processor()
            net = Net(made, program=_program(), fabric=fabric)
            seconds.append(time.perf_counter() - begun)
            net.close()
            processor.append(_processor() - cpu)
        tell(at + runs, steps, name)
        calls = _calls(made, fabric)
        tell(at + runs + 1, steps, name)
        spent = _spent(made, fabric)
        found.append(Opened(name, len(made.switches), tuple(seconds), tuple(processor), calls, spent))
    tell(steps, steps, "")
    return OpeningBench(fabric, tuple(found))


def _program() -> Program:
    return Program(
        Aggregate("gradients", workers=4, lanes=32, slots=256),
        Filter("telemetry", keep="temperature > 80 and status != 0"),
        Threshold("pressure", above=900, clear=850),
    )


def _processor() -> float:
    """Return the processor time so far: user and system, of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def _calls(topology: Topology, fabric: str) -> int:
    """Return how many calls go from one file of the package to another."""
    counts = Counter[int]()  # by thread, as they count at the same time

    def called(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_back is not None and not _resumes(frame):
            callee, caller = frame.f_code.co_filename, frame.f_back.f_code.co_filename
            if callee != caller and callee.startswith(_PACKAGE) and caller.startswith(_PACKAGE):
                counts[threading.get_ident()] += 1

    threading.setprofile(called)
    sys.setprofile(called)
    try:
        net = Net(topology, program=_program(), fabric=fabric)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    total = counts.total()
    net.close()
    return total


def _resumes(frame: FrameType) -> bool:
    """Return whether a frame is a generator that resumes: the interpreter reports that as a call, too."""
    at, code = frame.f_lasti, frame.f_code.co_code
    return bool(frame.f_code.co_flags & _GENERATORS) and not (code[at] == _RESUME and code[at + 1] == 0)


def _spent(topology: Topology, fabric: str) -> dict[str, float]:
    """Return the seconds in the functions of each folder, the most first."""
    profile = cProfile.Profile()
    profile.enable()
    try:
        net = Net(topology, program=_program(), fabric=fabric)
    finally:
        profile.disable()
    net.close()
    seconds: dict[str, float] = {}
    for entry in profile.getstats():
        file = entry.code if isinstance(entry.code, str) else entry.code.co_filename
        folder = "others"
        if file.startswith(_PACKAGE):
            parts = Path(file.removeprefix(_PACKAGE)).parts
            folder = "/".join(parts[:2] if parts[0] in ("runtime", "testbed") and len(parts) > 2 else parts[:1])
        seconds[folder] = seconds.get(folder, 0.0) + entry.inlinetime
    return dict(sorted(seconds.items(), key=lambda each: -each[1]))
