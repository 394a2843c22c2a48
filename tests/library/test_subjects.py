"""Tests of every primitive of the library, from its subject."""

from __future__ import annotations

import doctest
from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import HealthCheck, find, given, settings

from midflight import primitives as library
from midflight.errors import KernelError
from midflight.primitives import Primitive
from midflight.primitives.catalogue import LIBRARY
from midflight.runtime.devices.toolchain import P4C, SIMPLE_SWITCH_GRPC
from midflight.testbed.conformance.kernelmutants import Mutant, mutants
from midflight.testbed.conformance.run import check
from midflight.testbed.conformance.subject import Subject, names, subject
from midflight.testbed.conformance.traces import generate
from tests.conftest import SEARCH
from tests.library.traces import Switch, Trace, drawn, played, traces

TRACES = 60
MORE_TRACES = 1000  # with `pytest -m long`
MUTANTS = 20
TRACES_FOR_MUTANTS = 300
FEW = 6
BMV2_CASES = 2
MORE_BMV2_CASES = 12  # with `pytest -m long`
MISSING = P4C.missing or SIMPLE_SWITCH_GRPC.missing


# The tests of one primitive run in one process.
@pytest.fixture(scope="module", params=[pytest.param(each, marks=pytest.mark.xdist_group(each)) for each in names()])
def tested(request: pytest.FixtureRequest) -> Subject:
    return subject(request.param)


def asked(count: int = TRACES) -> settings:
    """Return the settings: `count` deterministic traces, unless pytest is run with a profile.

    The number is a little larger, as hypothesis draws some twice.
    """
    if settings.get_current_profile_name() == SEARCH:
        return settings.get_profile(SEARCH)
    few_too_slow = [HealthCheck.too_slow]
    return settings(max_examples=count + count // 10, derandomize=True, suppress_health_check=few_too_slow)


def test_every_primitive_is_a_subject() -> None:
    assert set(names()) == set(LIBRARY)


@pytest.mark.parametrize("count", [TRACES, pytest.param(MORE_TRACES, marks=pytest.mark.long)])
def test_oracle_kernel_and_switch_agree(tested: Subject, count: int) -> None:
    switches = [Switch(tested.make(number)) for number in range(len(tested.parameters))]
    primitives = [tested.make(number) for number in range(len(tested.parameters))]
    different = set()

    @asked(count)
    @given(drawn(tested))
    def agree(trace: Trace) -> None:
        which = trace.number % len(switches)
        switches[which].play(trace, played(primitives[which], trace))
        different.add(hash(repr(trace.requests)))

    agree()
    assert len(different) >= count


@pytest.mark.parametrize("name", ["Barrier", "Lock"])
def test_a_failing_trace_is_shrunk_to_few_packets(name: str) -> None:
    of = subject(name)
    for mutant in mutants(of, 3)[:3]:
        shown = find(drawn(of), partial(differs, mutant.made), settings=asked())
        assert 1 <= len(shown.requests) <= FEW, mutant.name


def test_mutants_are_caught(tested: Subject) -> None:
    every = traces(tested, TRACES_FOR_MUTANTS)
    chosen = mutants(tested, MUTANTS)
    assert len(chosen) >= 12 or len(chosen) == len(mutants(tested, 10_000))
    missed = {each.name for each in chosen if not caught(each, every)}
    assert missed - tested.equivalent.keys() == set(), "no trace distinguishes these from the kernel"
    assert tested.equivalent.keys() - missed == set(), "these are declared equivalent, but are not"


def caught(mutant: Mutant, every: list[Trace]) -> bool:
    """Return whether a trace detects an executed mutant."""
    assert mutant.made, f"{mutant.name} does not compile"
    return any(differs(mutant.made, trace) for trace in every)


def differs(broken: Sequence[Primitive], trace: Trace) -> bool:
    """Return whether an executed kernel raises or gives a wrong answer. There is one for each choice of parameters."""
    primitive = broken[trace.number % len(broken)]
    try:
        played(primitive, trace)
    except (AssertionError, KernelError):
        return True
    return False


@pytest.mark.bmv2
@pytest.mark.skipif(bool(MISSING), reason=MISSING)
@pytest.mark.parametrize("count", [BMV2_CASES, pytest.param(MORE_BMV2_CASES, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", names())
def test_bmv2_agrees(name: str, count: int) -> None:
    report = check("bmv2", [generate(name, 3, number) for number in range(count)])
    assert [(each.case.name, each.differences) for each in report.results if not each.good] == []


@pytest.mark.parametrize("name", names())
def test_the_docstrings_example_runs(name: str) -> None:
    """Examples can use the exports of `midflight.primitives`."""
    scope = {each: getattr(library, each) for each in library.__all__}
    example = doctest.DocTestParser().get_doctest(str(LIBRARY[name].__doc__), scope, name, None, 0)
    assert example.examples, f"the docstring of {name} has no example"
    reported: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=reported.append)
    assert not reported, "".join(reported)
