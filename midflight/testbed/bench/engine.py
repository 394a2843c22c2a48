"""The engine's packet rate for two programs, in process, on one core.

A batch is timed as a whole: one call, native code from its first packet to its last. The output is checked before
anything is timed, so a figure only counts correctly processed packets.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from pathlib import Path

import numpy as np

from midflight.errors import MidflightError
from midflight.p4 import ir
from midflight.p4.frontend import check, check_file
from midflight.primitives import Aggregate, Program
from midflight.runtime.endpoint.aggregation import Form
from midflight.runtime.endpoint.frames import UdpFlow
from midflight.runtime.engine import Engine, Entry, Packets
from midflight.testbed.bench.rate import Clock, Progress, Rate, Timed, silent

__all__ = ["EngineBench", "aggregation", "bench_engine"]

_HEADERS = 14 + 20 + 8
_APPLICATION = "gradients"
_SLOTS = 256


@dataclass(frozen=True, slots=True)
class EngineBench:
    """The packet rates of the embedded switch in one benchmark run: of an IPv4 forwarder and of an aggregation.

    `routes` is the size of the forwarder's table; `lanes` and `workers` are the aggregation's parameters.
    """

    forwarder: Rate
    aggregation: Rate
    routes: int
    lanes: int
    workers: int
    seed: int

    def json(self) -> dict[str, object]:
        """Return the figures as data for JSON: a dict with a key for each field."""
        return asdict(self)


def bench_engine(
    *,
    routes: int = 1_000,
    lanes: int = 32,
    workers: int = 4,
    packets: int = 16_384,
    runs: int = 15,
    seed: int = 0,
    progress: Progress | None = None,
    clock: Clock = time.perf_counter,
) -> EngineBench:
    """Measure an IPv4 forwarder with random routes and destinations, and an aggregation of `lanes` lanes.

    `packets` is the number of packets in a batch, which is processed `runs` times for each program. Inputs are random
    numbers from `seed`. `progress` is called after every run; None for no reports. `clock` returns seconds.
    MidflightError if the output is wrong.
    """
    report = progress or silent
    rates = []
    makers: list[Callable[[], Timed]] = [
        lambda: _forwarder(routes, packets, seed, clock),
        lambda: aggregation(lanes, workers, packets, seed, clock),
    ]
    for number, make in enumerate(makers):
        report(number * runs, 2 * runs, "compiling")
        subject = make()

        found = []
        for run in range(runs):
            found.append(subject.run(clock))
            report(number * runs + run + 1, 2 * runs, subject.name)
        rates.append(subject.rate(found))
    return EngineBench(rates[0], rates[1], routes, lanes, workers, seed)


def _forwarder(routes: int, packets: int, seed: int, clock: Clock) -> Timed:
    start = clock()
    engine = Engine(check_file(Path(__file__).with_name("forwarder.p4")))
    seconds = clock() - start
    random = np.random.default_rng(seed)
    prefixes: dict[tuple[int, int], int] = {(0, 0): 0}
    # Prefix lengths as in a provider's table: mostly /24, then /16 to /22, and a few others.
    lengths = random.choice([8, 12, 16, 18, 19, 20, 21, 22, 23, 24, 28, 32], 4 * routes, p=_LENGTHS)
    for length, address in zip(lengths.tolist(), random.integers(0, 2**32, 4 * routes).tolist(), strict=True):
        if len(prefixes) == routes:
            break
        mask = (0xFFFF_FFFF << (32 - length)) & 0xFFFF_FFFF
        prefixes.setdefault((address & mask, mask), len(prefixes))
    table = engine.tables["ingress.route"]
    for (address, mask), number in prefixes.items():
        table.insert(Entry((ir.EntryKey(address, mask),), "ingress.to_port", (number % 500, number)))
    destinations = random.integers(0, 2**32, packets).tolist()
    batch = Packets.from_list((1, _frame(IPv4Address(each), b"\0" * 22)) for each in destinations)
    out = engine.process(batch)
    for index in range(0, packets, max(1, packets // 500)):
        address = destinations[index]
        number = max((mask, number) for (prefix, mask), number in prefixes.items() if address & mask == prefix)[1]
        if out[index][0] != number % 500 or out[index][1][:6] != number.to_bytes(6, "big"):
            raise MidflightError(f"the forwarder sent {IPv4Address(address)} the wrong way")
    return Timed("IPv4 forwarder", engine, batch, lambda: None, seconds)


_LENGTHS = [0.01, 0.01, 0.06, 0.03, 0.04, 0.06, 0.06, 0.12, 0.09, 0.48, 0.02, 0.02]


def _frame(destination: IPv4Address, payload: bytes) -> bytes:
    flow = UdpFlow(
        source_mac=1,
        destination_mac=2,
        source=IPv4Address("192.0.2.1"),
        destination=destination,
        source_port=1000,
        destination_port=19782,
    )
    return flow.encode(payload)


def aggregation(lanes: int, workers: int, packets: int, seed: int, clock: Clock) -> Timed:
    """Return an aggregation of random numbers from `seed`, ready to be timed, after checking every sum with NumPy's.

    `lanes` and `workers` are those of the `Aggregate`, `packets` is the size of the batch, and `clock` returns seconds,
    to measure the compile time. MidflightError if a sum is wrong.
    """
    start = clock()
    program = Program(Aggregate(_APPLICATION, workers=workers, lanes=lanes, slots=_SLOTS))
    engine = Engine(check(program.p4()))
    seconds = clock() - start
    number = program.applications[_APPLICATION].id
    key = ir.EntryKey(number)
    engine.tables["ingress.admission"].insert(
        Entry((key, ir.EntryKey(None)), "ingress.admit", (1, 1, 0, 0), priority=1)
    )
    engine.multicast.set(1, [(worker + 1, 0) for worker in range(workers)])
    deliver = engine.tables["egress.deliver"]
    for worker in range(workers):
        deliver.insert(Entry((key, ir.EntryKey(worker + 1)), "egress.to_host", (worker, worker, 1000)))
    chunks = packets // workers
    values = np.random.default_rng(seed).integers(-(2**20), 2**20, (workers, chunks, lanes), dtype=np.int32)
    form = Form(number, lanes)
    requests = [form.requests(values[worker], worker=worker, slots=_SLOTS, first=1) for worker in range(workers)]
    server = IPv4Address("192.0.2.2")
    batch = Packets.from_list(
        (worker + 1, _frame(server, requests[worker][chunk])) for chunk in range(chunks) for worker in range(workers)
    )

    def forget() -> None:
        for register in engine.registers.values():
            register.clear()

    out = engine.process(batch)
    results = [data[_HEADERS + form.values_offset :] for _, data in out]
    expected = [row.tobytes() for row in values.sum(axis=0, dtype=np.int64).astype(">i4") for _ in range(workers)]
    if results != expected:
        raise MidflightError("the aggregation's sums differ from NumPy's")
    return Timed(f"{lanes}-lane aggregation", engine, batch, forget, seconds)
