"""Failure detection: a thread for each switch notices when it fails, gets another primary controller, or returns."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from midflight.errors import DeviceError, MidflightError
from midflight.runtime.controller.controller import Controller
from midflight.runtime.controller.observe.events import Event, OnEvent
from midflight.runtime.controller.switch import ManagedSwitch
from midflight.runtime.p4runtime.client.entities import Difference

__all__ = ["Monitor"]

_POLL_INTERVAL = 0.1
"""Seconds between two checks of a switch: the longest time until a closed stream is noticed."""
_MAX_RETRY_INTERVAL = 0.5
"""Longest time between two attempts to reconnect, in seconds."""
_HEARTBEAT = 1.0
"""Seconds between two heartbeat requests to a switch whose stream is open."""
_PATIENCE = 3.0
"""Timeout of a heartbeat request, in seconds."""


class Monitor:
    """Watches the switches of a controller in threads, marks failed ones as off, and restores them. A context manager.

    A switch counts as failed if its P4Runtime stream ends, if it does not answer a heartbeat within 3 seconds, if it
    runs another program, or if another controller becomes its primary. The monitor then tries to reconnect, at least
    twice a second. A switch that has lost its program is restored completely, in a new epoch; any other switch only
    gets the entries that differ. Each loss and each return is passed to `emit` as an event, from the switch's thread,
    and `changed` is called after it. It starts at once.
    """

    def __init__(self, controller: Controller, emit: OnEvent, changed: Callable[[], None] = lambda: None) -> None:
        self._controller = controller
        self._emit = emit
        self._changed = changed
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=(each,), name=f"watching {name}", daemon=True)
            for name, each in controller.switches.items()
        ]
        for each in self._threads:
            each.start()

    def close(self) -> None:
        """Stop watching, and wait until the threads have ended. Idempotent. Do not hold the controller's lock, they may
        need it.
        """
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
        asked, pause = time.monotonic(), _POLL_INTERVAL
        while not self._end.wait(pause):
            if not switch.on:
                pause = _POLL_INTERVAL if self._reconnect(switch) else min(2 * pause, _MAX_RETRY_INTERVAL)
                continue
            # The thread that holds the lock is using the switches, and notices failures itself.
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
                self._route_around(switch)

    def _route_around(self, switch: ManagedSwitch) -> None:
        """Route packets around a switch. A second switch that fails meanwhile has its own thread."""
        try:
            changed = self._controller.recovery.avoid()
        except MidflightError:
            return
        if changed:
            self._emit(Event("routed-around", "packets avoid it by other paths", switch=switch.name))
        self._changed()

    def _reconnect(self, switch: ManagedSwitch) -> bool:
        """Try to reconnect to a switch and restore it. Return whether that succeeded."""
        begun, before = time.monotonic(), switch.reason
        try:
            found = self._controller.recovery.reconnect(switch.name)
        except MidflightError as error:
            switch.lose(error.message)
            self._route_around(switch)
            if error.message != before:
                self._emit(Event("switch-absent", error.message, switch=switch.name))
            return False
        took = round(time.monotonic() - begun, 3)
        self._emit(restored(switch.name, found, took, self._controller.fleet.epoch))
        self._changed()
        return True


def restored(switch: str, found: Difference | None, seconds: float, epoch: int) -> Event:
    """Return the event for a switch that was restored, repaired or adopted unchanged.

    `found` is how its entries differed from the desired state, or None if it had lost its program. `seconds` is how
    long that took, and `epoch` the current epoch.
    """
    if found is None:
        message = f"the switch had lost its program and was restored in epoch {epoch}"
        return Event("switch-restored", message, switch=switch, details={"seconds": seconds, "epoch": epoch})
    lacked = {"missing": len(found.missing), "changed": len(found.changed), "stale": len(found.stale)}
    message = f"repaired: {found}" if found else f"in the desired state ({found}); nothing was written"
    kind = "switch-repaired" if found else "switch-adopted"
    return Event(kind, message, switch=switch, details={"seconds": seconds, "foreign": found.foreign, **lacked})


def _problem(switch: ManagedSwitch, *, ask: bool) -> str:
    """Return what is wrong with a switch that is on, or "". With `ask`, also send a heartbeat request."""
    session = switch.session
    if session.failure is not None:
        return session.failure.message
    session.update_primary()
    if not session.was_primary:
        return f"another controller has become the primary, with election id {session.highest}"
    if ask:
        try:
            if session.read_cookie(_PATIENCE) != switch.running.cookie:
                return "the switch runs another program"
        except DeviceError as error:
            return error.message
    return ""
