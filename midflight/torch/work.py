"""The works of collectives: what `async_op=True` returns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

__all__ = ["HostsWork", "SwitchWork"]


class SwitchWork(dist.Work):
    """A collective through the switch, which may not have completed.

    name: what it is, for messages. results: the tensors that it writes, the value of its future.
    """

    def __init__(self, name: str, results: Sequence[Any]) -> None:
        super().__init__()
        self._name = name
        self._results = [*results]
        self._done = threading.Event()
        self._error: Exception | None = None
        self._future: Any = torch.futures.Future()

    def finish(self, error: BaseException | None) -> None:
        """Complete the work, with an error or with None for success. Runs the callbacks of its future. Call it once."""
        if error is not None:
            self._error = dist.DistBackendError(f"midflight: {error}")
        self._done.set()
        if self._error is None:
            self._future.set_result(self._results)
        else:
            self._future.set_exception(self._error)

    def is_completed(self) -> bool:
        """Return whether it has completed, also with an error."""
        return self._done.is_set()

    def is_success(self) -> bool:
        """Return whether it has completed without an error."""
        return self._done.is_set() and self._error is None

    def exception(self) -> Exception | None:
        """Return the error with which it completed; None without an error, and before it has completed."""
        return self._error

    def wait(self, timeout: timedelta | None = None) -> bool:
        """Wait until it has completed and return True.

        DistBackendError if it failed, or if it has not completed after `timeout`: it then goes on. With None or 0, only
        the group's timeout ends it.
        """
        seconds = timeout.total_seconds() if timeout else None
        if not self._done.wait(seconds):
            raise dist.DistBackendError(f"midflight: {self._name} has not completed after {seconds:g} s")
        if self._error is not None:
            raise self._error
        return True

    def synchronize(self) -> None:
        """Wait until it has completed. DistBackendError if it failed."""
        self.wait()

    def result(self) -> list[Any]:
        """Return the tensors that it writes, without waiting."""
        return self._results

    def get_future(self) -> Any:
        """Return its future, whose value is the list of the tensors that it writes."""
        return self._future


class HostsWork:
    """A work of Gloo, for which a collective waits (an `Elsewhere`)."""

    def __init__(self, work: Any) -> None:
        self._work = work

    def done(self) -> bool:
        """Return whether it has completed."""
        return bool(self._work.is_completed())

    def notify(self, wake: Callable[[], None]) -> None:
        """Call `wake` once it has completed."""
        self._work.get_future().add_done_callback(lambda _: wake())

    def check(self) -> None:
        """Raise Gloo's error if it has failed."""
        self._work.wait()
