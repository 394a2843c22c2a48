"""The return of services to their static weights, when whoever set others for a time no longer extends them."""

from __future__ import annotations

import threading
from types import TracebackType

from midflight.errors import MidflightError
from midflight.runtime.controller.controller import Controller
from midflight.runtime.controller.observe.events import Event, OnEvent

__all__ = ["Expiry"]

_INTERVAL = 0.1
"""Seconds between two checks."""


class Expiry:
    """Calls `Services.expire` of a controller in a thread, and emits an event for each service. A context manager.

    It checks ten times a second. If a switch refuses the static weights, it tries again, and emits an event whenever
    the reason is not that of the attempt before. It starts at once.
    """

    def __init__(self, controller: Controller, emit: OnEvent) -> None:
        self._controller, self._emit = controller, emit
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="expiring weights", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait until the thread has ended. Idempotent. Do not hold the controller's lock."""
        self._end.set()
        self._thread.join()

    def __enter__(self) -> Expiry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _watch(self) -> None:
        said = ""
        while not self._end.wait(_INTERVAL):
            if all(each.until is None for each in self._controller.fleet.desired.services.values()):
                continue
            try:
                gone, problem = self._controller.services.expire(), ""
            except MidflightError as error:
                gone, problem = (), error.message
            for name in gone:
                self._emit(Event("weights-expired", f"service {name} is back at its static weights"))
            if problem and problem != said:
                self._emit(Event("weights-refused", problem))
            said = problem
