"""Faulty variants of a lab's solution, which a student's own tests must detect, and which must lose points."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from midflight.errors import MidflightError
from midflight.labs.bench import Bench, GradedTest, Incorrect
from midflight.labs.switch import ProgramError
from midflight.userfiles import read_text

__all__ = ["Mutant", "mutants", "own_tests"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A variant of the solution: its fault in words, the file, its text, and a word that a reason for it contains."""

    fault: str
    file: str
    text: str
    word: str


def mutants(folder: Path) -> list[Mutant]:
    """Return the mutants of a lab's folder, from `mutants.toml`.

    A mutant is `[fault, find, replace, word]`, or the same with the file as fifth. MidflightError if the text to find
    does not occur exactly once.
    """
    with (folder / "mutants.toml").open("rb") as file:
        found = tomllib.load(file)
    made = []
    for row in found["mutants"]:
        fault, find, replace, word = row[:4]
        name = row[4] if len(row) > 4 else found["file"]
        text = read_text(folder / "solution" / name)
        if text.count(find) != 1:
            raise MidflightError(f"{folder.name}: {find!r} of {fault!r} occurs {text.count(find)} times in {name}")
        made.append(Mutant(fault, name, text.replace(find, replace), word))
    return made


def own_tests(folder: Path, name: str, first: int, points: int) -> list[GradedTest]:
    """Return the tests that grade a student's STF tests, the submitted file `name`: one, with `points`, for each
    mutant.

    Each raises Incorrect unless the file passes on the solution and fails on its mutant, which is one of the `first`
    mutants of the lab's folder. MidflightError if a mutant cannot be made (see `mutants`).
    """
    chosen = mutants(folder)[:first]

    def detects(mutant: Mutant) -> Callable[[Bench], None]:
        def run(bench: Bench) -> None:
            test = bench.file(name)
            solution = read_text(folder / "solution" / mutant.file)
            try:
                wrong = bench.process.ask("stf", text=solution, program="solution", test=test, file=name)
                if wrong is None:
                    raise Incorrect("your tests have a line that the embedded switch does not support")
                if wrong:
                    raise Incorrect(f"your tests fail on a correct program: {wrong[0]}")
                if bench.process.ask("stf", text=mutant.text, program="variant", test=test, file=name) == []:
                    raise Incorrect(f"your tests pass on a program with this fault: {mutant.fault}")
            except ProgramError as error:
                raise Incorrect(f"your tests cannot be played: {error}") from None

        return run

    return [
        GradedTest(
            f"own tests {number}", points, f"Your tests detect a faulty program ({number} of {first})", detects(each)
        )
        for number, each in enumerate(chosen, 1)
    ]
