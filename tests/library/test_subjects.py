"""What every primitive of the library must pass, from its subject: it needs no test of its own for any of this."""

from __future__ import annotations

import doctest

import pytest

from midflight import primitives as library
from midflight.errors import KernelError
from midflight.primitives.catalogue import LIBRARY
from midflight.runtime.devices.toolchain import P4C, SIMPLE_SWITCH_GRPC
from midflight.testbed.conformance.run import check
from midflight.testbed.conformance.subject import Subject, names, subject
from midflight.testbed.conformance.traces import generate
from tests.library.mutation import Mutant, mutants
from tests.library.traces import Switch, Trace, played, traces

TRACES = 1000
MUTANTS = 40
TRACES_FOR_MUTANTS = 300
MISSING = P4C.missing or SIMPLE_SWITCH_GRPC.missing


# What is one primitive's is for one process: its traces take longer to make than to play.
@pytest.fixture(scope="module", params=[pytest.param(each, marks=pytest.mark.xdist_group(each)) for each in names()])
def tested(request: pytest.FixtureRequest) -> tuple[Subject, list[Trace]]:
    found = subject(request.param)
    return found, traces(found, TRACES)


Tested = tuple[Subject, list[Trace]]


def test_every_primitive_is_a_subject() -> None:
    assert set(names()) == set(LIBRARY)


def test_oracle_kernel_and_switch_agree(tested: Tested) -> None:
    of, every = tested
    switches = [Switch(of.make(number)) for number in range(len(of.parameters))]
    primitives = [of.make(number) for number in range(len(of.parameters))]
    for trace in every:
        which = trace.number % len(switches)
        switches[which].play(trace, played(primitives[which], trace))


def test_mutants_are_caught(tested: Tested) -> None:
    of, every = tested
    chosen = mutants(of, MUTANTS)
    assert len(chosen) >= 12 or len(chosen) == len(mutants(of, 10_000))
    missed = {each.name for each in chosen if not caught(of, each, every[:TRACES_FOR_MUTANTS])}
    assert missed - of.equivalent.keys() == set(), "nothing in the traces tells these from the kernel"
    assert of.equivalent.keys() - missed == set(), "these are said to be equivalent, and are not"


def caught(subject: Subject, mutant: Mutant, every: list[Trace]) -> bool:
    """Tell whether a mutant, executed, is found out by a trace; a kernel that breaks off is."""
    primitives = [mutant.make(parameters) for parameters in subject.parameters]
    for trace in every:
        primitive = primitives[trace.number % len(primitives)]
        assert primitive is not None, f"{mutant.name} does not compile"
        try:
            played(primitive, trace)
        except (AssertionError, KernelError):
            return True
    return False


@pytest.mark.bmv2
@pytest.mark.skipif(bool(MISSING), reason=MISSING)
@pytest.mark.parametrize("name", names())
def test_bmv2_agrees(name: str) -> None:
    report = check("bmv2", [generate(name, 3, number) for number in range(4)])
    assert [(each.case.name, each.differences) for each in report.results if not each.good] == []


@pytest.mark.parametrize("name", names())
def test_its_example_runs(name: str) -> None:
    """An example knows what `midflight.primitives` exports."""
    scope = {each: getattr(library, each) for each in library.__all__}
    example = doctest.DocTestParser().get_doctest(str(LIBRARY[name].__doc__), scope, name, None, 0)
    assert example.examples, f"the docstring of {name} has no example"
    told: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=told.append)
    assert not told, "".join(told)
