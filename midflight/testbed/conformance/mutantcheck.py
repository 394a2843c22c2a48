"""The self-test for a user's primitive: whether its oracle or its cases detect faulty variants of the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from random import Random

from midflight.errors import KernelError, MidflightError
from midflight.primitives import Primitive, Program
from midflight.testbed.conformance.case import Case
from midflight.testbed.conformance.faults import weathered
from midflight.testbed.conformance.kernelmutants import mutants
from midflight.testbed.conformance.model import answered
from midflight.testbed.conformance.mutants import Mutant
from midflight.testbed.conformance.oracle import disagreements
from midflight.testbed.conformance.own import Own
from midflight.testbed.conformance.run import Caught, Progress
from midflight.testbed.conformance.subject import Answer, Request

__all__ = ["self_test_own"]


def self_test_own(
    own: Own,
    written: Sequence[Case],
    *,
    seed: int,
    count: int,
    mutants_at_most: int = 40,
    progress: Progress = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Caught, ...]:
    """Return for up to `mutants_at_most` mutants of a primitive's kernel whether something detects them, and what.

    A mutant is the kernel with one change, such as another comparison. It is detected by the user's oracle on one of
    `count` traces, which follow from `seed`, or by one of the cases in `written` for this primitive. Those that the
    subject declares equivalent are left out, so there may be fewer. `stop` is called before each mutant; if it returns
    True, the results so far are returned.

    MidflightError if there is neither an oracle nor a case (the executed kernel agrees with itself, whatever it does),
    and if the subject declares a mutant equivalent that does not exist. Errors of the oracle propagate.
    """
    subject = own.subject
    name = subject.primitive.__name__
    cases = [each for each in written if each.primitive == name]
    if not own.independent and not cases:
        raise MidflightError(
            f"there is nothing by which a broken {name} could be detected",
            hint="write a function oracle(parameters, requests) in the file, or case files (--case-dir)",
        )
    traces = list(_traces(own, seed, count)) if own.independent else []
    chosen = [each for each in mutants(subject, mutants_at_most) if each.name not in subject.equivalent]
    found: list[Caught] = []
    for number, each in enumerate(chosen):
        if stop():
            break
        progress(number, len(chosen), each.name)
        mutant = Mutant(each.name, name, {}, "", "")
        by, how = _detected(each.made, traces) or _contradicted(each.primitive, cases) or (None, "")
        found.append(Caught(mutant, by, how))
    progress(len(found), len(chosen), "")
    return tuple(found)


Trace = tuple[int, Sequence[Request], Sequence[Answer]]


def _traces(own: Own, seed: int, count: int) -> Iterable[Trace]:
    subject = own.subject
    for number in range(count):
        random = Random(f"{seed}/{subject.primitive.__name__}/{number}")
        parameters = subject.make(number).parameters
        requests = weathered(random, list(subject.requests(random, parameters)))
        yield number, requests, subject.oracle(parameters, requests)


def _detected(broken: Sequence[Primitive], traces: Iterable[Trace]) -> tuple[str, str] | None:
    for number, requests, answers in traces:
        if said := disagreements(broken[number % len(broken)], requests, answers):
            return f"trace {number} of the oracle", said[0]
    return None


def _contradicted(kind: type[Primitive], cases: Iterable[Case]) -> tuple[str, str] | None:
    for case in cases:
        changed = replace(case, of=kind)
        try:
            answer = answered(changed, Program(kind("app", **case.parameters)))
        except KernelError as error:
            return case.name, error.message
        if (answer.steps, answer.alerts) != (case.steps, case.alerts):
            return case.name, "its answers differ"
        held = {(each.register, each.index, each.lane): each.value for each in answer.state}
        if any(held.get((each.register, each.index, each.lane), each.value) != each.value for each in case.state):
            return case.name, "its registers differ"
    return None
