"""Detection of processes of a network that end by themselves, for all calls that wait."""

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
"""Seconds in which a process that ended may be restarted or removed, before waiting calls raise its error."""


class Watched(Protocol):
    """A process that others depend on."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def lost(self) -> DeviceError:
        """Return the error for a process that has ended."""


class Watch:
    """The processes of a network that are expected to run. Its own file is readable once one of them has ended.

    `drive` accepts it like a socket. `grace` is in seconds. Methods may be called from any thread.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self._grace = grace
        self._lock = threading.Lock()
        self._epoll = select.epoll()
        self._watched: dict[str, tuple[Watched, int]] = {}  # with a descriptor of the process, or -1
        self._ended: dict[str, float] = {}  # since when that is known

    def fileno(self) -> int:
        """Return the descriptor to poll for reading while `left` is None."""
        return self._epoll.fileno()

    def add(self, name: str, process: Watched) -> None:
        """Watch a process, under a unique name."""
        with self._lock:
            try:
                descriptor = os.pidfd_open(process.pid)
                self._epoll.register(descriptor, select.EPOLLIN)
            except ProcessLookupError:
                descriptor, self._ended[name] = -1, time.monotonic()
            self._watched[name] = process, descriptor

    def remove(self, name: str) -> None:
        """Stop watching a process. Does nothing for an unknown name."""
        with self._lock:
            self._ended.pop(name, None)
            _, descriptor = self._watched.pop(name, (None, -1))
            if descriptor >= 0:
                self._epoll.unregister(descriptor)
                os.close(descriptor)

    def check(self) -> None:
        """Raise DeviceError if a process has ended, and was neither restarted nor removed within the grace."""
        left = self.left()
        if left is not None and left <= 0:
            with self._lock:
                ended = [process for name, (process, _) in self._watched.items() if name in self._ended]
            if ended:
                raise ended[0].lost()

    def left(self) -> float | None:
        """Return the seconds until `check` raises, None while every process runs."""
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
        """Stop watching. Idempotent."""
        for name in [*self._watched]:
            with suppress(ValueError):
                self.remove(name)
        self._epoll.close()

    # As a socket that `drive` drives

    def send(self) -> None:
        """Check."""
        self.check()

    def receive(self) -> None:
        """Receive nothing."""

    def patience(self) -> int | None:
        """Return the milliseconds until `check` raises, None while every process runs."""
        left = self.left()
        return None if left is None else max(0, round(left * 1000) + 1)

    def register(self, poll: select.poll) -> None:
        """Register with a poll object, so that it wakes when a process ends; not while one that ended has its grace."""
        if self.left() is None and not self._epoll.closed:
            poll.register(self._epoll, select.POLLIN)
        else:
            with suppress(KeyError, ValueError):
                poll.unregister(self._epoll)
