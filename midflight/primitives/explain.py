"""Explains a program: each line of its kernels' Python source together with the lines of P4 that it was compiled to."""

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
    """A line of a program's P4 text: its number, from 1, and its text without the indentation of a control's body."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of a kernel, or of a helper that it calls, with its P4.

    `application` is the name of the kernel's application. `file`, `number` (from 1) and `text` are the line in the
    user's source. `p4` are the lines generated from it, empty if there are none. For a line in a loop, or in a helper
    that is called several times, they are those of all rounds and calls.
    """

    application: str
    file: str
    number: int
    text: str
    p4: tuple[P4Line, ...]


def explain(program: Program, *, arch: str = "v1model") -> tuple[SourceLine, ...]:
    """Return every line of the program's kernels that is not blank, with its P4 for `arch`, application by application.

    Lines of a kernel are in source order. Those of helpers that generate code follow, sorted by file and line. Reads
    the source files. KernelError if one cannot be read, for an unknown architecture, and for Tofino also for a program
    with `Steering` and for what a kernel does that Tofino cannot.
    """
    found: list[SourceLine] = []
    became: dict[str, dict[tuple[str, int], list[P4Line]]] = {name: {} for name in program.applications}
    application = ""
    for number, (text, origin) in enumerate(program.listing(arch=arch), 1):
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
