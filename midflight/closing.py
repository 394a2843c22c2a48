"""Close what nobody has closed: when its owner is garbage, or when the interpreter exits."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable

__all__ = ["Closer"]


class Closer:
    """Calls `close` once: when this is called, when `owner` is garbage collected, or at interpreter exit.

    `close` must not refer to `owner`, which would then never be garbage. At exit, the youngest owner is closed first.
    A forked process closes nothing of its parent's by itself.
    """

    def __init__(self, owner: object, close: Callable[[], object]) -> None:
        self._close = close
        self._finalizer = weakref.finalize(owner, _abandoned, close, os.getpid())

    def __call__(self) -> None:
        """Close now. Does nothing if that has happened."""
        if self._finalizer.detach() is not None:
            self._close()


def _abandoned(close: Callable[[], object], process: int) -> None:
    if os.getpid() != process:
        return
    if not threading.main_thread().is_alive() and threading.current_thread() is threading.main_thread():
        close()  # the interpreter exits
        return
    # Garbage is collected in any thread and under any lock, so nothing is waited for here. The interpreter waits for
    # this thread when it exits.
    threading.Thread(target=close, name="closing").start()
