"""Places of problems in the source of a program's primitives."""

from __future__ import annotations

from midflight.errors import Place
from midflight.primitives import Program
from midflight.primitives.kernel.rules import creation
from midflight.primitives.kernel.source import place_of as place_of_line
from midflight.runtime.fit.fit import Problem

__all__ = ["place_of"]


def place_of(program: Program, problem: Problem) -> Place | None:
    """Return where the primitive at fault creates the register or map, or the line of its kernel; None if unknown.

    Reads the source files of the primitives.
    """
    application = program.applications.get(problem.application)
    if application is not None:
        name = problem.operation.rpartition(".")[2]
        stem, _, lane = name.rpartition("_")
        for each in (name, stem if lane.isdecimal() else ""):
            if each and (line := creation(application.primitive, each)) is not None:
                return place_of_line(line)
    if problem.place is not None:
        listing = program.listing()
        if problem.place.line <= len(listing) and (origin := listing[problem.place.line - 1][1]) is not None:
            return place_of_line(origin)
    return None
