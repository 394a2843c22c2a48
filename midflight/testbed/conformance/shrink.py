"""Minimises failing cases: fewer packets, still failing."""

from __future__ import annotations

from collections.abc import Callable

from midflight.testbed.conformance.case import Case
from midflight.testbed.conformance.model import answered

__all__ = ["shrink"]


def shrink(case: Case, fails: Callable[[Case], bool], attempts: int = 200) -> Case:
    """Return a case with as few packets as found in at most `attempts` tries for which `fails` still returns True.

    Removes ever smaller runs of packets (delta debugging, Zeller and Hildebrandt 2002). The expectations for the
    remaining packets are computed again with the model. Returns the same case if none shorter fails.
    """
    program = case.program()
    kept = list(range(len(case.steps)))
    size = max(1, len(kept) // 2)
    best = case
    while attempts > 0:
        shrunk = False
        start = 0
        while start < len(kept) and len(kept) > 1 and attempts > 0:
            fewer = kept[:start] + kept[start + size :]
            attempts -= 1
            candidate = answered(case.only(fewer), program) if fewer else None
            if candidate is not None and fails(candidate):
                kept, best, shrunk = fewer, candidate, True
            else:
                start += size
        if size == 1 and not shrunk:
            break
        size = max(1, size // 2)
    return best
