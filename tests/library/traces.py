"""Traces of a subject with its oracle's answers, and their execution on the kernel and on the switch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
from hypothesis import strategies as st

from midflight.primitives import REQUEST, Message, Primitive, Program, Reference, Verdict
from midflight.primitives.wire import FOR_HOST, Schema
from midflight.runtime.engine.packets import Packets
from midflight.testbed.conformance.case import Write
from midflight.testbed.conformance.faults import WEATHERS, brought
from midflight.testbed.conformance.leaving import leaving
from midflight.testbed.conformance.network import EPOCH, Frame
from midflight.testbed.conformance.subject import Answer, Request, Subject
from tests.primitives.agreement import arrays
from tests.primitives.rig import SwitchRig, table_entry

__all__ = ["Switch", "Trace", "drawn", "played", "traces"]


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace with the parameters of `Subject.choice(number)`, and the oracle's answers."""

    number: int
    requests: Sequence[Request]
    answers: Sequence[Answer]


def traces(subject: Subject, count: int) -> list[Trace]:
    """Return the first `count` traces, which are deterministic."""
    made = [subject.make(number) for number in range(len(subject.parameters))]
    found = []
    for number in range(count):
        parameters = made[number % len(made)].parameters
        requests = list(subject.requests(Random(number), parameters))
        found.append(Trace(number, requests, subject.oracle(parameters, requests)))
    return found


@st.composite
def drawn(draw: st.DrawFn, subject: Subject) -> Trace:
    """Draw a trace: the packets that a network delivers of some requests. It shrinks to the fewest packets.

    Only a seed is drawn for the requests, because examples with hundreds of draws are slow and often duplicates. The
    fate of each request is a byte, whose smallest value means that it is lost.
    """
    number = draw(st.integers(0, 2**32 - 1))
    sent = list(subject.requests(Random(number), subject.make(number).parameters))
    weather = draw(st.sampled_from(WEATHERS))
    fates = draw(st.binary(min_size=len(sent), max_size=len(sent)))
    requests = brought(sent, [weather[each * len(weather) // 256] for each in fates])
    return Trace(number, requests, subject.oracle(subject.make(number).parameters, requests))


def plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with lists instead of arrays, for comparison."""
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}


def step(reference: Reference, request: Request) -> Answer:
    """Run the executed kernel on one request."""
    outcome = reference.process(Message(REQUEST, "app", request.sequence, request.fields))
    fields = None if outcome.verdict == Verdict.DROP else plain(outcome.message.fields)
    return Answer(outcome.verdict, fields, outcome.alerts)


def played(primitive: Primitive, trace: Trace) -> Reference:
    """Run the executed kernel on a trace, from an empty state. Raises AssertionError if it differs from the oracle."""
    reference = primitive.reference(epoch=EPOCH)
    for place, (request, answer) in enumerate(zip(trace.requests, trace.answers, strict=True)):
        for each in request.writes:
            each.apply(reference.map(each.map))
        assert step(reference, request) == answer, f"trace {trace.number}, packet {place}: {request}"
    return reference


class Switch:
    """The embedded switch with a primitive as application `app`, and the hosts of the conformance cases."""

    def __init__(self, primitive: Primitive) -> None:
        program = Program(primitive)
        self.engine = SwitchRig(program).engine
        self.schema = Schema(program.schema())
        self.initial = primitive.maps
        self.maps = {name: each.copy() for name, each in self.initial.items()}

    def play(self, trace: Trace, reference: Reference) -> None:
        """Play a trace from an empty state. Raises AssertionError if answers or the final state differ."""
        self.clear()
        came: list[list[tuple[int, bytes]]] = [[] for _ in trace.requests]
        starts = [0, *(n for n, each in enumerate(trace.requests) if each.writes and n), len(trace.requests)]
        for start, end in pairwise(starts):
            for each in trace.requests[start].writes:
                self.write(each)
            frames = [(each.host, bytes(self.frame(each, each.fields))) for each in trace.requests[start:end]]
            out = self.engine.process(Packets.from_list(frames))
            for source, packet in zip(out.sources.tolist(), out, strict=True):
                came[start + source].append(packet)
        for place, (answer, packets) in enumerate(zip(trace.answers, came, strict=True)):
            request = trace.requests[place]
            expected: tuple[tuple[int, bytes], ...] = ()
            if answer.fields is not None:
                kind = FOR_HOST if answer.verdict == Verdict.FALLBACK else REQUEST
                expected = leaving(answer.verdict, request.host, self.frame(request, answer.fields, kind, checksum=0))
            assert tuple(sorted(packets)) == expected, f"trace {trace.number}, packet {place}: {request}"
        alerts = [self.schema.alert(each.name, each.values) for each in self.engine.digests()]
        assert alerts == [values for each in trace.answers for values in each.alerts], f"trace {trace.number}"
        for array, meant in arrays(reference).items():
            held = self.engine.registers[f"ingress.app.{array}"]
            # The switch encodes values so that 0 represents the initial one. Elements that are not read are 0.
            reported = {index for index, value in meant.written.items() if value != meant.initial}
            reported |= {*np.flatnonzero(held.read_all().reshape(meant.size, -1).any(axis=1)).tolist()}
            for index in reported:
                value = held.read(index) ^ meant.initial
                assert value == meant.written.get(index, meant.initial), f"trace {trace.number}: {array}[{index}]"

    def clear(self) -> None:
        """Reset registers and maps to their initial contents, and discard alerts."""
        self.engine.digests()
        for register in self.engine.registers.values():
            register.clear()
        for name, shape in self.maps.items():
            if shape.entries != self.initial[name].entries:
                for key in [*shape]:
                    self.write(Write(name, key))
                for entry in self.initial[name].entries:
                    self.write(Write(name, shape.key(entry.parts), entry.value))

    def write(self, write: Write) -> None:
        """Apply a controller's write to a map."""
        shape, name = self.maps[write.map], f"ingress.app.{write.map}"
        table = self.engine.tables[name]
        if (before := shape.find(shape.parts(write.key))) is not None:
            gone = table_entry(f"{name}_is", shape, before)
            table.delete(gone.keys, gone.priority)
        write.apply(shape)
        if (after := shape.find(shape.parts(write.key))) is not None:
            table.insert(table_entry(f"{name}_is", shape, after))

    def frame(self, request: Request, fields: Mapping[str, Any], kind: int = REQUEST, **header: int) -> Frame:
        """Return a request's frame, with these fields."""
        made = Frame.request(request.host, self.schema.encode(Message(kind, "app", request.sequence, fields)))
        return Frame(**{name: getattr(made, name) for name in Frame.__slots__} | header)
