"""Explains a program: every line of its kernels with the P4 that it compiles to."""

from __future__ import annotations

import linecache
from dataclasses import dataclass
from itertools import groupby

from midflight.primitives.kernel.source import source_of
from midflight.primitives.program import Program

__all__ = ["P4Line", "SourceLine", "explain"]


_INSIDE = " " * 8  # the indentation of statements in a control's `apply`


@dataclass(frozen=True, slots=True)
class P4Line:
    """A line of the P4 program, counted from 1."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of a kernel, or of a helper that it calls, and its P4, which is empty if it generates no code.

    `application` is the name of the kernel's application. For a line in a loop, or in a helper that is called several
    times, `p4` has the code of all rounds and calls.
    """

    application: str
    file: str
    number: int
    text: str
    p4: tuple[P4Line, ...]


def explain(program: Program) -> tuple[SourceLine, ...]:
    """Return every line of the program's kernels in order with its P4; lines of helpers follow those of the kernel."""
    found: list[SourceLine] = []
    became: dict[str, dict[tuple[str, int], list[P4Line]]] = {name: {} for name in program.applications}
    application = ""
    for number, (text, origin) in enumerate(program.listing(), 1):
        if text.startswith("control "):
            application = text.removeprefix("control ").partition("_kernel(")[0]
        if origin is not None:
            became[application].setdefault((origin.file, int(origin)), []).append(
                P4Line(number, text.removeprefix(_INSIDE))
            )
    for name, each in program.applications.items():
        source, node = source_of(type(each.primitive).ingress)
        first, last = source.line(node), source.first + (node.end_lineno or 1) - 1
        places = {(source.file, number) for number in range(first, last + 1)} | became[name].keys()
        ordered = sorted(sorted(places), key=lambda place: place[0] != source.file)
        for file, lines in groupby(ordered, lambda place: place[0]):
            for _, number in lines:
                text = linecache.getline(file, number).rstrip()
                if text.strip():
                    found.append(SourceLine(name, file, number, text, tuple(became[name].get((file, number), ()))))
    return tuple(found)
