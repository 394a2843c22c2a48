"""The relay: a process that gives links of a network of namespaces delay, loss and other impairments, and captures
links.

Each end of a link is a packet socket on an interface. A frame that arrives at one end leaves at the other as the link's
`LinkQuality` determines. The simulated network's `Channel` decides that, here in real time.
"""

from __future__ import annotations

import heapq
import itertools
import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from midflight.testbed.host.control import Ready
from midflight.testbed.sim.link import Channel, ChannelStatistics
from midflight.testbed.sim.simulator import stream
from midflight.testbed.topology.quality import LinkQuality
from midflight.userfiles import failed

__all__ = ["AskStatistics", "Impair", "Relayed", "StartRelay", "Statistics", "Tap", "packet_socket", "relay"]

_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_IGNORE_OUTGOING = 23
SO_TIMESTAMPNS = 35
_BUFFER = 16 << 20
_BATCH = 64  # frames received from one socket at a time
_EVERYTHING = 1 << 20
_LARGEST = 65_535
_PCAP_HEADER = struct.Struct("=IHHiIII")
_PCAP_RECORD = struct.Struct("=IIII")
_PCAP_NANOSECONDS = 0xA1B23C4D
_ETHERNET = 1
_TIME = struct.Struct("=qq")


@dataclass(frozen=True, slots=True)
class Relayed:
    """A link for the relay process: the names of its two ends, such as `h1:0`, the descriptors of their sockets, its
    quality.
    """

    one: str
    other: str
    one_socket: int
    other_socket: int
    quality: LinkQuality


@dataclass(frozen=True, slots=True)
class Tap:
    """A link to capture: the file descriptor of a packet socket on one of its ends, and the path of the pcap file."""

    socket: int
    file: str


@dataclass(frozen=True, slots=True)
class StartRelay:
    """The first message to a relay process: the links to relay, and the links to capture.

    `seed` determines the random choices of loss, duplication and reordering.
    """

    seed: int
    links: tuple[Relayed, ...]
    taps: tuple[Tap, ...]


@dataclass(frozen=True, slots=True)
class AskStatistics:
    """A message to the relay process: send the counters of all links, as a `Statistics`."""


@dataclass(frozen=True, slots=True)
class Impair:
    """A message to the relay process: use this quality for all links from now on. Answered by `Statistics`."""

    quality: LinkQuality


@dataclass(frozen=True, slots=True)
class Statistics:
    """The relay process's answer to `AskStatistics` and `Impair`: counters of each direction of each link since the
    start.

    The names are like `h1:0->s1:1`: node and port of the sending and of the receiving end.
    """

    channels: dict[str, ChannelStatistics]


def packet_socket(interface: str, *, outgoing: bool = False) -> socket.socket:
    """Return a non-blocking packet socket that receives every incoming frame of a network interface, and can send
    frames.

    With `outgoing`, it also receives the frames that the machine sends there. The interface is in the current
    namespace. OSError if there is no such interface, PermissionError without root.
    """
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        for option in ("SO_RCVBUFFORCE", "SO_SNDBUFFORCE"):
            opened.setsockopt(socket.SOL_SOCKET, getattr(socket, option, 33 if "RCV" in option else 32), _BUFFER)
        opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        if not outgoing:
            opened.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        opened.bind((interface, _ETH_P_ALL))
        opened.setblocking(False)
    except BaseException:
        opened.close()
        raise
    return opened


class _RealTime:
    """The system's clock, with a queue of timed actions."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._events: list[tuple[int, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = itertools.count()

    @property
    def now(self) -> int:
        return time.monotonic_ns()

    def at(self, time: int, action: Callable[..., None], /, *arguments: object) -> None:
        heapq.heappush(self._events, (time, next(self._order), action, arguments))

    def random(self, name: str) -> Random:
        return stream(self._seed, name)

    def trace(self, channel: bytes, what: int, frame: bytes) -> None:
        pass

    def run(self) -> float | None:
        """Run the actions that are due, and return the seconds until the next one, or None if none is left."""
        events = self._events
        while events:
            left = events[0][0] - self.now
            if left > 0:
                return left / 1e9
            _, _, action, arguments = heapq.heappop(events)
            action(*arguments)
        return None


class _End:
    """One end of a link (a `Node`): frames that are delivered to it leave through its socket."""

    def __init__(self, number: int) -> None:
        self.socket = socket.socket(fileno=number)
        self.channel: Channel | None = None

    def receive(self, _port: int, frame: bytes) -> None:
        with suppress(OSError):  # the interface is down or its buffer is full: the frame is lost, as on a wire
            self.socket.send(frame)

    def take(self) -> None:
        assert self.channel is not None
        for _ in range(_BATCH):
            try:
                frame = self.socket.recv(_LARGEST)
            except BlockingIOError:
                return
            except OSError:  # the interface went down
                return
            self.channel.send(frame)


class _Capture:
    """A pcap file with the kernel's timestamps in nanoseconds. Unbuffered. MidflightError if it cannot be written."""

    def __init__(self, tap: Tap, stack: ExitStack) -> None:
        self.socket = socket.socket(fileno=tap.socket)
        self._path = tap.file
        try:
            self._file = stack.enter_context(Path(tap.file).open("wb", buffering=0))  # noqa: SIM115
        except OSError as error:
            raise failed(error, tap.file) from None
        self._write(_PCAP_HEADER.pack(_PCAP_NANOSECONDS, 2, 4, 0, 0, _LARGEST, _ETHERNET))

    def take(self, most: int = _BATCH) -> None:
        records = bytearray()
        for _ in range(most):
            try:
                frame, extra, _, _ = self.socket.recvmsg(_LARGEST, socket.CMSG_SPACE(_TIME.size))
            except OSError:  # no more frames for now, or the interface went down
                break
            seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
            for level, kind, data in extra:
                if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS) and len(data) == _TIME.size:
                    seconds, nanoseconds = _TIME.unpack(data)
            records += _PCAP_RECORD.pack(seconds, nanoseconds, len(frame), len(frame)) + frame
        self._write(records)

    def _write(self, data: bytes | bytearray) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise failed(error, self._path) from None


def relay(control: Connection, task: StartRelay) -> None:
    """Run the relay: relay and capture the links of `task` until the control connection is closed, which raises
    EOFError.

    `control` is the connection to the parent. `Ready` is sent on it at the start, and `Statistics` after every message.
    MidflightError if a capture cannot be written.
    """
    clock = _RealTime(task.seed)
    channels: dict[str, Channel] = {}
    by_file: dict[int, _End | _Capture] = {}
    with ExitStack() as stack:
        for link in task.links:
            one, other = _End(link.one_socket), _End(link.other_socket)
            for near, far, name in (
                (one, other, f"{link.one}->{link.other}"),
                (other, one, f"{link.other}->{link.one}"),
            ):
                near.channel = channels[name] = Channel(clock, name, link.quality, far, 0)
                by_file[near.socket.fileno()] = near
        captures = [_Capture(tap, stack) for tap in task.taps]
        by_file.update({each.socket.fileno(): each for each in captures})
        for each in by_file.values():
            stack.callback(each.socket.close)
        control.send(Ready())
        watched = [control.fileno(), *by_file]
        while True:
            readable, _, _ = select.select(watched, [], [], clock.run())
            for number in readable:
                if number == control.fileno():
                    message = control.recv()
                    if isinstance(message, Impair):
                        for channel in channels.values():
                            channel.impair(message.quality)
                    for capture in captures:
                        capture.take(_EVERYTHING)  # the files are complete up to the answer
                    control.send(Statistics({name: each.statistics for name, each in channels.items()}))
                else:
                    by_file[number].take()
