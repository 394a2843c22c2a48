"""The tables of docs/library.md, from the catalogue: one for each family, a row for each primitive."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from midflight.primitives import Map, Primitive
from midflight.primitives.catalogue import FAMILIES, LIBRARY, Entry, catalogue, code_lines
from midflight.testbed.bench.load import usual
from midflight.testbed.conformance.subject import subject

__all__ = ["LINES", "PAGE", "compared", "lines_of_code", "rendered"]

PAGE = Path(__file__).parents[2] / "docs" / "library.md"
LINES = re.compile(
    r"^(?P<before>\| \[[^|]+\| (?P<name>\w+) \| (?P<theirs>[\d,]+) \| )"
    r"(?P<ours>\d+) \| (?P<ratio>[\d.]+) \| (?P<whole>\d+) \| (?P<whole_ratio>[\d.]+) \|$",
    re.MULTILINE,
)
MARKED = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rendered(page: str) -> str:
    """Return a page with the table of a family between each `<!-- FAMILY -->` and `<!-- end -->`."""
    entries = catalogue()

    def table(match: re.Match[str]) -> str:
        rows = [_row(each) for each in entries if each.family == match[2]]
        head = ["|  | What it does | Follows | At the limits of its numbers | State by default | Example |"]
        return match[1] + "\n".join([*head, "|---|---|---|---|---|---|", *rows]) + "\n" + match[3]

    missing = FAMILIES.keys() - {match[2] for match in MARKED.finditer(page)}
    assert not missing, f"docs/library.md has no place for the family {min(missing)}"
    return MARKED.sub(table, page)


def compared(page: str) -> str:
    """Return a page with line counts and ratios in the rows `| [program](link) | Primitive | lines | ... |`."""
    ours = lines_of_code()

    def row(match: re.Match[str]) -> str:
        theirs, (lines, whole) = int(match["theirs"].replace(",", "")), ours[match["name"]]
        return f"{match['before']}{lines} | {theirs / lines:.1f} | {whole} | {theirs / whole:.1f} |"

    return LINES.sub(row, page)


def lines_of_code() -> dict[str, tuple[int, int]]:
    """Return for each primitive the lines of its module, and the lines including code shared with others."""
    return {each.name: (each.lines, each.lines + _shared(LIBRARY[each.name])) for each in catalogue()}


def _shared(kind: type[Primitive]) -> int:
    """Count the lines of functions and base classes in other modules of the library."""
    known = vars(sys.modules[kind.__module__]).values()
    found: list[Any] = [*kind.__mro__, *getattr(kind, "Wire", kind).__mro__, *filter(inspect.isfunction, known)]
    others = {each for each in found if ".library." in each.__module__ and each.__module__ != kind.__module__}
    names = {each.__qualname__ for each in others}
    return sum(
        code_lines(textwrap.dedent(inspect.getsource(each)))
        for each in others
        if each.__qualname__.rpartition(".")[0] not in names
    )


def _row(entry: Entry) -> str:
    state = ", ".join(_state(usual(subject(entry.name)))) or "none"
    example = " ".join(entry.example.split())
    cells = (f"**{entry.name}**", entry.summary, entry.paper, entry.overflow, state, f"`{example}`")
    return f"| {' | '.join(each.replace('|', '&#124;') for each in cells)} |"


def _state(primitive: Primitive) -> Iterator[str]:
    """Yield descriptions of the state of a primitive with defaults: register bits, entries of maps and lookups."""
    used = {each.name for each in primitive.state_layout.fields}
    registers = [each for name, each in primitive.registers.items() if name in used]
    if bits := sum(each.kind.width * each.size * (each.lanes or 1) for each in registers):
        arrays = sum(each.lanes or 1 for each in registers)
        size = f"{bits / 8192:,.1f} KiB" if bits >= 8192 else f"{-(-bits // 8)} bytes" if bits > 7 else f"{bits} bits"
        yield f"{size} in {arrays} array{'s' * (arrays > 1)}"
    if maps := sum(each.size for each in primitive.maps.values()):
        yield f"{maps:,} {'entry' if maps == 1 else 'entries'} of maps"
    if lookups := [each for name, each in primitive.tables.items() if not isinstance(each, Map)]:
        yield f"{len(lookups)} table{'s' * (len(lookups) > 1)} of constants"
