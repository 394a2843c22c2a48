"""The soak benchmark: memory, threads and descriptors of every process of a network that works for a long time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import numpy as np
from finsy.proto import p4r, p4r_grpc

from midflight.errors import MidflightError
from midflight.primitives import Aggregate, Filter, Program
from midflight.runtime.devices.base import Device
from midflight.testbed.fabric.netns import NetnsFabric
from midflight.testbed.fabric.processcrew import ProcessCrew
from midflight.testbed.group import Group
from midflight.testbed.net import Net
from midflight.testbed.topology import LinkQuality, star

__all__ = ["Process", "Sample", "Soak", "soak"]

WORKERS = 3
SIZE = 5_000  # numbers of an array
QUALITY = LinkQuality(loss=0.01, duplicate=0.005, reorder=0.005)
PROGRAMS = 8  # different ones, pushed in turns
PUSH_EVERY = 10  # rounds
GUESTS = 2  # controllers that connect and leave in each round, one of them without closing its stream
WARM_UP = 0.1  # the share of the time after which memory and files in use count as normal
_LEAST_SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at one moment: resident memory in KiB, threads and open descriptors, `at` seconds from the soak's
    beginning.
    """

    at: float
    memory: int
    threads: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Process:
    """A process that a soak has observed, and its samples in order of time."""

    name: str
    samples: list[Sample] = field(default_factory=list)

    def settled(self, seconds: float) -> list[Sample]:
        """Return the samples after the warm-up, the first tenth of a soak that took `seconds`; all samples if there are
        none.
        """
        return [each for each in self.samples if each.at >= WARM_UP * seconds] or self.samples

    def growth(self, seconds: float) -> float:
        """Return by how many KiB per hour the memory grew after the warm-up of a soak that took `seconds`.

        This is the slope of the least-squares line; 0 for fewer than two samples.
        """
        samples = self.settled(seconds)
        if len(samples) < 2:
            return 0.0
        times = np.array([each.at for each in samples]) / 3600
        return float(np.polyfit(times, [each.memory for each in samples], 1)[0])


@dataclass(frozen=True, slots=True)
class Soak:
    """The result of a soak: the work that was done, and the samples of each process.

    `seconds` is its duration. `sums`, `pushes` and `controllers` are the numbers of sums (one for each worker), of
    program changes, and of controllers that connected.
    """

    fabric: str
    seconds: float
    sums: int
    pushes: int
    controllers: int
    processes: tuple[Process, ...]

    def json(self) -> dict[str, Any]:
        """Return the result as data for JSON, with the growth of each process's memory in KiB per hour."""
        found = asdict(self)
        for each, process in zip(found["processes"], self.processes, strict=True):
            each["growth"] = process.growth(self.seconds)
        return found


def soak(
    seconds: float,
    *,
    fabric: str = "netns",
    rate: float = 1.0,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
    pause: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Soak:
    """Keep a network at work for `seconds`, with at most `rate` rounds a second, and sample every process.

    In each round three workers sum an array over links that lose, duplicate and reorder, and two controllers connect to
    the switch and read from it; one closes its session, the other disconnects. Every tenth round changes the program.
    `fabric` is "netns" or "sim". `progress` is called with the seconds passed, their total and a description. `pause`
    and `now` are the clock in seconds, for tests. MidflightError if a sum is wrong, a request fails, or the fabric is
    not available.
    """
    tell = progress or (lambda *_: None)
    randomness = np.random.default_rng(seed)
    interval = max(seconds / 1000, min(10.0, seconds / _LEAST_SAMPLES))
    processes: dict[int, Process] = {}
    sums = pushes = controllers = 0
    with (
        Net(star(WORKERS + 2, QUALITY), program=_program(0), fabric=fabric, seed=seed) as net,
        net.group("gradients", net.hosts[:WORKERS]) as group,
    ):
        begun = now()
        due = sampled = begun
        _sample(processes, net, group, 0.0)
        while (elapsed := now() - begun) < seconds:
            tell(round(elapsed), round(seconds), f"{sums:,} sums, {pushes:,} pushes, {controllers:,} controllers")
            _sum(group, randomness)
            sums += WORKERS
            for number in range(GUESTS):
                controllers += 1
                _visit(net.devices["s1"], controllers, properly=number > 0)
            if sums // WORKERS % PUSH_EVERY == 0:
                pushes += 1
                net.change(_program(pushes))
            if now() - sampled >= interval:
                sampled = now()
                _sample(processes, net, group, sampled - begun)
            due = max(due + 1 / rate, now() - 1 / rate)
            pause(max(0.0, due - now()))
        took = now() - begun
        _sample(processes, net, group, took)
    return Soak(fabric, took, sums, pushes, controllers, tuple(processes.values()))


def _program(number: int) -> Program:
    """Return one of the programs that are pushed in turns."""
    return Program(
        Aggregate("gradients", workers=WORKERS, lanes=32, slots=64),
        Filter("telemetry", keep=f"temperature > {80 + number % PROGRAMS}"),
    )


def _sum(group: Group, randomness: np.random.Generator) -> None:
    arrays = [randomness.integers(-(2**20), 2**20, SIZE, dtype=np.int32) for _ in range(WORKERS)]
    expected = np.sum(arrays, axis=0, dtype=np.int32)
    for worker, found in enumerate(group.allreduce(arrays)):
        if not np.array_equal(found, expected):
            raise MidflightError(f"worker {worker} received a wrong sum")


def _visit(device: Device, number: int, *, properly: bool) -> None:
    """Connect as a controller with its own role, and read something. If not `properly`, disconnect without closing.

    `number` is the election id of one that disconnects: the switch may still know the one before.
    """
    if properly:
        with device.session(role="guest") as session:
            session.read_multicast()
            session.read_table(session.p4info.tables[0].preamble.name)
        return
    update = p4r.MasterArbitrationUpdate(device_id=device.device_id)
    update.role.name = "stranger"
    update.election_id.low = number
    messages: SimpleQueue[p4r.StreamMessageRequest | None] = SimpleQueue()
    messages.put(p4r.StreamMessageRequest(arbitration=update))
    with grpc.insecure_channel(device.address) as channel:
        stub: Any = p4r_grpc.P4RuntimeStub(channel)
        stream = stub.StreamChannel(iter(messages.get, None))
        next(stream)  # the switch has taken it for a controller
        stream.cancel()
    messages.put(None)


def _sample(processes: dict[int, Process], net: Net, group: Group, at: float) -> None:
    known = _known(net, group)
    for pid, command in _family().items():
        try:
            status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue  # it has just ended
        if "VmRSS" in status:  # not of one that has just ended
            sample = Sample(at, int(status["VmRSS"].split()[0]), int(status["Threads"]), descriptors)
            processes.setdefault(pid, Process(known.get(pid, command))).samples.append(sample)


def _family() -> dict[int, str]:
    """Return the commands of this process and its descendants, by process id."""
    parents, commands = {}, {}
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with suppress(OSError):
                parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                arguments = (process / "cmdline").read_text(errors="replace").rstrip("\0").split("\0")
                commands[int(process.name)] = " ".join(each.rpartition("/")[2] for each in arguments)[:40]
    family = [os.getpid()]
    for each in family:  # the list grows during the loop
        family += [child for child, parent in parents.items() if parent == each]
    return {each: commands[each] for each in family if each in commands}


def _known(net: Net, group: Group) -> dict[int, str]:
    """Return the names of a network's processes, by id."""
    found = {os.getpid(): "controller"}
    if isinstance(group.crew, ProcessCrew):
        for number, process in enumerate(group.crew.processes):
            if process is not None:
                found[process.process.pid] = f"worker {number}"
    if isinstance(net.fabric, NetnsFabric):
        found |= net.fabric.processes
    return found
