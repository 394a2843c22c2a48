"""The lock between the control plane and the packets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

__all__ = ["Gate"]


class Gate:
    """A reentrant lock that native code can take its turns at.

    Between Python's threads it is an RLock. While a native loop is attached, whoever comes in first waits for the
    loop's batch to end as well, and the loop waits until the last one has left; the two take turns, so that neither
    starves the other.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._loop: tuple[Callable[[], None], Callable[[], None]] | None = None

    def attach(self, enter: Callable[[], None], leave: Callable[[], None]) -> None:
        """Take turns with a loop from now on: `enter` waits for it to pause, `leave` lets it go on."""
        with self._lock:
            assert self._depth == 0, "the gate is held"
            assert self._loop is None, "a loop is attached"
            self._loop = enter, leave

    def detach(self) -> None:
        """Have the gate for Python's threads alone again. May be called more than once."""
        with self._lock:
            assert self._depth == 0, "the gate is held"
            self._loop = None

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1
        if self._depth == 1 and self._loop is not None:
            self._loop[0]()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._depth == 1 and self._loop is not None:
                self._loop[1]()
        finally:
            self._depth -= 1
            self._lock.release()
