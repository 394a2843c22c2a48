"""Work that a thread repeats until it is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

__all__ = ["Periodic"]


class Periodic:
    """Calls `step` in a thread, each time after `interval` seconds. A context manager.

    It starts at once. `name` is that of the thread, which ends if `step` raises.
    """

    def __init__(self, step: Callable[[], None], interval: float, name: str) -> None:
        self._step, self._interval = step, interval
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait until the thread has ended. Idempotent. Do not hold a lock that `step` takes."""
        self._end.set()
        self._thread.join()

    def __enter__(self) -> Periodic:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while not self._end.wait(self._interval):
            self._step()
