"""The status of a deployment as a JSON object, for `midflight status`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from midflight import __version__
from midflight.runtime.controller.controller import Controller
from midflight.runtime.controller.deployment import Deployment
from midflight.runtime.controller.observe.events import Event
from midflight.runtime.controller.service.wire import Json

__all__ = ["status"]

_EVENTS = 10
"""How many of the latest events a status includes."""


def status(it: Deployment, rates: Mapping[tuple[str, str], float]) -> Json:
    """Return the controller, its switches, its applications with placements and jobs, and the last ten events.

    `rates` are the requests per second by application and switch. Sends nothing to the switches.
    """
    controller = it.controller
    with controller.fleet.lock:
        return {
            "controller": {
                "version": __version__,
                "pid": os.getpid(),
                "since": Event("", "", time=it.began).clock,
                "folder": str(it.store.path.parent),
                "program": str(it.source.file),
                "epoch": controller.fleet.epoch,
            },
            "switches": [_switch(it, name) for name in controller.switches],
            "applications": [_application(controller, name, rates) for name in controller.program.applications],
            "events": [each.document() for each in it.store.events(_EVENTS)],
        }


def _switch(it: Deployment, name: str) -> Json:
    switch = it.controller.switches[name]
    counts = it.metrics.counts.get(name, {})
    ids = {each.id: each.name for each in it.controller.program.applications.values()}
    return {
        "name": name,
        "address": it.network.switches[name].address,
        "device_id": it.network.switches[name].device_id,
        "kind": switch.sheet.kind,
        "state": "on" if switch.on else "off",
        "reason": switch.reason,
        "election_id": switch.session.election_id if switch.on else None,
        "runs": [*switch.running.placed],
        "computes": [ids[each] for each in switch.steering.admitted if each in ids] if switch.on else [],
        "writes": counts,
    }


def _application(controller: Controller, name: str, rates: Mapping[tuple[str, str], float]) -> Json:
    desired = controller.fleet.desired
    found = controller.program.applications[name]
    placements: dict[str, Any] = {}
    for switch, placement in controller.placements.items():
        for each in placement.decisions:
            if each.application == name:
                reasons = [reason for refusal in each.refusals for reason in refusal.reasons]
                placements[switch] = "has room" if each.device else "; ".join(reasons)
    described: Json = {
        "name": name,
        "id": found.id,
        "primitive": type(found.primitive).__name__,
        "placements": placements,
        "admissions": [
            {"switch": switch, "hosts": [each.name for each in request.hosts], "port": request.port}
            for (application, switch), request in desired.admissions.items()
            if application == name
        ],
        "rate": desired.rates.get(name, 0),
        "requests_per_second": {
            switch: round(rate, 1) for (application, switch), rate in rates.items() if application == name
        },
        "mirrors": [
            {"switch": switch, "hosts": [each.name for each in hosts]}
            for (application, switch), hosts in desired.mirrors.items()
            if application == name and hosts
        ],
        "job": None,
    }
    if (job := controller.jobs.jobs.get(name)) is not None:
        choice = controller.choices.get(name)
        described["job"] = {
            "number": job.number,
            "hosts": [each.name for each in job.hosts],
            "server": job.server.name if job.server else None,
            "switches": [*job.receivers],
            "reason": choice.explain() if choice else "",
        }
    return described
