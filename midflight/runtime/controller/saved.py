"""The desired state of a controller, converted to a JSON object and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from ipaddress import ip_network
from typing import Any

import numpy as np

from midflight.errors import MidflightError
from midflight.primitives.kernel.map import Entry, Part
from midflight.runtime.controller.desired import AdmissionRequest
from midflight.runtime.controller.endpoints import Host
from midflight.runtime.controller.fleet import Fleet
from midflight.runtime.controller.jobs import Job
from midflight.runtime.controller.scheduler import JobScheduler
from midflight.runtime.steering.service import Pool, Rule, Service

__all__ = ["SavedState"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SavedState:
    """The desired state of a controller except its program: epoch, admissions, rates, mirrors, services, jobs and
    map entries; and the registers of steps that were left to hosts.

    `document` can be serialized as JSON. It refers to hosts, switches and applications by name. It contains tokens, so
    keep it private.
    """

    document: Mapping[str, Any]

    @classmethod
    def of(cls, fleet: Fleet, jobs: JobScheduler) -> SavedState:
        """Return the current desired state of the controller that these parts belong to. Hold the fleet's lock."""
        desired = fleet.desired
        return cls(
            {
                "epoch": fleet.epoch,
                "admissions": [_admission(each) for each in desired.admissions.values()],
                "rates": dict(desired.rates),
                "mirrors": [
                    {"application": application, "switch": switch, "hosts": [each.name for each in hosts]}
                    for (application, switch), hosts in desired.mirrors.items()
                ],
                "services": [_service(each) for each in desired.services.values()],
                "instances": dict(desired.instances),
                "jobs": [_job(each) for each in jobs.jobs.values()],
                "numbers": dict(jobs.numbers),
                "maps": {
                    application: {name: _entries(those) for name, those in held.items()}
                    for application in fleet.program.applications
                    if (held := desired.maps.of(application))
                },
                "left": {
                    step: {name: np.asarray(each).tolist() for name, each in registers.items()}
                    for step, registers in fleet.left.items()
                },
                "switches": {
                    name: [[*names, _entries(those)] for names, those in each.maps.entries().items()]
                    for name, each in fleet.switches.items()
                },
            }
        )

    def restore(self, fleet: Fleet, jobs: JobScheduler) -> None:
        """Set the desired state of the controller that these parts belong to. Writes nothing to the switches.

        Every switch must have an expected configuration already (`ManagedSwitch.expect`). MidflightError if the
        document is damaged, or if it names a host or switch that is not in the network, or an application that is not
        in the program; the state may then be set in part.
        """
        try:
            self._restore(fleet, jobs)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise MidflightError(f"the saved state is damaged: {error!r}") from None

    def _restore(self, fleet: Fleet, jobs: JobScheduler) -> None:
        saved, known = self.document, {each.name: each for each in fleet.whole.hosts}

        def hosts(names: Iterable[str]) -> tuple[Host, ...]:
            for name in names:
                if name not in known:
                    raise MidflightError(f"the saved state names host {name}, which is not in the network")
            return tuple(known[name] for name in names)

        def switch(name: str) -> str:
            if name not in fleet.switches:
                raise MidflightError(f"the saved state names switch {name}, which is not in the network")
            return name

        fleet.epoch = int(saved["epoch"])
        desired = replace(fleet.desired, rates={name: int(each) for name, each in saved["rates"].items()})
        for each in saved["admissions"]:
            request = AdmissionRequest(
                fleet.application(each["application"]),
                switch(each["switch"]),
                hosts(each["hosts"]),
                int(each["port"]),
                hosts(each["senders"]),
                int(each.get("token", 0)),
                tuple((hosts([name])[0], int(number), int(job)) for name, number, job in each.get("members", ())),
            )
            desired = desired.admitting(request)
        for each in saved["mirrors"]:
            desired = desired.mirroring(each["application"], switch(each["switch"]), hosts(each["hosts"]))
        desired = replace(
            desired,
            services={each["name"]: _parse_service(each) for each in saved.get("services", ())},
            instances={hosts([name])[0].name: int(each) for name, each in saved.get("instances", {}).items()},
        )
        for application, maps in saved["maps"].items():
            for name, those in maps.items():
                held = desired.maps.map(fleet.application(application), name)
                for entry in held.entries:
                    del held[held.key(entry.parts)]
                for entry in _parse_entries(those):
                    held.keep(entry)
        fleet.desired = desired
        for step, registers in saved.get("left", {}).items():
            fleet.left[step] = {name: [*each] for name, each in registers.items()}
        for name, entries in saved["switches"].items():
            there = {(application, attribute): _parse_entries(those) for application, attribute, those in entries}
            if name in fleet.switches:
                fleet.switches[name].maps.fill(there)
        jobs.numbers.update({name: int(number) for name, number in saved["numbers"].items()})
        for each in saved["jobs"]:
            (server,) = hosts([each["server"]]) if each["server"] else (None,)
            application = fleet.application(each["application"])
            jobs.jobs[application.name] = Job(
                application, hosts(each["hosts"]), server, int(each["number"]), int(each.get("token", 0))
            )


def _admission(request: AdmissionRequest) -> Json:
    return {
        "application": request.application.name,
        "switch": request.switch,
        "hosts": [each.name for each in request.hosts],
        "port": request.port,
        "senders": [each.name for each in request.senders],
        "token": request.token,
        "members": [[each.name, number, job] for each, number, job in request.members],
    }


def _job(job: Job) -> Json:
    return {
        "application": job.application.name,
        "hosts": [each.name for each in job.hosts],
        "server": job.server.name if job.server else "",
        "number": job.number,
        "token": job.token,
    }


def _service(service: Service) -> Json:
    return {
        "name": service.name,
        "address": str(service.address),
        "pool": _pool(service.pool),
        "until": service.until,
        "balance": service.balance,
        "drained": [*service.drained],
        "classes": [
            {"name": name, "rule": {**asdict(rule), "source": rule.source and str(rule.source)}, "pool": _pool(pool)}
            for name, (rule, pool) in service.classes.items()
        ],
    }


def _pool(pool: Pool) -> Json:
    return {
        "number": pool.number,
        "static": [[number, weight] for number, weight in pool.static.items()],
        "weights": [[number, weight] for number, weight in pool.weights.items()],
        "table": list(pool.table),
        "local": [
            [name, [[number, weight] for number, weight in weights.items()], list(table)]
            for name, (weights, table) in pool.local.items()
        ],
    }


def _parse_service(saved: Json) -> Service:
    classes = {}
    for each in saved["classes"]:
        rule = {**each["rule"], "source": each["rule"]["source"] and ip_network(each["rule"]["source"])}
        classes[each["name"]] = Rule(**rule), _parse_pool(each["pool"])
    pool, balance = _parse_pool(saved["pool"]), str(saved.get("balance", ""))
    drained = tuple(map(int, saved.get("drained", ())))
    return Service(saved["name"], ip_network(saved["address"]), pool, classes, saved["until"], balance, drained)


def _parse_pool(saved: Json) -> Pool:
    static, weights = (
        {int(number): float(weight) for number, weight in saved[which]} for which in ("static", "weights")
    )
    local = {
        str(name): ({int(number): float(weight) for number, weight in those}, tuple(map(int, table)))
        for name, those, table in saved.get("local", ())
    }
    return Pool(int(saved["number"]), static, weights, tuple(map(int, saved["table"])), local)


def _entries(entries: Iterable[Entry]) -> list[Any]:
    return [[list(each.parts), each.value, each.priority] for each in entries]


def _parse_entries(entries: Sequence[Any]) -> list[Entry]:
    return [Entry(tuple(map(_parse_part, parts)), int(value), int(priority)) for parts, value, priority in entries]


def _parse_part(value: Any) -> Part:
    if isinstance(value, list):
        low, high = value
        return int(low), int(high)
    return int(value)
