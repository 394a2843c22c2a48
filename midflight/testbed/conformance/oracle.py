"""Comparison of an executed kernel with the answers that an oracle expects."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np

from midflight.errors import KernelError
from midflight.primitives import REQUEST, Message, Primitive, Reference, Verdict
from midflight.testbed.conformance.case import Case
from midflight.testbed.conformance.differing import field_differences
from midflight.testbed.conformance.faults import weathered
from midflight.testbed.conformance.network import EPOCH
from midflight.testbed.conformance.run import Progress, Report, Result
from midflight.testbed.conformance.run import Verdict as CaseVerdict
from midflight.testbed.conformance.shrink import fewest
from midflight.testbed.conformance.subject import Answer, Request, Subject

__all__ = ["check_oracle", "disagreements", "kernel_answers"]

DEVICE = "oracle"
"""The name of these comparisons in reports, in place of a device."""


def kernel_answers(primitive: Primitive, requests: Sequence[Request]) -> list[Answer]:
    """Return the answers of a primitive's executed kernel to requests, which start with the state of `setup`.

    They have no contents of registers. KernelError if the kernel fails.
    """
    reference = primitive.reference(epoch=EPOCH)
    return [_answer(reference, each) for each in requests]


def disagreements(primitive: Primitive, requests: Sequence[Request], answers: Sequence[Answer]) -> list[str]:
    """Return how the executed kernel's answers to requests differ from the expected ones, as texts; [] if they agree.

    Names what is wrong with the first request whose answer differs. An error of the kernel counts as a difference, and
    so does another number of answers than of requests.
    """
    if len(answers) != len(requests):
        return [f"there are {len(answers)} expected answers to {len(requests)} packets"]
    reference = primitive.reference(epoch=EPOCH)
    for number, (request, must) in enumerate(zip(requests, answers, strict=True)):
        try:
            has = _answer(reference, request)
        except KernelError as error:
            return [f"packet {number}: the kernel fails: {error.message}"]
        if said := _differences(has, must, reference):
            return [f"packet {number}: {'; '.join(said)}"]
    return []


def check_oracle(
    subject: Subject,
    *,
    seed: int,
    count: int,
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Compare the executed kernel with the subject's oracle on `count` generated traces, and return the results.

    Traces follow from `seed`. A failing one is minimised. The case of a result has no packets; its requests are in the
    texts. `stop` is called before each trace: if it returns True, the others are left out, and the report counts them
    in `left`. `clock` returns seconds. Errors of the oracle propagate.
    """
    name = subject.primitive.__name__
    results: list[Result] = []
    for number in range(count):
        if stop():
            break
        progress(number, count, f"{name} and its oracle")
        begun = clock()
        primitive = subject.make(number)
        random = Random(f"{seed}/{name}/{number}")
        requests = weathered(random, list(subject.requests(random, primitive.parameters)))
        said = _disagreeing(subject, primitive, requests)
        case = Case(
            f"{name.lower()}-{seed}-{number}", name, subject.choice(number), (), seed=seed, of=subject.primitive
        )
        if not said:
            results.append(Result(case, CaseVerdict.PASSED, packets=len(requests), seconds=clock() - begun))
            continue

        def fails(numbers: list[int], of: Primitive = primitive, sent: Sequence[Request] = requests) -> bool:
            return bool(_disagreeing(subject, of, [sent[each] for each in numbers]))

        kept = [requests[each] for each in fewest(len(requests), fails)]
        said = _disagreeing(subject, primitive, kept)
        said += [f"  packet {at}: {_sent(each)}" for at, each in enumerate(kept)]
        seconds = clock() - begun
        results.append(Result(case, CaseVerdict.FAILED, tuple(said), packets=len(requests), seconds=seconds))
    progress(len(results), count, "")
    return Report(DEVICE, seed, tuple(results), left=count - len(results))


def _disagreeing(subject: Subject, primitive: Primitive, requests: Sequence[Request]) -> list[str]:
    return disagreements(primitive, requests, subject.oracle(primitive.parameters, requests))


def _answer(reference: Reference, request: Request) -> Answer:
    for each in request.writes:
        each.apply(reference.map(each.map))
    outcome = reference.process(Message(REQUEST, "app", request.sequence, request.fields))
    fields = None if outcome.verdict == Verdict.DROP else dict(outcome.message.fields)
    return Answer(outcome.verdict, fields, outcome.alerts)


def _differences(has: Answer, must: Answer, reference: Reference) -> list[str]:
    said = []
    if has.verdict != must.verdict:
        said.append(f"the verdict is {has.verdict.name}, must be {must.verdict.name}")
    elif has.fields is not None and must.fields is not None:
        said += field_differences(has.fields, must.fields)
    if list(has.alerts) != [tuple(each) for each in must.alerts]:
        said.append(f"the alerts are {_listed(has.alerts)}, must be {_listed(must.alerts)}")
    for name, elements in must.registers.items():
        if name not in reference.registers:
            known = ", ".join(reference.registers) or "none"
            said.append(f"there is no register {name}; there are {known}")
            continue
        register = reference.registers[name]
        for index, value in elements.items():
            lanes = [register] if register.lanes is None else [register[lane] for lane in range(register.lanes)]
            held = [each.written.get(index, each.initial) for each in lanes]
            for lane, (one, other) in enumerate(zip(held, np.atleast_1d(np.asarray(value, object)), strict=True)):
                if int(other) != one:
                    where = f"{name}[{index}]" if register.lanes is None else f"{name}[{lane}][{index}]"
                    said.append(f"register {where} is {one}, must be {int(other)}")
    return said


def _listed(alerts: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(map(str, map(tuple, alerts))) or "none"


def _sent(request: Request) -> str:
    fields: dict[str, Any] = {
        name: np.asarray(value).tolist() if hasattr(value, "__len__") else value
        for name, value in request.fields.items()
    }
    return f"host {request.host}, sequence {request.sequence}: " + ", ".join(f"{a}={b}" for a, b in fields.items())
