"""Failure detection: switches that are gone, taken by somebody else, or back, each watched by a thread of its own."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from midflight.errors import DeviceError, MidflightError
from midflight.runtime.controller.controller import Controller
from midflight.runtime.controller.observe.events import Event, OnEvent
from midflight.runtime.controller.switch import ManagedSwitch
from midflight.runtime.p4runtime.client.entities import Difference

__all__ = ["Monitor"]

_INTERVAL = 0.1
"""Seconds between two looks at a switch. The end of its stream shows at once; this bounds when that is seen."""
_LONGEST = 0.5
"""Seconds between two attempts to have a switch again, at most."""
_HEARTBEAT = 1.0
"""Seconds between two questions to a switch whose stream is open."""
_PATIENCE = 3.0
"""Seconds that a switch gets to answer such a question."""


class Monitor:
    """Watches a controller's switches; a context manager.

    A switch whose stream ends, which does not answer, or of which somebody else has become the primary, is off as far
    as the controller is concerned. Once it can be had again it gets what it lacks: all of it, in a new epoch, if it has
    lost its program, and else what differs.
    """

    def __init__(self, controller: Controller, emit: OnEvent) -> None:
        self._controller = controller
        self._emit = emit
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=(each,), name=f"watching {name}", daemon=True)
            for name, each in controller.switches.items()
        ]
        for each in self._threads:
            each.start()

    def close(self) -> None:
        """Watch no more. May be called more than once."""
        self._end.set()
        for each in self._threads:
            each.join()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _watch(self, switch: ManagedSwitch) -> None:
        asked, pause = time.monotonic(), _INTERVAL
        while not self._end.wait(pause):
            if not switch.on:
                pause = _INTERVAL if self._reconnect(switch) else min(2 * pause, _LONGEST)
                continue
            # Who holds the lock is talking to switches, this one perhaps, and finds out what there is to find out.
            if not self._controller.fleet.lock.acquire(blocking=False):
                continue
            try:
                ask = time.monotonic() - asked >= _HEARTBEAT
                problem = _problem(switch, ask=ask)
                if ask:
                    asked = time.monotonic()
                if problem:
                    switch.lose(problem)
            finally:
                self._controller.fleet.lock.release()
            if problem:
                self._emit(Event("switch-lost", problem, switch=switch.name))

    def _reconnect(self, switch: ManagedSwitch) -> bool:
        """Try to have a switch again, and say whether that succeeded."""
        begun, before = time.monotonic(), switch.reason
        try:
            found = self._controller.recovery.reconnect(switch.name)
        except MidflightError as error:
            switch.lose(error.message)
            if error.message != before:
                self._emit(Event("switch-absent", error.message, switch=switch.name))
            return False
        took = round(time.monotonic() - begun, 3)
        self._emit(restored(switch.name, found, took, self._controller.fleet.epoch))
        return True


def restored(switch: str, found: Difference | None, seconds: float, epoch: int) -> Event:
    """Return the event of a switch that has what it shall; `found` is what it lacked, None if that was everything."""
    if found is None:
        message = f"it had lost its program, and was restored in epoch {epoch}"
        return Event("switch-restored", message, switch=switch, details={"seconds": seconds, "epoch": epoch})
    lacked = {"missing": len(found.missing), "changed": len(found.changed), "stale": len(found.stale)}
    message = f"repaired: {found}" if found else f"nothing is missing ({found}); nothing was written"
    kind = "switch-repaired" if found else "switch-adopted"
    return Event(kind, message, switch=switch, details={"seconds": seconds, "foreign": found.foreign, **lacked})


def _problem(switch: ManagedSwitch, *, ask: bool) -> str:
    """Return what is wrong with a switch that is on; empty if nothing is. With `ask` it has to answer a question."""
    session = switch.session
    if session.failure is not None:
        return session.failure.message
    session.hear()
    if not session.was_primary:
        return f"another controller has become its primary, with election id {session.highest}"
    if ask:
        try:
            if session.read_cookie(_PATIENCE) != switch.running.cookie:
                return "it runs another program"
        except DeviceError as error:
            return error.message
    return ""
