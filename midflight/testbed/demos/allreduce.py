"""Four workers train a classifier together, once with a switch that sums their gradients and once with a server.

The two runs are the same job over the same network, except for one entry in the switch's admission table. A third run
without a network sums the same fixed-point integers with NumPy. The other two have to learn exactly the same model, bit
for bit, whatever the links do to packets.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from midflight.primitives import Aggregate, Program
from midflight.primitives.fixedpoint import dequantise, largest_exponent, quantise, scale_bits
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.endpoint.allreduce import Sum
from midflight.testbed.demos.digits import Digits, Model, load
from midflight.testbed.fabric.base import Scheduled
from midflight.testbed.star import Star
from midflight.testbed.topology import LinkQuality

__all__ = ["Demo", "Figures", "Progress", "Run", "Settings", "run"]

Progress = Callable[[int, int, str], None]
"""Called after every step with the number of steps done, their total, and a description."""

_APPLICATION = "gradients"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the all-reduce demonstration.

    workers, steps: the numbers of workers and of training steps.
    batch: the images for each worker and step.
    lanes, slots: as for `Aggregate`.
    loss: the probability that a link loses a packet, and likewise that it duplicates or delays one.
    seed: of all random choices.
    device, fabric: as for `Net`.
    sheet: the limits to assume instead of the device's; None for the device's. If the program does not fit, the server
        computes in both runs.
    """

    workers: int = 4
    steps: int = 80
    batch: int = 64  # images for each worker and step
    lanes: int = 32
    slots: int = 256
    loss: float = 0.0
    seed: int = 0
    device: str = "host"
    fabric: str = "sim"
    sheet: Capabilities | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """The results of the all-reduce demonstration. Counts are sums over both runs unless the name says otherwise.

    In a simulated network all figures are the same for the same settings, bit for bit. In any network the sums and the
    weights are.

    accuracy_*: the share of the test images that the trained model classifies correctly, from 0 to 1.
    server_link_*: bytes and packets in both directions of the server's link.
    packets: the packets sent on all links.
    lost, duplicated, reordered: the packets that links have lost, duplicated and reordered.
    retransmitted: the packets that workers have sent again.
    duplicates_suppressed: requests and results that arrived again and changed nothing.
    max_abs_error: the largest difference of any summed gradient from NumPy's float64 sum of the same gradients.
    sums_exact: whether all sums, as integers, and the final weights of both runs equal those computed with NumPy alone.
    sums_digest, weights_digest: SHA-256 of all sums, and of all workers' final weights, in the run with the switch.
    trace_*: the hash of all events on links; empty unless the network is simulated.
    parameters: the number of weights of the model.
    step_microseconds_*: the mean time of a step's sum, by the network's clock.
    """

    workers: int
    accuracy_switch: float
    accuracy_server: float
    max_abs_error: float
    server_link_bytes_switch: int
    server_link_bytes_server: int
    server_link_packets_switch: int
    server_link_packets_server: int
    packets: int
    lost: int
    duplicated: int
    reordered: int
    retransmitted: int
    duplicates_suppressed: int
    sums_exact: bool
    sums_digest: str
    weights_digest: str
    trace_switch: str
    trace_server: str
    steps: int
    parameters: int
    loss: float
    seed: int
    device: str
    fabric: str
    step_microseconds_switch: float
    step_microseconds_server: float

    def json(self) -> dict[str, object]:
        """Return the figures as data for JSON: a dict with a key for each field."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Run:
    """One training run of the demonstration, with sums in the switch or at the server: its results and network traffic.

    `losses` is the mean loss on the training images after each step, and `accuracy` is on the test images, from 0 to 1.
    """

    losses: tuple[float, ...]
    accuracy: float
    max_abs_error: float
    sums_digest: str
    weights_digest: str
    server_link_bytes: tuple[int, ...]  # total after each step
    server_link_packets: int
    packets: int
    lost: int
    duplicated: int
    reordered: int
    retransmitted: int
    duplicates_suppressed: int
    trace: str
    nanoseconds: int  # time spent summing, by the network's clock


@dataclass(frozen=True, slots=True)
class Demo:
    """The result of the all-reduce demonstration: the figures, the two runs, and the wall-clock time in seconds."""

    figures: Figures
    switch: Run
    server: Run
    seconds: float


def run(settings: Settings | None = None, progress: Progress | None = None) -> Demo:
    """Train a classifier with sums in the switch, then with sums at the server, and compare.

    With `settings` None, the defaults apply. `progress` is called after every step. MidflightError if scikit-learn is
    not installed, a setting is invalid, or the network does not answer; DeviceError if a device does not start.
    """
    settings = settings or Settings()
    report = progress or _silent
    started = time.perf_counter()
    train, test = load(settings.seed)
    total = 2 * settings.steps
    switch = _train(settings, train, test, offload=True, report=lambda done: report(done, total, "with the switch"))
    server = _train(
        settings,
        train,
        test,
        offload=False,
        report=lambda done: report(settings.steps + done, total, "with the server"),
    )
    alone = _Job(settings, train)
    for gradients in alone:
        alone.learn([_expected_sum(gradients)] * settings.workers)
    exact = (
        alone.digests() == (switch.sums_digest, switch.weights_digest) == (server.sums_digest, server.weights_digest)
    )
    figures = Figures(
        workers=settings.workers,
        accuracy_switch=switch.accuracy,
        accuracy_server=server.accuracy,
        max_abs_error=max(switch.max_abs_error, server.max_abs_error),
        server_link_bytes_switch=switch.server_link_bytes[-1],
        server_link_bytes_server=server.server_link_bytes[-1],
        server_link_packets_switch=switch.server_link_packets,
        server_link_packets_server=server.server_link_packets,
        packets=switch.packets + server.packets,
        lost=switch.lost + server.lost,
        duplicated=switch.duplicated + server.duplicated,
        reordered=switch.reordered + server.reordered,
        retransmitted=switch.retransmitted + server.retransmitted,
        duplicates_suppressed=switch.duplicates_suppressed + server.duplicates_suppressed,
        sums_exact=exact,
        sums_digest=switch.sums_digest,
        weights_digest=switch.weights_digest,
        trace_switch=switch.trace,
        trace_server=server.trace,
        steps=settings.steps,
        parameters=alone.parameters,
        loss=settings.loss,
        seed=settings.seed,
        device=settings.device,
        fabric=settings.fabric,
        step_microseconds_switch=switch.nanoseconds / settings.steps / 1000,
        step_microseconds_server=server.nanoseconds / settings.steps / 1000,
    )
    return Demo(figures, switch, server, time.perf_counter() - started)


class _Job:
    """The training itself: every worker with its shard of the images and its own copy of the model."""

    def __init__(self, settings: Settings, train: Digits) -> None:
        self._settings = settings
        self._shards = [train[number :: settings.workers] for number in range(settings.workers)]
        self._models = [Model() for _ in self._shards]
        self._random = np.random.default_rng(settings.seed)
        self._sums = hashlib.sha256()

    @property
    def model(self) -> Model:
        return self._models[0]

    @property
    def parameters(self) -> int:
        return self.model.weights.size

    def __iter__(self) -> Iterator[list[NDArray[np.float32]]]:
        """Yield the workers' gradients, step by step. Call `learn` after each."""
        for _ in range(self._settings.steps):
            picks = [self._random.choice(len(each), self._settings.batch, replace=False) for each in self._shards]
            yield [
                model.gradient(shard[pick])
                for model, shard, pick in zip(self._models, self._shards, picks, strict=True)
            ]

    def learn(self, sums: Sequence[Sum]) -> None:
        """Update each worker's model with the sum that it received."""
        images = np.float32(self._settings.batch * self._settings.workers)
        for model, received in zip(self._models, sums, strict=True):
            self._sums.update(f"{received.bits} ".encode() + received.integers.astype(">i4").tobytes())
            model.step((received.values / images).astype(np.float32, copy=False))

    def digests(self) -> tuple[str, str]:
        """Return the SHA-256 digests of all sums so far and of all workers' weights."""
        weights = b"".join(model.weights.astype(">f4").tobytes() for model in self._models)
        return self._sums.hexdigest(), hashlib.sha256(weights).hexdigest()


def _train(settings: Settings, train: Digits, test: Digits, *, offload: bool, report: Callable[[int], None]) -> Run:
    program = Program(
        Aggregate(
            _APPLICATION, workers=settings.workers, lanes=settings.lanes, slots=settings.slots, overflow="saturate"
        )
    )
    quality = LinkQuality(loss=settings.loss, duplicate=settings.loss, reorder=settings.loss)
    job = _Job(settings, train)
    losses: list[float] = []
    link_bytes: list[int] = []
    error = 0.0
    with Star(
        hosts=settings.workers + 1,
        program=program,
        device=settings.device,
        fabric=settings.fabric,
        seed=settings.seed,
        quality=quality,
        offload=offload,
        capabilities=settings.sheet,
    ) as net:
        group = net.group(_APPLICATION, net.hosts[: settings.workers])
        server = net.hosts[-1]
        nanoseconds = 0
        for done, gradients in enumerate(job, 1):
            began = net.now
            sums = group.sum(gradients)
            nanoseconds += net.now - began
            exact = np.sum(np.stack(gradients), axis=0, dtype=np.float64)
            error = max(error, *(float(np.abs(each.values - exact).max()) for each in sums))
            job.learn(sums)
            losses.append(job.model.loss(train))
            link_bytes.append(net.link(server).bytes)
            report(done)
        if isinstance(net.fabric, Scheduled):  # fences of a live network would be counted as well
            net.settle()  # what is still in flight arrives, so that everything sent has been counted
        arrived = sum(net.uplink(each).delivered for each in group.hosts) if offload else net.downlink(server).delivered
        totals = net.totals()
        reliable = [each.reliable for each in group.statistics]
        sums_digest, weights_digest = job.digests()
        return Run(
            losses=tuple(losses),
            accuracy=job.model.accuracy(test),
            max_abs_error=error,
            sums_digest=sums_digest,
            weights_digest=weights_digest,
            server_link_bytes=(*link_bytes[:-1], net.link(server).bytes),
            server_link_packets=net.link(server).packets,
            packets=totals.packets,
            lost=totals.lost,
            duplicated=totals.duplicated,
            reordered=totals.reordered,
            retransmitted=sum(each.retransmitted for each in reliable),
            # Every request was answered and so summed once. All others were suppressed.
            duplicates_suppressed=sum(each.duplicates - each.answered for each in reliable) + arrived,
            trace=net.trace_hash(),
            nanoseconds=nanoseconds,
        )


def _expected_sum(gradients: Sequence[NDArray[np.float32]]) -> Sum:
    """Return the sum that a switch has to compute for these gradients."""
    bits = scale_bits(2.0 ** max(map(largest_exponent, gradients)), len(gradients))
    quantised = np.stack([quantise(each, bits) for each in gradients])
    integers: NDArray[np.int32] = quantised.sum(axis=0, dtype=np.int64).astype(np.int32)
    return Sum(dequantise(integers, bits), integers, bits)


def _silent(_done: int, _total: int, _text: str) -> None:
    pass
