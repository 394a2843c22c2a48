"""What nobody expected: logged under an id, counted, and survived."""

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
    """The exceptions of one switch that are bugs: no client's doing may end what serves others.

    Each goes to the log `midflight.p4runtime` with its traceback and an id, which is all that a client is told.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many there were, by where they happened."""
        with self._lock:
            return dict(self._counts)

    def report(self, where: str, error: Exception) -> str:
        """Log and count an exception; return its id."""
        with self._lock:
            self._counts[where] += 1
            number = self._counts.total()
        _LOG.error("fault-%d: %s in %s", number, type(error).__name__, where, exc_info=error)
        return f"fault-{number}"

    @contextmanager
    def survived(self, where: str) -> Iterator[None]:
        """Report what the body raises, and go on after it."""
        try:
            yield
        except Exception as error:
            self.report(where, error)


def internal(fault: str) -> Refusal:
    """Return what a client is told of a fault: its id, and nothing of the exception."""
    return Refusal(Code.INTERNAL, f"internal error {fault}, which the switch's log explains")
