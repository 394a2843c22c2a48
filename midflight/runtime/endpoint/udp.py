"""Endpoints over UDP sockets, in real time."""

from __future__ import annotations

import errno
import math
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from midflight.errors import DeviceError
from midflight.runtime.endpoint.base import Endpoint
from midflight.runtime.endpoint.reliable import Address

__all__ = ["Driven", "UdpSocket", "UdpStatistics", "drive"]

_BUFFER = 4 << 20  # bytes of the kernel's buffers: room for a window of all workers' results
_BATCH = 64  # datagrams received at a time before replies are sent
_LARGEST = 65_535
# Errors of this program. Any other error means that a datagram could not be delivered, which to an endpoint is a lost
# packet. So nothing that a peer does can end the endpoint.
_OURS = frozenset({errno.EMSGSIZE, errno.EBADF})


@dataclass(slots=True)
class UdpStatistics:
    """Counters of the datagrams that one `UdpSocket` has received and sent.

    `unsendable` counts those that the kernel rejected, for example for lack of a route.
    """

    received: int = 0
    sent: int = 0
    unsendable: int = 0  # datagrams that the kernel rejected: no route, no link, invalid address


class UdpSocket:
    """Drives an endpoint over a UDP socket: passes in datagrams, sends what it returns, and polls it at its deadlines.

    address, port: the IPv4 or IPv6 address and the UDP port to bind; port 0 selects a free one. clock: returns
    nanoseconds and never runs backwards. DeviceError if the address cannot be bound. A context manager; leaving it
    closes the socket.
    """

    def __init__(
        self, endpoint: Endpoint, address: str, port: int = 0, *, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.endpoint = endpoint
        self.statistics = UdpStatistics()
        self._clock = clock
        self._backlog: deque[tuple[Address, bytes]] = deque()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                self._socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
            with suppress(OSError):  # exceeding the system's limit needs privileges
                self._socket.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), _BUFFER)
            self._socket.bind((address, port))
        except (OSError, OverflowError) as error:  # the latter for an invalid port
            self._socket.close()
            reason = error.strerror if isinstance(error, OSError) else error
            raise DeviceError(f"cannot listen on UDP {address}:{port}: {reason}") from None

    @property
    def address(self) -> Address:
        """The IP address and UDP port that the socket is bound to."""
        host, port, *_ = self._socket.getsockname()
        return str(host), int(port)

    def run(self, until: Callable[[], bool], wake: int | None = None, timeout: float | None = None) -> bool:
        """Drive the endpoint until `until()` is true, and return True. Blocks.

        `until` is called after every batch of datagrams. Return False if the file descriptor `wake` is readable, or
        after `timeout` seconds; None means without either. Errors that the endpoint raises propagate.
        """
        return drive([self], until, wake, timeout)

    def close(self) -> None:
        """Close the socket. May be called more than once."""
        self._socket.close()

    def __enter__(self) -> UdpSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def patience(self) -> int | None:
        """Return the milliseconds until the endpoint's next deadline, rounded up, or None if it has no deadline."""
        deadline = self.endpoint.next_deadline()
        return None if deadline is None else max(0, -((self._clock() - deadline) // 1_000_000))

    def register(self, poll: select.poll) -> None:
        """Register the socket with `poll` for datagrams to receive and, if a backlog is waiting, for room to send."""
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._backlog else 0))

    def receive(self) -> None:
        """Pass the datagrams that have arrived to the endpoint, at most 64 of them. Does not block.

        OSError if the socket is closed. Errors that the endpoint raises propagate.
        """
        for _ in range(_BATCH):
            try:
                datagram, source = self._socket.recvfrom(_LARGEST)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OURS:
                    raise
                continue  # the failure of a datagram sent earlier
            self.statistics.received += 1
            self.endpoint.receive(source[:2], datagram, self._clock())

    def send(self) -> None:
        """Send what the endpoint has to send now, until the kernel's buffer is full. The rest is sent by the next call.

        Datagrams that the kernel rejects, such as for lack of a route, count as lost. OSError if the socket is closed
        or a datagram is too large. Errors of the endpoint propagate.
        """
        backlog = self._backlog
        backlog.extend(self.endpoint.poll(self._clock()))
        while backlog:
            destination, datagram = backlog[0]
            try:
                self._socket.sendto(datagram, destination)
                self.statistics.sent += 1
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OURS:
                    raise
                self.statistics.unsendable += 1
            backlog.popleft()


class Driven(Protocol):
    """A socket with its endpoint, or anything else with a file descriptor, that `drive` can drive."""

    def send(self) -> None:
        """Send the datagrams that are due. Called before each wait."""

    def receive(self) -> None:
        """Process the datagrams that have arrived, without waiting for more."""

    def patience(self) -> int | None:
        """Return the milliseconds until `send` has to be called next, or None if there is no deadline."""

    def register(self, poll: select.poll) -> None:
        """Register the socket with a poll object, so that it wakes when a datagram arrives."""


def drive(
    sockets: Sequence[Driven], until: Callable[[], bool], wake: int | None = None, timeout: float | None = None
) -> bool:
    """Drive the endpoints of several sockets in this thread until `until()` is true, and return whether it is.

    `until` is called after every batch of datagrams. Returns False when the file descriptor `wake` becomes readable, or
    if `until()` is still false after `timeout` seconds; None means without either. Errors of endpoints propagate.
    """
    end = None if timeout is None else time.monotonic() + timeout
    poll = select.poll()
    if wake is not None:
        poll.register(wake, select.POLLIN)
    while True:
        for each in sockets:
            each.send()
        if until():
            return True
        for each in sockets:
            each.register(poll)
        deadlines = [patience for each in sockets if (patience := each.patience()) is not None]
        if end is not None:
            deadlines.append(max(0, math.ceil((end - time.monotonic()) * 1000)))
        for number, _ in poll.poll(min(deadlines, default=None)):
            if number == wake:
                return False
        for each in sockets:
            each.receive()
        if end is not None and time.monotonic() >= end:
            return until()
