"""The commands that a running controller accepts: calls with one result and streams of results, for `CommandServer`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from midflight import __version__
from midflight.errors import MidflightError
from midflight.primitives import Aggregate
from midflight.runtime.controller.deployment import Deployment
from midflight.runtime.controller.endpoints import Host
from midflight.runtime.controller.observe.events import Event
from midflight.runtime.controller.service.server import Call, Stream
from midflight.runtime.controller.service.steered import SteeredServices
from midflight.runtime.controller.service.wire import Json
from midflight.runtime.controller.sources import ProgramSource
from midflight.runtime.steering.agents.switch import snapshot
from midflight.runtime.steering.metrics import Room

__all__ = ["Commands"]

_EVENTS_IN_STATUS = 10
"""How many of the latest events a status includes."""


class Commands:
    """The commands of one deployment, as methods: those of `midflight status`, `admit` and so on.

    Each takes a JSON object with the arguments named in its docstring, and returns or yields JSON objects. The client
    receives any MidflightError.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._services = SteeredServices(deployment)

    @property
    def calls(self) -> Mapping[str, Call]:
        """The commands with one result, by name."""
        calls = [self.status, self.state, self.resources, self.admit, self.withdraw, self.change, self.counters]
        calls += [self.latest_alerts, self.undeploy, *self._services.calls]
        return {call.__name__: call for call in calls}

    @property
    def streams(self) -> Mapping[str, Stream]:
        """The commands that yield results until the client leaves, by name."""
        return {"watch": self.watch, "alerts": self.alerts, "watch_services": self._watch_services}

    def status(self, _: Json) -> Json:
        """Return the controller, its switches, its applications with placements and jobs, and the last ten events.

        The argument is ignored. Sends nothing to the switches.
        """
        it = self._deployment
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
                "switches": [self._switch(name) for name in controller.switches],
                "applications": [self._application(name) for name in controller.program.applications],
                "events": [each.document() for each in it.store.events(_EVENTS_IN_STATUS)],
            }

    def state(self, arguments: Json) -> Json:
        """Return the contents of an application's registers on a switch: `registers`, lists of numbers by name.

        Arguments: `application`, and `switch`, which may be left out if only one switch runs the application.
        MidflightError if none does, or several and none is named.
        """
        application = str(arguments["application"])
        controller = self._deployment.controller
        with controller.fleet.lock:
            switch = controller.fleet.running(application, str(arguments.get("switch", "")))
            values = controller.state(application, switch).read()
        registers = {name: np.asarray(each).tolist() for name, each in values.items()}
        return {"application": application, "switch": switch, "registers": registers}

    def resources(self, arguments: Json) -> Json:
        """Return what an application uses of a switch and what is left: `primitive`, the name of its class,
        and `snapshot`, as `steering.agents.switch.Snapshot`.

        Arguments: those of `state`. Its registers are read in-band. MidflightError if no switch runs it, or several do
        and none is named.
        """
        found = self.state(arguments)
        application, switch = str(found["application"]), str(found["switch"])
        controller = self._deployment.controller
        counted = self.counters({"application": application})
        with controller.fleet.lock:
            managed = controller.switches[switch]
            used, sheet = managed.running.checked.footprint.total, managed.sheet
            description = controller.program.schema()["applications"][application]
        taken = snapshot(
            description,
            found["registers"],
            arrived=sum(each["packets"] for each in counted["counters"] if each["switch"] == switch),
            dropped=counted["dropped"].get(switch, {}).get(application),
            room=Room.left(sheet, used),
        )
        primitive = description["primitive"]
        return {"application": application, "switch": switch, "primitive": primitive, "snapshot": asdict(taken)}

    def admit(self, arguments: Json) -> Json:
        """Admit an application: make switches compute on its requests. Return the switches, the epoch and the workers'
        tickets.

        Arguments: `application`, `hosts` and `rate` (requests a second). For an Aggregate, `hosts` are its workers in
        order and `server` may name its server; a job starts, and each of `tickets` has what one worker needs to take
        part. Any other application is admitted for the named hosts, or for all hosts; `senders`, `switch` and `port`
        are those of `Controller.admit`. MidflightError if the application or a host is unknown, or if an argument does
        not suit the kind of application.
        """
        application, it = str(arguments["application"]), self._deployment
        controller = it.controller
        hosts, senders = ([self._host(name) for name in arguments.get(part, ())] for part in ("hosts", "senders"))
        rate = arguments.get("rate")
        with controller.fleet.lock:
            found = controller.fleet.application(application)
            if not isinstance(found.primitive, Aggregate):
                if arguments.get("server"):
                    raise MidflightError(f"{application} takes no server", hint="only an Aggregate does")
                switch = controller.fleet.running(application, str(arguments.get("switch", "")))
                controller.admit(application, hosts, senders=senders, switch=switch, port=arguments.get("port"))
                result: Json = {"application": application, "switches": [switch], "tickets": []}
            else:
                result = self._admit_job(application, hosts, arguments)
            if rate is not None:
                controller.limit(application, int(rate))
        result["epoch"] = controller.fleet.epoch
        who = ", ".join(each.name for each in hosts) or "all hosts"
        where = ", ".join(result["switches"]) or "no switch"
        it.emit(Event("admitted", f"for {who}, on {where}", application=application))
        return result

    def withdraw(self, arguments: Json) -> Json:
        """Withdraw an application, and end its job if it has one, so that requests are only forwarded. Return the
        switches.

        Arguments: `application`, and `switch` to withdraw it from one switch only. MidflightError if it is not
        admitted.
        """
        application, controller = str(arguments["application"]), self._deployment.controller
        switch = str(arguments.get("switch", ""))
        with controller.fleet.lock:
            controller.fleet.application(application)
            admitted = [where for name, where in controller.fleet.desired.admissions if name == application]
            wanted = [controller.fleet.running(application, switch)] if switch else admitted
            job = controller.jobs.jobs.get(application)
            if job is None and not set(wanted) & set(admitted):
                where = f" on {switch}" if switch else ""
                hint = f"it is admitted on {', '.join(admitted)}" if admitted else ""
                raise MidflightError(f"{application} is not admitted{where}", hint=hint)
            if job is not None:
                controller.jobs.leave(application)
            for each in wanted:
                controller.withdraw(application, each)
        where = f" on {switch}" if switch and job is None else ""
        self._deployment.emit(Event("withdrawn", f"requests are only forwarded{where}", application=application))
        return {"application": application, "switches": wanted}

    def change(self, arguments: Json) -> Json:
        """Change the program of all switches to that of another file: see `Controller.change`.

        Arguments: `file`, a path, and `name`, the program in it if there are several. Return the file and the names of
        the applications. MidflightError if the program is wrong, DeviceError if a switch rejects it; then nothing has
        changed.
        """
        source = ProgramSource.read(Path(arguments["file"]), arguments.get("name"))
        self._deployment.change(source)
        return {"file": str(source.file), "applications": [*self._deployment.controller.program.applications]}

    def counters(self, arguments: Json) -> Json:
        """Return the packets and bytes of requests by switch, application and port, and what switches dropped and
        refused.

        Argument: `application`, or all if it is left out. `counters` has a row for each port on which an application is
        admitted; `drops`, `dropped` and `refused` are by switch, as in `metrics.SwitchReading`. MidflightError if there
        is no such application. A switch that does not answer is left out.
        """
        only = str(arguments.get("application", ""))
        if only:
            self._deployment.controller.fleet.application(only)
        assert self._deployment.metrics.read is not None
        reading = self._deployment.metrics.read()
        rows: list[Json] = []
        for switch, each in reading.switches.items():
            for (application, port), packets in (each.packets or {}).items():
                if only in ("", application):
                    octets = (each.octets or {})[application, port]
                    row = {"switch": switch, "application": application, "port": port}
                    rows.append({**row, "packets": packets, "bytes": octets})
        drops = {name: each.drops for name, each in reading.switches.items() if each.drops is not None}
        dropped = {name: each.dropped for name, each in reading.switches.items() if each.dropped is not None}
        refused = {name: each.refused for name, each in reading.switches.items() if each.refused is not None}
        return {"counters": rows, "drops": drops, "dropped": dropped, "refused": refused}

    def latest_alerts(self, arguments: Json) -> Json:
        """Return the latest alerts, oldest first.

        Arguments: `count`, the largest number of alerts, and `application`, or all if it is left out. MidflightError if
        there is no such application.
        """
        found = self._deployment.alerts.latest(int(arguments["count"]), self._alerting(arguments))
        return {"alerts": [each.document() for each in found]}

    def undeploy(self, _: Json) -> Json:
        """End the deployment: withdraw all applications. The controller exits soon afterwards.

        The argument is ignored. Return, as `absent`, the names of the switches that did not answer.
        """
        return {"absent": self._deployment.withdraw_all()}

    def watch(self, _: Json, listening: Callable[[], bool]) -> Iterator[Json]:
        """Yield the result of `status` now, and again whenever it has changed, until `listening` returns False.

        It is compared with the last one after each event, and at least every second. The first argument is ignored.
        """
        shown = self.status({})
        yield shown
        for _event in self._deployment.follow(self._listening(listening)):
            status = self.status({})
            if status != shown:
                shown = status
                yield status

    def alerts(self, arguments: Json, listening: Callable[[], bool]) -> Iterator[Json]:
        """Yield alerts as they arrive from now on, until `listening` returns False.

        Argument: `application`, or all if it is left out. MidflightError if there is no such application.
        """
        application = self._alerting(arguments)
        for each in self._deployment.alerts.follow(self._listening(listening), application):
            yield each.document()

    def _watch_services(self, arguments: Json, listening: Callable[[], bool]) -> Iterator[Json]:
        yield from self._services.watch(arguments, self._listening(listening))

    def _alerting(self, arguments: Json) -> str:
        """Return the application whose alerts are requested, or "" for all."""
        name = str(arguments.get("application", ""))
        if name:
            self._deployment.controller.fleet.application(name)
        return name

    def _listening(self, listening: Callable[[], bool]) -> Callable[[], bool]:
        return lambda: listening() and not self._deployment.ended.is_set()

    def _host(self, name: str) -> Host:
        return self._deployment.network.host(name)

    def _admit_job(self, application: str, hosts: list[Host], arguments: Json) -> Json:
        controller = self._deployment.controller
        for option in ("senders", "switch", "port"):
            if arguments.get(option):
                raise MidflightError(f"{application} is an Aggregate, which takes no {option}")
        server = self._host(arguments["server"]) if arguments.get("server") else None
        workers = controller.jobs.enlist(application, hosts, server)
        addresses = {each.name: str(each.address) for each in hosts}
        return {
            "application": application,
            "switches": [*controller.jobs.jobs[application].receivers],
            "tickets": [{**asdict(each), "address": addresses[each.host]} for each in workers],
        }

    def _switch(self, name: str) -> Json:
        it = self._deployment
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

    def _application(self, name: str) -> Json:
        controller = self._deployment.controller
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
                for (application, switch), request in controller.fleet.desired.admissions.items()
                if application == name
            ],
            "rate": controller.fleet.desired.rates.get(name, 0),
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
