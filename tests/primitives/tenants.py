"""Several applications on one switch with the hosts of the conformance cases: expected and actual results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np

from midflight.primitives import REQUEST, Message, Primitive, Program, Schema, Verdict
from midflight.primitives.catalogue import made
from midflight.primitives.wire import FOR_HOST
from midflight.runtime.devices import open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.maps import Maps
from midflight.runtime.p4runtime.client.results import Count
from midflight.runtime.steering import Member, Offload, Route
from midflight.testbed.conformance.leaving import leaving
from midflight.testbed.conformance.network import EPOCH, MEMBERS, SERVER, Frame, address, mac, result_port
from midflight.testbed.conformance.subject import Request, subject

__all__ = ["Alert", "Came", "House", "Step", "meant", "mixed", "primitive", "requests"]

Came = tuple[tuple[int, bytes], ...]
"""The outcome of a packet: frames by port."""

Alert = tuple[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Step:
    """A packet that arrives at a port. `application` is empty if it is not a request of an application."""

    port: int
    packet: bytes
    application: str = ""
    request: Request | None = None


def primitive(kind: str, name: str, choice: int = 0) -> Primitive:
    """Return a primitive of the library with parameters from its subject."""
    of = subject(kind)
    return made(of.primitive, name, of.choice(choice))


def requests(program: Program, name: str, seed: int) -> list[Request]:
    """Return a trace of an application from its subject."""
    found = program.applications[name].primitive
    return list(subject(type(found).__name__).requests(Random(f"{seed}/{name}"), found.parameters))


def mixed(program: Program, traces: Mapping[str, Sequence[Request]], seed: int) -> list[Step]:
    """Return the interleaved requests of all applications, each application's in order."""
    schema, random = Schema(program.schema()), Random(seed)
    rows = {name: iter(each) for name, each in traces.items()}
    turns = [name for name, each in traces.items() for _ in each]
    random.shuffle(turns)
    steps = []
    for name in turns:
        request = next(rows[name])
        payload = schema.encode(Message(REQUEST, name, request.sequence, request.fields))
        steps.append(Step(request.host, bytes(Frame.request(request.host, payload)), name, request))
    return steps


def meant(program: Program, steps: Sequence[Step]) -> tuple[list[Came], list[Alert], dict[str, dict[str, Any]]]:
    """Return the results of the executed kernels: the frames, the alerts, and the registers."""
    schema = Schema(program.schema())
    references = {name: each.primitive.reference(epoch=EPOCH) for name, each in program.applications.items()}
    came, alerts = [], []
    for step in steps:
        request = step.request
        assert request is not None
        reference = references[step.application]
        for each in request.writes:
            each.apply(reference.map(each.map))
        outcome = reference.process(Message(REQUEST, step.application, request.sequence, request.fields))
        alerts += [(f"{step.application}_alert_t", values) for values in outcome.alerts]
        kind = FOR_HOST if outcome.verdict == Verdict.FALLBACK else REQUEST
        frame = Frame.request(request.host, schema.encode(replace(outcome.message, kind=kind)))
        came.append(leaving(outcome.verdict, request.host, replace(frame, checksum=0)))
    written = {name: _written(each.registers) for name, each in references.items()}
    return came, alerts, written


def _written(registers: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, each in registers.items():
        lanes = [each] if each.lanes is None else [each[lane] for lane in range(each.lanes)]
        found[name] = [lane.written for lane in lanes]
    return found


class House:
    """A device with a program whose applications are admitted on some or all ports; a context manager.

    `admissions` are by name: the ports (None for all), the receivers of multicasts, and the rate.
    """

    def __init__(
        self,
        program: Program,
        kind: str,
        admissions: Mapping[str, tuple[Sequence[int] | None, Sequence[int], int]] | None = None,
        ports: Sequence[int] = (*MEMBERS, SERVER),
    ) -> None:
        self.program = program
        self.schema = Schema(program.schema())
        device = open_device(kind, program.p4())
        assert isinstance(device, PacketDevice)
        self.device, self.session = device, device.session()
        self.maps = Maps(self.session, program)
        self.maps.install()
        self.steering = Offload(self.session)
        self.steering.install(Route(address(port), port, mac(port)) for port in ports)
        for name, each in program.applications.items():
            where, members, rate = (admissions or {}).get(name, (None, MEMBERS, 0))
            listening = [Member(port, mac(port), address(port), result_port(port)) for port in members]
            self.steering.admit(each.id, listening, epoch=EPOCH, ports=where, rate=rate)
            if each.primitive.kernel.alert:
                self.session.subscribe(f"{name}_alert_t")

    def play(self, steps: Sequence[Step]) -> list[Came]:
        """Process packets one after the other, and return the outcome of each."""
        came: list[Came] = []
        for batch in _batches(steps):
            first = batch[0]
            for each in first.request.writes if first.request else ():
                each.apply(self.maps[first.application, each.map])
            out = self.device.process(Packets.from_list([(step.port, step.packet) for step in batch]))
            found: list[list[tuple[int, bytes]]] = [[] for _ in batch]
            for source, packet in zip(out.sources.tolist(), out, strict=True):
                found[source].append(packet)
            came += [tuple(sorted(each)) for each in found]
        return came

    def alerts(self) -> list[Alert]:
        """Return the alerts that have been raised."""
        found: list[Alert] = []
        while more := self.session.digests(timeout=1.0):
            found += [(each.name, self.schema.alert(each.name, each.values.values())) for each in more]
        return found

    def state(self, name: str) -> dict[str, list[Any]]:
        """Return the contents of an application's registers."""
        held = self.program.state(name, self.session.inband).read()
        return {register: np.asarray(values, dtype=object).tolist() for register, values in held.items()}

    def counters(self, name: str) -> dict[int | None, Count]:
        """Return the traffic counters of an application."""
        return self.steering.counters(self.program.applications[name].id)

    def __enter__(self) -> House:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()
        self.device.close()


def _batches(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    start = 0
    for number, step in enumerate(steps):
        if number > start and step.request is not None and step.request.writes:
            yield steps[start:number]
            start = number
    yield steps[start:]
