"""The lock between the control plane and the packets: no change happens within a batch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

__all__ = ["Gate"]


class Gate:
    """A reentrant lock for Python threads and one native loop.

    Among Python threads it is an RLock. While a native loop is attached, a thread that acquires the lock also waits for
    the loop's batch to end, and the loop pauses until the lock is released. Both take turns, so neither starves.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._loop: tuple[Callable[[], None], Callable[[], None]] | None = None

    def attach(self, enter: Callable[[], None], leave: Callable[[], None]) -> None:
        """Attach a native loop: `enter` blocks until the loop pauses, and `leave` lets it continue.

        Both are called while a Python thread holds the lock. The gate must not be held, and no other loop attached.
        """
        with self._lock:
            assert self._depth == 0, "the gate is held"
            assert self._loop is None, "another loop is attached"
            self._loop = enter, leave

    def detach(self) -> None:
        """Detach the native loop, if there is one. Idempotent. The gate must not be held."""
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
