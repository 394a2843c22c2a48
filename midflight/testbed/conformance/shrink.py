"""Minimises failing cases: fewer packets, still failing."""

from __future__ import annotations

from collections.abc import Callable

from midflight.testbed.conformance.case import Case
from midflight.testbed.conformance.model import answered

__all__ = ["fewest", "shrink"]


def fewest(size: int, fails: Callable[[list[int]], bool], attempts: int = 200) -> list[int]:
    """Return as few of the numbers 0 to `size` - 1, in order, as found in at most `attempts` tries that still fail.

    Removes ever smaller runs of numbers (delta debugging, Zeller and Hildebrandt 2002). `fails` is called with the
    remaining ones, at least one. Returns all numbers if no fewer ones fail.
    """
    kept = list(range(size))
    run = max(1, size // 2)
    while attempts > 0:
        shrunk = False
        start = 0
        while start < len(kept) and len(kept) > 1 and attempts > 0:
            fewer = kept[:start] + kept[start + run :]
            attempts -= 1
            if fewer and fails(fewer):
                kept, shrunk = fewer, True
            else:
                start += run
        if run == 1 and not shrunk:
            break
        run = max(1, run // 2)
    return kept


def shrink(case: Case, fails: Callable[[Case], bool], attempts: int = 200) -> Case:
    """Return a case with as few packets as found in at most `attempts` tries for which `fails` still returns True.

    The expectations for the remaining packets are computed again with the model. Returns the same case if none shorter
    fails.
    """
    program = case.program()
    best = case

    def failing(numbers: list[int]) -> bool:
        nonlocal best
        candidate = answered(case.only(numbers), program)
        if fails(candidate):
            best = candidate
            return True
        return False

    fewest(len(case.steps), failing, attempts)
    return best
