"""Network cards of hosts in namespaces: raw frames, besides the sockets of the host's programs."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from midflight.runtime.engine.ports.namespace import within
from midflight.testbed.fabric.base import Schedule, Taken
from midflight.testbed.fabric.namespaces import set_options
from midflight.testbed.fabric.relay import SO_TIMESTAMPNS, packet_socket

__all__ = ["NetnsCard", "offset", "play"]

_LARGEST = 65_535
_BATCH = 64  # frames received at a time
_POLL = 2_000_000  # nanoseconds; for shorter waits poll, which counts in milliseconds, is too coarse
_SLEEP = 150_000  # nanoseconds; shorter waits are busy, because sleeping takes about as long
_TIME = struct.Struct("=qq")
_SILENT = {
    # Linux answers datagrams for ports without a socket by ICMP. Here they are captured, so the answers are suppressed.
    "ipv4/icmp_ratelimit": "2147483647",
    "ipv6/icmp/ratelimit": "2147483647",
}


class NetnsCard:
    """The network card of a host in a namespace: raw access to its interface eth0 (a `Card`).

    `netns` is the name of the namespace. The kernel stamps arriving frames in system time; `offset` is how many
    nanoseconds the network's clock (the monotonic clock) is ahead of system time. Frames are passed to taps while
    `udp.drive` drives the card, as it does sockets. OSError if there is no eth0 in the namespace, PermissionError
    without root.
    """

    def __init__(self, netns: str, offset: int) -> None:
        def opened() -> socket.socket:
            set_options(_SILENT)
            return packet_socket("eth0")

        self.offset = offset
        self._taps: list[Taken] = []
        self._socket = within(netns, opened)

    def tap(self, taken: Taken) -> None:
        """Call `taken(time, frame)` for every frame that arrives from now on. A card may have several taps.

        The time is when the kernel received the frame, in nanoseconds of the monotonic clock.
        """
        self._taps.append(taken)

    def untap(self, taken: Taken) -> None:
        """Stop calling `taken` for arriving frames. ValueError if it is not a tap of this card."""
        self._taps.remove(taken)

    def transmit(self, frame: bytes) -> None:
        """Send a complete Ethernet frame, blocking while the card's buffer is full.

        A frame that the interface refuses is lost: the interface is down, or the frame is longer than its MTU allows.
        """
        while True:
            try:
                self._socket.send(frame)
            except BlockingIOError:
                select.select([], [self._socket], [])
            except OSError:  # the interface is down
                return
            else:
                return

    def send(self) -> None:
        """Do nothing. `drive` calls it to send what is queued, but `transmit` sends frames immediately."""

    def patience(self) -> int | None:
        """Return None. `drive` asks for the milliseconds until the next deadline, and a card has no deadlines."""
        return None

    def register(self, poll: select.poll) -> None:
        """Register the card's socket with a poll object, which then wakes when a frame arrives."""
        poll.register(self._socket, select.POLLIN)

    def receive(self) -> None:
        """Read the frames that have arrived, up to 64, and call the taps with each. Does not block."""
        for _ in range(_BATCH):
            try:
                frame, extra, _, _ = self._socket.recvmsg(_LARGEST, socket.CMSG_SPACE(_TIME.size))
            except OSError:  # no more frames for now, or the interface went down
                return
            came = time.time_ns()
            for level, kind, data in extra:
                if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS) and len(data) == _TIME.size:
                    seconds, nanoseconds = _TIME.unpack(data)
                    came = seconds * 1_000_000_000 + nanoseconds
            for each in self._taps:
                each(came + self.offset, frame)

    def close(self) -> None:
        """Close the card's socket. May be called more than once."""
        self._socket.close()


def offset() -> int:
    """Return how many nanoseconds the monotonic clock is ahead of the system's clock: the best of 16 measurements."""
    readings = []
    for _ in range(16):
        before, system, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        readings.append((after - before, (before + after) // 2 - system))
    return min(readings)[1]


def play(
    schedules: Sequence[Schedule], cards: Sequence[NetnsCard], let: Callable[[float], object]
) -> list[NDArray[np.int64]]:
    """Send the frames of schedules in real time, schedule n through card n, and return when each frame was sent.

    Offsets count from the call. The returned times are in nanoseconds of the network's clock. While waiting, `let` is
    called with a number of seconds, in which it handles other events, such as frames that arrive.
    """
    times = [np.zeros(len(each.frames), np.int64) for each in schedules]
    counts = [len(each.frames) for each in schedules]
    numbers = np.repeat(np.arange(len(schedules)), counts)
    places = np.concatenate([np.arange(each) for each in counts]) if counts else np.zeros(0, np.int64)
    offsets = np.concatenate([each.offsets for each in schedules]) if counts else places
    order = np.argsort(offsets, kind="stable")
    start = time.monotonic_ns()
    for sent, (number, place, offset) in enumerate(
        zip(numbers[order].tolist(), places[order].tolist(), offsets[order].tolist(), strict=True), 1
    ):
        while (left := start + offset - time.monotonic_ns()) > 0:
            if left > _POLL:
                let((left - _POLL // 2) / 1e9)
            elif left > _SLEEP:
                let(0)
                time.sleep((left - _SLEEP // 2) / 1e9)
        times[number][place] = time.time_ns() + cards[number].offset
        cards[number].transmit(schedules[number].frames[place])
        if sent % _BATCH == 0:
            let(0)
    return times
