"""The return of services to their static weights, when whoever set others for a time no longer extends them."""

from __future__ import annotations

from midflight.errors import MidflightError
from midflight.runtime.controller.controller import Controller
from midflight.runtime.controller.observe.events import Event, OnEvent
from midflight.runtime.controller.periodic import Periodic

__all__ = ["expiry"]

_INTERVAL = 0.1
"""Seconds between two checks."""


def expiry(controller: Controller, emit: OnEvent) -> Periodic:
    """Start a thread that calls `Services.expire` of a controller, and emits an event for each service.

    It checks ten times a second. If a switch refuses the static weights, it tries again, and emits an event whenever
    the reason is not that of the attempt before. Do not close it with the controller's lock held.
    """
    said = ""

    def check() -> None:
        nonlocal said
        if all(each.until is None for each in controller.fleet.desired.services.values()):
            return
        try:
            gone, problem = controller.services.expire(), ""
        except MidflightError as error:
            gone, problem = (), error.message
        for name in gone:
            emit(Event("weights-expired", f"service {name} is back at its static weights"))
        if problem and problem != said:
            emit(Event("weights-refused", problem))
        said = problem

    return Periodic(check, _INTERVAL, "expiring weights")
