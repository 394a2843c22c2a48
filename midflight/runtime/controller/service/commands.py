"""The commands that a running controller accepts: calls with one result and streams of results, for `CommandServer`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np

from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Aggregate
from midflight.runtime.controller.deployment import Deployment
from midflight.runtime.controller.endpoints import Host
from midflight.runtime.controller.observe.events import Event
from midflight.runtime.controller.observe.rates import Rates
from midflight.runtime.controller.overlap import computing_twice
from midflight.runtime.controller.service.mapchanges import amend, map_document
from midflight.runtime.controller.service.report import status
from midflight.runtime.controller.service.server import Call, Stream
from midflight.runtime.controller.service.steered import SteeredServices
from midflight.runtime.controller.service.wire import Json
from midflight.runtime.controller.sources import ProgramSource
from midflight.runtime.steering.agents.switch import snapshot
from midflight.runtime.steering.metrics import Room

__all__ = ["Commands"]


class Commands:
    """The commands of one deployment, as methods: those of `midflight status`, `admit` and so on.

    Each takes a JSON object with the arguments named in its docstring, and returns or yields JSON objects. The client
    receives any MidflightError, of which DeviceError is one: a switch does not answer or refuses. A missing argument
    raises KeyError, and one that is not a number where a number is expected raises ValueError or TypeError.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._services = SteeredServices(deployment)
        self._rates = self._new_rates()

    @property
    def calls(self) -> Mapping[str, Call]:
        """The commands with one result, by name: methods of this class and those in `SteeredServices.calls`."""
        calls = [self.status, self.state, self.resources, self.admit, self.withdraw, self.change, self.counters]
        calls += [self.limit, self.mirror, self.map, self.latest_alerts, self.replan, self.undeploy]
        calls += self._services.calls
        return {call.__name__: call for call in calls}

    @property
    def streams(self) -> Mapping[str, Stream]:
        """The commands that yield results until the client leaves, by name."""
        return {"watch": self.watch, "alerts": self.alerts, "watch_services": self._watch_services}

    def status(self, _: Json) -> Json:
        """Return the controller, its switches, its applications with placements and jobs, and the last ten events.

        The argument is ignored. Reads counters of the switches, at most once a second. The requests per second of an
        application are those since the previous status, but over at least a second. A switch that does not answer has
        none.
        """
        return status(self._deployment, self._rates.latest())

    def state(self, arguments: Json) -> Json:
        """Return the contents of an application's registers on a switch: `registers`, lists of numbers by name.

        Arguments: `application`, and `switch`, which may be left out if only one switch runs the application. Of a step
        that a plan has left to hosts, return the registers that its switch had then, with `switch` "". MidflightError
        if no switch or not the named one runs it, or several do and none is named. DeviceError if the switch does not
        answer.
        """
        application = str(arguments["application"])
        controller = self._deployment.controller
        with controller.fleet.lock:
            switch = str(arguments.get("switch", ""))
            if not switch and application in controller.fleet.left:
                values = controller.fleet.left[application]
            else:
                switch = controller.fleet.running(application, switch)
                if not controller.switches[switch].on:
                    raise DeviceError(f"{switch} is off: {controller.switches[switch].reason}")
                values = controller.state(application, switch).read()
        registers = {name: np.asarray(each).tolist() for name, each in values.items()}
        return {"application": application, "switch": switch, "registers": registers}

    def resources(self, arguments: Json) -> Json:
        """Return what an application uses of a switch and what is left: `primitive`, the name of its class,
        and `snapshot`, as `steering.agents.switch.Snapshot`.

        Arguments and errors are those of `state`. Its registers are read in-band.
        """
        controller = self._deployment.controller
        switch = controller.fleet.running(str(arguments["application"]), str(arguments.get("switch", "")))
        found = self.state({**arguments, "switch": switch})
        application = str(found["application"])
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
        """Admit an application: make switches compute on its requests. Return the switches, the epoch, the workers'
        tickets and warnings.

        Arguments: `application`, `hosts` and `rate` (requests a second). For an Aggregate, `hosts` are its workers in
        order and `server` may name its server; a job starts, and each of `tickets` has what one worker needs to take
        part. Any other application is admitted for the named hosts, or for all hosts; `senders`, `switch` and `port`
        are those of `Controller.admit`. MidflightError if the application or a host is unknown, if an argument does
        not suit the kind of application, or for the reasons of `Controller.admit`, `Controller.limit` and
        `JobScheduler.enlist`; DeviceError if a switch refuses. After an error, the rate is what it was before.
        """
        application, it = str(arguments["application"]), self._deployment
        controller = it.controller
        hosts, senders = ([self._host(name) for name in arguments.get(part, ())] for part in ("hosts", "senders"))
        rate = arguments.get("rate")
        with controller.fleet.lock, ExitStack() as undo:
            found = controller.fleet.application(application)
            if rate is not None:
                undo.callback(controller.limit, application, controller.fleet.desired.rates.get(application, 0))
                controller.limit(application, int(rate))
            if not isinstance(found.primitive, Aggregate):
                if arguments.get("server"):
                    raise MidflightError(f"{application} takes no server", hint="only an Aggregate does")
                switch = controller.fleet.running(application, str(arguments.get("switch", "")))
                controller.admit(application, hosts, senders=senders, switch=switch, port=arguments.get("port"))
                result: Json = {"application": application, "switches": [switch], "tickets": []}
                result["warnings"] = [
                    f"requests from {source} to {destination} pass {switch} and {other}, which both compute on them"
                    for other, (source, destination) in computing_twice(controller.fleet, application, switch).items()
                ]
            else:
                result = self._admit_job(application, hosts, arguments)
            undo.pop_all()
        result["epoch"] = controller.fleet.epoch
        who = ", ".join(each.name for each in hosts) or "all hosts"
        where = ", ".join(result["switches"]) or "no switch"
        it.emit(Event("admitted", f"for {who}, on {where}", application=application))
        return result

    def withdraw(self, arguments: Json) -> Json:
        """Withdraw an application, or end its job on all switches, so that requests are only forwarded. Return the
        switches.

        Arguments: `application`, and `switch` to withdraw it from one switch only, which has no effect on a job.
        MidflightError if it is not admitted, or if the named switch does not run it. DeviceError if a switch refuses;
        it stays withdrawn from the switches before that one.
        """
        application, controller = str(arguments["application"]), self._deployment.controller
        switch = str(arguments.get("switch", ""))
        with controller.fleet.lock:
            controller.fleet.application(application)
            admitted = [where for name, where in controller.fleet.desired.admissions if name == application]
            wanted = [controller.fleet.running(application, switch)] if switch else admitted
            job = controller.jobs.jobs.get(application)
            if job is not None:
                wanted = [*dict.fromkeys([*job.receivers, *admitted])]
                controller.withdraw(application, switch)
            elif not set(wanted) & set(admitted):
                where = f" on {switch}" if switch else ""
                hint = f"it is admitted on {', '.join(admitted)}" if admitted else ""
                raise MidflightError(f"{application} is not admitted{where}", hint=hint)
            for each in wanted:
                controller.withdraw(application, each)
        where = f" on {switch}" if switch and job is None else ""
        self._deployment.emit(Event("withdrawn", f"requests are only forwarded{where}", application=application))
        return {"application": application, "switches": wanted}

    def limit(self, arguments: Json) -> Json:
        """Limit an application to a number of requests a second from each port of a switch: see `Controller.limit`.

        Arguments: `application` and `rate`, where 0 is no limit. Return both. MidflightError if there is no such
        application or the rate is out of range, DeviceError if a switch refuses; then nothing has changed.
        """
        application, rate = str(arguments["application"]), int(arguments["rate"])
        self._deployment.controller.limit(application, rate)
        message = f"to {rate} requests a second from each port" if rate else "no more"
        self._deployment.emit(Event("limited", message, application=application))
        return {"application": application, "rate": rate}

    def mirror(self, arguments: Json) -> Json:
        """Send copies of the packets that an application mirrors to hosts: see `Controller.mirror`.

        Arguments: `application`, `hosts` (none ends it), and `switch`, which may be left out if only one switch runs
        the application. Return all three. MidflightError if a name is unknown, if the application mirrors nothing, or
        if a host is named twice or not connected to the switch; DeviceError if the switch refuses. Then nothing has
        changed.
        """
        application, controller = str(arguments["application"]), self._deployment.controller
        hosts = [self._host(name) for name in arguments.get("hosts", ())]
        with controller.fleet.lock:
            switch = controller.fleet.running(application, str(arguments.get("switch", "")))
            controller.mirror(application, hosts, switch=switch)
        names = [each.name for each in hosts]
        message = f"to {', '.join(names)}" if names else "no more"
        self._deployment.emit(Event("mirrored", message, switch=switch, application=application))
        return {"application": application, "switch": switch, "hosts": names}

    def map(self, arguments: Json) -> Json:
        """Change the entries of a map of an application on a switch, all or none, and return them.

        Arguments: `application`, `map`, `switch`, `put` and `delete`, lists of entries and keys as in `maptext`,
        `places`, where the entries in `put` are written (see `amend`), and `clear`, to delete all other entries. `map`
        may be left out if the application has one map or if nothing is changed, and `switch` if only one switch runs
        the application. Return `application`, `switch` and `maps`: the named map or all, each with its name, the types
        of key and value, size and entries. MidflightError if a name is unknown, the application has no map, or an entry
        to delete is missing; KernelError if an entry does not fit, two have the same key, or the map is full;
        DeviceError if the switch refuses.
        """
        application, controller = str(arguments["application"]), self._deployment.controller
        put, delete, clear = (arguments.get(each) for each in ("put", "delete", "clear"))
        places = arguments.get("places") or ()
        with controller.fleet.lock:
            switch = controller.fleet.running(application, str(arguments.get("switch", "")))
            known = [*controller.fleet.application(application).primitive.maps]
            names = [str(arguments["map"])] if arguments.get("map") else known
            if not known:
                raise MidflightError(f"{application} has no map")
            if (put or delete or clear) and len(names) > 1:
                raise MidflightError(f"{application} has {len(names)} maps", hint=f"name one of {', '.join(names)}")
            maps = {name: controller.map(application, name, switch) for name in names}
            if put or delete or clear:
                changed = amend(maps[names[0]], put or (), delete or (), clear=bool(clear), places=places)
                message = f"{names[0]}: {changed}"
                self._deployment.emit(Event("map-changed", message, switch=switch, application=application))
            described = [map_document(name, each) for name, each in maps.items()]
        return {"application": application, "switch": switch, "maps": described}

    def change(self, arguments: Json) -> Json:
        """Change the program of all switches to that of another file: see `Controller.change`.

        Arguments: `file`, a path, and `name`, the program in it if there are several. Return the file and the names of
        the applications. MidflightError if the file or the program is wrong or does not fit the current jobs and
        services. DeviceError if a switch rejects it; all are then rolled back as far as they answer.
        """
        source = ProgramSource.read(Path(arguments["file"]), arguments.get("name"))
        self._deployment.change(source)
        return {"file": str(source.file), "applications": [*self._deployment.controller.program.applications]}

    def replan(self, arguments: Json) -> Json:
        """Plan again which switch runs which step, and move the steps with their state.

        Arguments: `without`, the names of switches that only forward from now on, and `rates`, the bits a second of
        sources by name, which later plans expect, too. Return `steps`, the device of each step, and `moved`, with
        `step`, `before`, `after` and `state` of each move (see `Move`). MidflightError if the deployment has no plan,
        if a switch or source is unknown, if a rate is not above 0, or if there is no plan; DeviceError if a switch
        rejects its program. Then nothing has changed.
        """
        following = self._deployment.following
        if following is None:
            raise MidflightError("the deployment has no plan", hint="deploy with --plan")
        rates = {str(name): float(rate) for name, rate in dict(arguments.get("rates", {})).items()}
        moves = following.rate(rates, [str(each) for each in arguments.get("without", ())])
        steps = following.document(self._deployment.controller)["at"]
        return {"steps": steps, "moved": [asdict(each) for each in moves]}

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

        Arguments: `count`, the largest number of alerts, and `application`, or all if it is left out. The last 10,000
        of all applications are kept. MidflightError if there is no such application.
        """
        found = self._deployment.alerts.latest(int(arguments["count"]), self._alerting(arguments))
        return {"alerts": [each.document() for each in found]}

    def undeploy(self, _: Json) -> Json:
        """End the deployment: withdraw all applications. The controller exits soon afterwards.

        The argument is ignored. Return, as `absent`, the names of the switches that did not answer. MidflightError if
        the end cannot be recorded in the store; the next controller then restores the applications.
        """
        return {"absent": self._deployment.withdraw_all()}

    def watch(self, _: Json, listening: Callable[[], bool]) -> Iterator[Json]:
        """Yield the result of `status` now, and again whenever it has changed.

        Ends when `listening` returns False or the deployment ends. The status is compared with the last one after each
        event, and at least twice a second. The first argument is ignored.
        """
        rates = self._new_rates()
        shown = status(self._deployment, rates.latest())
        yield shown
        for _event in self._deployment.follow(self._listening(listening)):
            found = status(self._deployment, rates.latest())
            if found != shown:
                shown = found
                yield found

    def alerts(self, arguments: Json, listening: Callable[[], bool]) -> Iterator[Json]:
        """Yield alerts as they arrive from now on, until `listening` returns False or the deployment ends.

        Argument: `application`, or all if it is left out. MidflightError if there is no such application.
        """
        application = self._alerting(arguments)
        for each in self._deployment.alerts.follow(self._listening(listening), application):
            yield each.document()

    def _new_rates(self) -> Rates:
        assert self._deployment.metrics.read is not None
        return Rates(self._deployment.metrics.read)

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
            "warnings": [],
            "tickets": [{**asdict(each), "address": addresses[each.host]} for each in workers],
        }
