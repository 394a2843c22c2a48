"""One sender fills a queue, which drops packets when it is full, marks them at a threshold, or runs CoDel.

The sender adapts its rate like a TCP sender in congestion avoidance: an acknowledgement for each packet, a window that
grows by one packet in a round trip, and that halves for a lost or marked packet, at most once in a round trip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from midflight.errors import MidflightError
from midflight.runtime.checked import user_programs
from midflight.runtime.devices.host import HostDevice
from midflight.testbed.fabric.sim import SimFabric
from midflight.testbed.sim.host import Host
from midflight.testbed.topology import LinkQuality, star

__all__ = ["EXAMPLES", "QueueDemo", "QueueRun", "QueueSettings", "run"]

EXAMPLES = Path(__file__).parents[2] / "p4src" / "examples"
"""The folder of the P4 programs about queues."""

_PORT = 5000  # UDP, at both ends
_FRAME = 1000  # bytes
_HEADERS = 42
_ECN = 15  # the byte of a frame with the ECN field
_ECT, _MARKED = 2, 3
_NEVER = (1 << 19) - 1
_PATIENCE = 500_000_000  # nanoseconds without an acknowledgement after which everything counts as lost


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """The settings of the demonstration.

    rate: of the queue, in packets a second, at least 1.
    depth: of the queue, in packets, at least 1.
    delay: of each link, in nanoseconds, at least 0; a round trip takes four.
    threshold: of marking, in packets, 0 to 2**19 - 2.
    seconds: the duration of a run, above 0.

    MidflightError for a value out of its range.
    """

    rate: int = 1000
    depth: int = 100
    delay: int = 5_000_000
    threshold: int = 10
    seconds: float = 6.0

    def __post_init__(self) -> None:
        if self.rate < 1 or self.depth < 1 or self.delay < 0 or not 0 <= self.threshold < _NEVER or self.seconds <= 0:
            raise MidflightError(
                f"rate and depth must be at least 1, delay at least 0, threshold 0 to {_NEVER - 1}, and seconds "
                f"positive: {self}"
            )


@dataclass(frozen=True, slots=True)
class QueueRun:
    """What happened with one way to treat the queue.

    times: when the queue was observed, every millisecond (float64 seconds from the start)
    depths: the packets in it at these times (int64)
    delays: of each packet that arrived, from sender to receiver (float64 seconds)
    delivered, marked, lost: numbers of packets
    """

    name: str
    times: NDArray[np.float64]
    depths: NDArray[np.int64]
    delays: NDArray[np.float64]
    delivered: int
    marked: int
    lost: int

    def figures(self) -> dict[str, float | int]:
        """Return the figures of the run for JSON; delays are in milliseconds."""
        return {
            "delivered": self.delivered,
            "marked": self.marked,
            "lost": self.lost,
            "mean_depth": round(float(self.depths.mean()), 3),
            "largest_depth": int(self.depths.max()),
            "median_delay": round(float(np.median(self.delays)) * 1e3, 3),
            "p99_delay": round(float(np.quantile(self.delays, 0.99)) * 1e3, 3),
        }


@dataclass(frozen=True, slots=True)
class QueueDemo:
    """The settings and the runs of the demonstration."""

    settings: QueueSettings
    runs: tuple[QueueRun, ...]

    def json(self) -> dict[str, object]:
        """Return the settings and the figures of each run as JSON."""
        return {"settings": asdict(self.settings), "runs": {each.name: each.figures() for each in self.runs}}


def run(settings: QueueSettings, progress: Callable[[int, int, str], None] = lambda *_: None) -> QueueDemo:
    """Run the demonstration, in virtual time. The same settings give the same result.

    `progress` is called after each run, with the number of runs done, their total, and the run's name.
    """
    kinds = (
        ("drops when full", "ecn.p4", _NEVER),
        (f"marks from {settings.threshold} packets", "ecn.p4", settings.threshold),
        ("CoDel", "codel.p4", None),
    )
    runs = []
    for number, (name, program, threshold) in enumerate(kinds, 1):
        runs.append(_run(settings, name, (EXAMPLES / program).read_text(), threshold))
        progress(number, len(kinds), name)
    return QueueDemo(settings, tuple(runs))


def _run(settings: QueueSettings, name: str, program: str, threshold: int | None) -> QueueRun:
    topology = star(2, LinkQuality(delay=settings.delay))
    programs = user_programs()
    with SimFabric(topology, lambda _: HostDevice(program, programs=programs)) as fabric:
        device = fabric.devices["s1"]
        assert isinstance(device, HostDevice)
        device.queues.set(2, depth=settings.depth, rate=f"{settings.rate}pps")
        with device.session() as session:
            for port, host in enumerate(fabric.hosts.values(), 1):
                match = {"hdr.ipv4.destination": (int(host.address), 32)}
                session.insert("ingress.route", match, "ingress.send", {"port": port})
            if threshold is not None:
                session.set_default("egress.threshold", "egress.at", {"packets": threshold})
        flow = _Flow(fabric, *fabric.hosts.values())
        end = round(settings.seconds * 1e9)
        depths: list[int] = []

        def sample() -> None:
            depths.append(device.queues.state(2).waiting)
            if fabric.now < end:
                fabric.after(1_000_000, sample)

        sample()
        flow.start()
        fabric.drive(lambda: fabric.now >= end)
        flow.stop()
    return QueueRun(
        name,
        np.arange(len(depths)) / 1e3,
        np.array(depths, np.int64),
        np.array(flow.delays) / 1e9,
        len(flow.delays),
        flow.marked,
        flow.lost,
    )


class _Flow:
    """A sender and its receiver, at the level of frames."""

    def __init__(self, fabric: SimFabric, sender: Host, receiver: Host) -> None:
        self.delays: list[int] = []
        self.marked = 0
        self.lost = 0
        self._fabric = fabric
        self._sender, self._receiver = sender, receiver
        self._there = sender.flow(_PORT, (str(receiver.address), _PORT), ecn=_ECT)
        self._back = receiver.flow(_PORT, (str(sender.address), _PORT))
        self._window, self._growing = 2.0, True
        self._next = 0
        self._sent: dict[int, int] = {}  # by number: when each packet that is under way was sent
        self._recover = 0  # packets up to this one belong to the round trip of the last decrease
        self._heard = 0
        self._on = False
        receiver.tap(self._received)
        sender.tap(self._acknowledged)

    def start(self) -> None:
        """Begin to send."""
        self._on = True
        self._fabric.after(_PATIENCE, self._check)
        self._send()

    def stop(self) -> None:
        """Send nothing more."""
        self._on = False

    def _send(self) -> None:
        while self._on and len(self._sent) < int(self._window):
            number = self._next.to_bytes(4, "big")
            self._sent[self._next] = self._fabric.now
            self._next += 1
            self._sender.transmit(self._there.encode(number + bytes(_FRAME - _HEADERS - len(number))))

    def _received(self, time: int, frame: bytes) -> None:
        number = int.from_bytes(frame[_HEADERS : _HEADERS + 4], "big")
        if (sent := self._sent.get(number)) is not None:
            self.delays.append(time - sent)
        self._receiver.transmit(self._back.encode(frame[_HEADERS : _HEADERS + 4] + bytes([frame[_ECN] & 3])))

    def _acknowledged(self, time: int, frame: bytes) -> None:
        number, mark = int.from_bytes(frame[_HEADERS : _HEADERS + 4], "big"), frame[_HEADERS + 4] == _MARKED
        if self._sent.pop(number, None) is None:
            return
        self._heard = time
        missing = [each for each in self._sent if each < number]  # nothing is reordered
        for each in missing:
            del self._sent[each]
        self.lost += len(missing)
        self.marked += mark
        if missing or mark:
            if number >= self._recover:
                self._window, self._growing, self._recover = max(1.0, self._window / 2), False, self._next
        else:
            self._window += 1.0 if self._growing else 1.0 / self._window
        self._send()

    def _check(self) -> None:
        if self._on:
            if self._sent and self._fabric.now - self._heard >= _PATIENCE:
                self.lost += len(self._sent)
                self._sent.clear()
                self._window, self._growing = 1.0, False
                self._send()
            self._fabric.after(_PATIENCE, self._check)
