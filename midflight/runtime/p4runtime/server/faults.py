"""Unexpected exceptions of a server, which are bugs: they are logged and counted, and the server continues."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["Faults", "internal"]

_LOG = logging.getLogger("midflight.p4runtime")


class Faults:
    """The unexpected exceptions of one switch. They are bugs, and must not end the service for other clients.

    Each is logged to `midflight.p4runtime` with its traceback and an id. Clients only get the id.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of exceptions by the place where they occurred."""
        with self._lock:
            return dict(self._counts)

    def report(self, where: str, error: Exception) -> str:
        """Log an unexpected exception with its traceback, count it for `where`, and return its id, such as
        "fault-3".
        """
        with self._lock:
            self._counts[where] += 1
            number = self._counts.total()
        _LOG.error("fault-%d: %s in %s", number, type(error).__name__, where, exc_info=error)
        return f"fault-{number}"

    @contextmanager
    def survived(self, where: str) -> Iterator[None]:
        """Catch an unexpected exception in the `with` block, report it, and continue after the block.

        `where` is the place by which it is counted.
        """
        try:
            yield
        except Exception as error:
            self.report(where, error)


def internal(fault: str) -> Refusal:
    """Return the error for a client: the id of a fault, without details of the exception."""
    return Refusal(Code.INTERNAL, f"internal error {fault}, which the switch's log explains")
