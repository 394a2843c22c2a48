"""The speed of an all-reduce between processes of this machine: through switches with UDP ports, and with Gloo."""

from __future__ import annotations

import importlib.util
import multiprocessing
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midflight.collectives.local import LocalSwitch, card
from midflight.collectives.timing import timing
from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Aggregate, Program
from midflight.primitives.fixedpoint import dequantise, largest_exponent, quantise, scale_bits
from midflight.runtime.endpoint.aggregation import Form
from midflight.runtime.endpoint.udp import drive

__all__ = ["AllReduceBench", "Measured", "bench_allreduce"]

_HEADERS = 14 + 20 + 8  # bytes of Ethernet, IPv4 and UDP before a datagram
_TIMEOUT = 600.0  # seconds for one all-reduce, or for the start of a rank


@dataclass(frozen=True, slots=True)
class Measured:
    """One way of all-reducing: its fabric, "udp" or "gloo", the bytes and lanes of a frame, and the seconds of runs.

    A run takes from the first rank's start to the last rank's end. Gloo has no frames of its own: 0 bytes and lanes.
    """

    fabric: str
    packet_bytes: int
    lanes: int
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the seconds."""
        return median(self.seconds)


@dataclass(frozen=True, slots=True)
class AllReduceBench:
    """All-reduces of `floats` float32 by `workers` ranks, in the same run; `gloo` is None without PyTorch."""

    workers: int
    floats: int
    switch: tuple[Measured, ...]
    gloo: Measured | None

    def rate(self, measured: Measured) -> float:
        """Return the floats per second of the median run: the length of the vector by its seconds."""
        return self.floats / measured.median

    def ratio(self, measured: Measured) -> float | None:
        """Return the rate divided by that of Gloo; None without PyTorch."""
        return None if self.gloo is None else self.gloo.median / measured.median

    def json(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        rows = [*self.switch, *([] if self.gloo is None else [self.gloo])]
        return {
            "workers": self.workers,
            "floats": self.floats,
            "results": [
                {**asdict(each), "floats_per_second": self.rate(each), "ratio_to_gloo": self.ratio(each)}
                for each in rows
            ],
        }


def bench_allreduce(
    *,
    workers: int = 4,
    floats: int = 1_000_000,
    runs: int = 5,
    lanes: Sequence[int] = (32, 128, 256),
    progress: Callable[[int, int, str], None] = lambda _done, _all, _doing: None,
) -> AllReduceBench:
    """Measure all-reduces of `floats` float32 by as many processes as there are `workers`, 1 to 64.

    There is a switch for each number of `lanes` in a packet, 1 to 256, and Gloo if PyTorch is installed. The ways take
    turns, and none works while another is measured. Each is measured `runs` times, after one run to warm up. Sums are
    checked: those of the switch against the fixed-point reference, bit for bit; those of Gloo against each other, and
    the first 1000 elements against the exact sum within 1e-4. `progress` is called with the number of finished runs,
    the number of all runs, and what is measured. MidflightError if a switch or a rank does not start, ends, or does not
    answer for 600 s, or if a sum is wrong; KernelError for `workers` or `lanes` out of range.
    """
    vectors = [_vector(rank, floats) for rank in range(workers)]
    exact = np.sum([each.astype(np.float64) for each in vectors], axis=0)
    with ExitStack() as opened:
        ways: list[tuple[str, int, int, list[Connection]]] = []
        total = runs * (len(lanes) + 1)
        for each in lanes:
            progress(0, total, f"starting a switch with {each} lanes")
            size = _HEADERS + Form(1, each).size
            ways.append(("udp", size, each, opened.enter_context(_switched(workers, floats, each))))
        if importlib.util.find_spec("torch") is not None:
            progress(0, total, "starting Gloo")
            ways.append(("gloo", 0, 0, opened.enter_context(_with_gloo(workers, floats))))
        seconds: dict[int, list[float]] = {number: [] for number in range(len(ways))}
        bits = scale_bits(2.0 ** max(largest_exponent(each) for each in vectors), workers)
        sums = np.sum([quantise(each, bits).astype(np.int64) for each in vectors], axis=0)
        reference = zlib.crc32(dequantise(sums, bits).tobytes())
        for run in range(runs + 1):  # the first one warms up
            for number, (fabric, _, width, ranks) in enumerate(ways):
                progress(max(0, run - 1) * len(ways) + number, runs * len(ways), f"{fabric} {width or ''}")
                took, checks, sample = _once(ranks)
                wanted = reference if fabric == "udp" else checks[0]
                if any(each != wanted for each in checks) or not np.allclose(sample, exact[: sample.size], atol=1e-4):
                    raise MidflightError(f"a sum of {fabric} is wrong in run {run}")
                if run:
                    seconds[number].append(took)
    found = [Measured(way[0], way[1], way[2], tuple(seconds[number])) for number, way in enumerate(ways)]
    gloo = next((each for each in found if each.fabric == "gloo"), None)
    return AllReduceBench(workers, floats, tuple(each for each in found if each.fabric != "gloo"), gloo)


def _once(ranks: Sequence[Connection]) -> tuple[float, list[int], NDArray[np.float32]]:
    """Run one all-reduce. Return its seconds, a checksum of each rank's sum, and the first values of one."""
    for each in ranks:
        each.send(True)
    found = [_received(each) for each in ranks]
    took = max(each[1] for each in found) - min(each[0] for each in found)
    return took, [each[2] for each in found], found[0][3]


def _received(rank: Connection) -> Any:
    """Return a rank's next message. DeviceError if it has ended or does not answer."""
    try:
        if rank.poll(_TIMEOUT):
            return rank.recv()
    except (EOFError, ConnectionError):
        raise DeviceError("a rank of the benchmark has ended") from None
    raise DeviceError(f"a rank of the benchmark has not answered for {_TIMEOUT:g} s")


@contextmanager
def _processes(count: int, target: Callable[..., None], *arguments: object) -> Iterator[list[Connection]]:
    """Run processes, each with its end of a connection and its number, and yield the other ends."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as opened:
        ours: list[Connection] = []
        started: list[SpawnProcess] = []
        try:
            for rank in range(count):
                here, there = context.Pipe()
                ours.append(opened.enter_context(here))
                with there:
                    process = context.Process(target=target, args=(there, rank, *arguments), daemon=True)
                    process.start()
                    started.append(process)
            yield ours
        finally:
            opened.close()  # which ends the processes
            for each in started:
                each.join(5)
                each.kill()


@contextmanager
def _switched(workers: int, floats: int, lanes: int) -> Iterator[list[Connection]]:
    program = Program(Aggregate("sum", workers=workers, lanes=lanes, slots=64))
    with _processes(workers, _switch_rank, floats) as ranks:
        cards = [_received(each) for each in ranks]
        with LocalSwitch(program, cards) as switch:
            for number, each in enumerate(ranks):
                each.send((switch.addresses[number], switch.workers["sum"][number]))
            yield ranks


@contextmanager
def _with_gloo(workers: int, floats: int) -> Iterator[list[Connection]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        _processes(workers, _gloo_rank, workers, floats, folder) as ranks,
    ):
        yield ranks


def _vector(rank: int, floats: int) -> NDArray[np.float32]:
    return np.random.default_rng(rank).normal(size=floats).astype(np.float32)


def _report(control: Connection, start: float, end: float, values: NDArray[np.float32]) -> None:
    control.send((start, end, zlib.crc32(values.tobytes()), values[:1000].copy()))


def _switch_rank(control: Connection, rank: int, floats: int) -> None:
    """Be a rank that sums through a switch, until the connection closes."""
    values, link = _vector(rank, floats), card(rank)
    try:
        control.send(link.bound)
        address, worker = control.recv()
        link.plug(address)
        endpoint = worker.endpoint(timing(_TIMEOUT))
        link.listen(worker.port, endpoint)
        while True:
            # Between the runs, other ranks may still need answers.
            drive([link], lambda: False, control.fileno())
            control.recv()
            start = time.monotonic()
            endpoint.submit(values)
            drive([link], lambda: endpoint.idle)
            result = endpoint.take()
            assert result is not None
            _report(control, start, time.monotonic(), result.values)
    except (EOFError, ConnectionError):
        pass
    finally:
        link.close()


def _gloo_rank(control: Connection, rank: int, workers: int, floats: int, folder: str) -> None:
    """Be a rank that sums with Gloo, until the connection closes."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{Path(folder) / 'store'}", rank=rank, world_size=workers)
    values = torch.from_numpy(_vector(rank, floats))
    try:
        while control.recv():
            total = values.clone()
            start = time.monotonic()
            dist.all_reduce(total)
            _report(control, start, time.monotonic(), total.numpy())
    except (EOFError, ConnectionError):
        pass
    finally:
        dist.destroy_process_group()
