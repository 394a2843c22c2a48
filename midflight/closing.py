"""Automatic closing of resources when their owner is garbage-collected or the interpreter exits."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable

__all__ = ["Closer"]


class Closer:
    """Calls `close` once: when this object is called, when `owner` is garbage-collected, or at interpreter exit.

    `close` must not refer to `owner`, which would otherwise never be garbage. After garbage collection, `close` runs in
    a thread of its own. At exit, the owner created last is closed first. A forked process does not close its parent's
    resources by itself.
    """

    def __init__(self, owner: object, close: Callable[[], object]) -> None:
        self._close = close
        self._finalizer = weakref.finalize(owner, _abandoned, close, os.getpid())

    def __call__(self) -> None:
        """Close now, unless it is already closed."""
        if self._finalizer.detach() is not None:
            self._close()


def _abandoned(close: Callable[[], object], process: int) -> None:
    if os.getpid() != process:
        return
    if not threading.main_thread().is_alive() and threading.current_thread() is threading.main_thread():
        close()  # the interpreter exits
        return
    # Garbage collection may run in any thread while it holds any lock, so do not wait here. The interpreter waits for
    # this thread when it exits.
    threading.Thread(target=close, name="closing").start()
