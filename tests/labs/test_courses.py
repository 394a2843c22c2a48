"""Every lab: the solution gets full marks, the starter few, and faulty solutions lose marks with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from midflight.labs.catalogue import Lab, labs
from midflight.labs.grading import Grade, grade
from midflight.labs.mutants import Mutant, mutants
from midflight.labs.student import Isolation
from midflight.labs.switch import SwitchProcess

LABS = labs()
each_lab = pytest.mark.parametrize("lab", LABS, ids=lambda each: each.name)


@pytest.fixture(scope="module")
def process() -> Iterator[SwitchProcess]:
    with SwitchProcess() as made:
        yield made


def graded(lab: Lab, files: dict[str, str], process: SwitchProcess, seed: int = 1, *, own: bool = True) -> Grade:
    tests = [each for each in lab.tests if own or not each.name.startswith("own tests")]
    return grade(lab, files, seed, process=process, tests=tests, isolation=Isolation.PROCESS)


@each_lab
def test_the_solution_gets_full_marks(lab: Lab, process: SwitchProcess) -> None:
    result = graded(lab, dict(lab.solution()), process)
    assert [each for each in result.results if each.reason] == []
    assert result.most == 100


@each_lab
def test_the_starter_runs_and_gets_few_marks(lab: Lab, process: SwitchProcess) -> None:
    result = graded(lab, dict(lab.starter()), process, 7)
    assert result.points <= 25
    names = (*lab.files, "cannot be imported", "does not compile")
    assert not any(f"{name}:" in each.reason for each in result.results for name in names)


@each_lab
@pytest.mark.long
def test_two_runs_of_one_seed_are_the_same(lab: Lab, process: SwitchProcess) -> None:
    fault = mutants(lab.folder)[-1]
    files = {**lab.solution(), fault.file: fault.text}
    assert graded(lab, files, process, 7) == graded(lab, files, process, 7)


def check_mutant(lab: Lab, mutant: Mutant, process: SwitchProcess) -> None:
    result = graded(lab, {**lab.solution(), mutant.file: mutant.text}, process, 5, own=False)
    reasons = "\n".join(each.reason for each in result.results)
    assert reasons, f"not detected: {mutant.fault}"
    assert mutant.word.lower() in reasons.lower(), mutant.fault


@each_lab
def test_twenty_faulty_solutions_are_ready(lab: Lab) -> None:
    found = mutants(lab.folder)
    assert len(found) >= 20
    assert len({each.text for each in found}) == len(found)


@each_lab
def test_a_faulty_solution_loses_marks_with_the_reason(lab: Lab, process: SwitchProcess) -> None:
    found = mutants(lab.folder)
    check_mutant(lab, found[lab.number % len(found)], process)


@pytest.mark.long
@each_lab
def test_all_faulty_solutions_lose_marks_with_the_reason(lab: Lab, process: SwitchProcess) -> None:
    for each in mutants(lab.folder):
        check_mutant(lab, each, process)


@pytest.mark.long
@each_lab
def test_the_solution_gets_full_marks_with_any_seed(lab: Lab, process: SwitchProcess) -> None:
    for seed in range(20):
        result = graded(lab, dict(lab.solution()), process, seed, own=False)
        assert [each for each in result.results if each.reason] == [], seed


@each_lab
def test_the_texts_are_complete(lab: Lab) -> None:
    for section in ("## Goal", "## Background", "## Steps", "## Grading"):
        assert section in lab.text, section
    assert len(lab.hints) >= 3
    assert set(lab.starter()) >= set(lab.solution()) == set(lab.files)
    assert [each.points for each in lab.tests if each.points <= 0] == []


def test_labs_have_different_numbers() -> None:
    assert len({each.number for each in LABS}) == len(LABS)


@each_lab
def test_an_oracle_shares_nothing_with_the_solution(lab: Lab) -> None:
    text = (lab.folder / "grading.py").read_text()
    assert "solution" not in re.sub(r'""".*?"""', "", text, flags=re.DOTALL).replace("solution()", "")
