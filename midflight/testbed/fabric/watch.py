"""Detection of processes of a network that end by themselves, so that calls that wait for the network do not hang."""

from __future__ import annotations

import os
import select
import threading
import time
from contextlib import suppress
from typing import Protocol

from midflight.errors import DeviceError

__all__ = ["GRACE", "Watch", "Watched"]

GRACE = 1.0
"""Seconds between the end of a process and the error in waiting calls. A process restarted or removed by then is fine.
"""


class Watched(Protocol):
    """A process that a network needs, such as a switch."""

    @property
    def pid(self) -> int:
        """The process's id."""

    def lost(self) -> DeviceError:
        """Return the error to raise when the process has ended."""


class Watch:
    """The set of a network's processes that are expected to run. `check` raises an error if one has ended by itself.

    `grace` is how many seconds an ended process has to be restarted or removed before that. `udp.drive` accepts a
    `Watch` among its sockets, and then raises the error while it waits. Methods may be called from any thread.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self._grace = grace
        self._lock = threading.Lock()
        self._epoll = select.epoll()
        self._watched: dict[str, tuple[Watched, int]] = {}  # with a descriptor of the process, or -1
        self._ended: dict[str, float] = {}  # since when that is known

    def fileno(self) -> int:
        """Return a file descriptor that becomes readable when a watched process ends.

        Poll it only while `left` returns None: it stays readable until the process is removed.
        """
        return self._epoll.fileno()

    def add(self, name: str, process: Watched) -> None:
        """Watch a process, under a name that no other has. If the process has ended already, its grace begins now."""
        with self._lock:
            try:
                descriptor = os.pidfd_open(process.pid)
                self._epoll.register(descriptor, select.EPOLLIN)
            except ProcessLookupError:
                descriptor, self._ended[name] = -1, time.monotonic()
            self._watched[name] = process, descriptor

    def remove(self, name: str) -> None:
        """Stop watching the process of this name. Does nothing for an unknown name."""
        with self._lock:
            self._ended.pop(name, None)
            _, descriptor = self._watched.pop(name, (None, -1))
            if descriptor >= 0:
                self._epoll.unregister(descriptor)
                os.close(descriptor)

    def check(self) -> None:
        """Raise the error of a process that has ended, if it was neither restarted nor removed within the grace.

        A DeviceError, from the process's `lost`. Does nothing while all processes run.
        """
        left = self.left()
        if left is not None and left <= 0:
            with self._lock:
                ended = [process for name, (process, _) in self._watched.items() if name in self._ended]
            if ended:
                raise ended[0].lost()

    def left(self) -> float | None:
        """Return the seconds until `check` raises because a process has ended; None while every process runs.

        At most 0 if `check` raises now.
        """
        with self._lock:
            if self._epoll.closed:
                return None
            now = time.monotonic()
            ready = [descriptor for descriptor, _ in self._epoll.poll(0)]
            for name, (_, descriptor) in self._watched.items():
                if descriptor in ready:
                    self._ended.setdefault(name, now)
            return min((since + self._grace - now for since in self._ended.values()), default=None)

    def close(self) -> None:
        """Stop watching all processes. Idempotent. `check` never raises afterwards."""
        for name in [*self._watched]:
            with suppress(ValueError):
                self.remove(name)
        self._epoll.close()

    # As a socket that `drive` drives

    def send(self) -> None:
        """Call `check`. `drive` calls this method first in each round, so waiting calls raise the error of an ended
        process.
        """
        self.check()

    def receive(self) -> None:
        """Do nothing. `drive` calls this method after a wake-up; `send` does the check."""

    def patience(self) -> int | None:
        """Return the milliseconds until `check` raises because a process has ended; None while every process runs."""
        left = self.left()
        return None if left is None else max(0, round(left * 1000) + 1)

    def register(self, poll: select.poll) -> None:
        """Register with a poll object, so that it wakes when a process ends.

        Once one has ended, unregister instead, because the descriptor stays readable; `patience` then limits the wait.
        """
        if self.left() is None and not self._epoll.closed:
            poll.register(self._epoll, select.POLLIN)
        else:
            with suppress(KeyError, ValueError):
                poll.unregister(self._epoll)
