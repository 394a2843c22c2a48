"""SVG pictures of a checked program: its parser's state graph, and the path of a packet through its pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise

from midflight.p4 import ir
from midflight.primitives.program import Program

__all__ = ["parser_graph", "pipeline"]

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 172, 30, 56, 14
_LABEL = 6.6  # width of a letter of a label, in pixels
_SMALL = 6.0  # width of a letter on a line
_MOST = 24  # letters on a line


def parser_graph(parser: ir.Parser) -> str:
    """Return an SVG picture of a parser's state graph, from left to right, with transitions as lines.

    A line has the values that a `select` compares with, or the first of them.

    States that cannot be reached from `start` are left out.
    """
    edges = {name: list(_edges(state)) for name, state in parser.states.items()}
    columns = _columns(edges)
    longest = max((len(_values(labels)) for targets in edges.values() for _, labels in targets), default=0)
    gap = max(_GAP_X, 40 + longest * _SMALL)
    places = {
        name: (10 + column * (_WIDTH + gap), 10 + row * (_HEIGHT + _GAP_Y))
        for column, names in enumerate(columns)
        for row, name in enumerate(names)
    }
    width = 20 + len(columns) * (_WIDTH + gap) - gap
    height = 20 + max(map(len, columns)) * (_HEIGHT + _GAP_Y) - _GAP_Y
    parts = [_open(width, height, "The parser's states")]
    for name, targets in edges.items():
        for target, labels in targets:
            if name in places and target in places:
                parts.append(_edge(places[name], places[target], labels, gap))
    parts += [_box(*place, _WIDTH, _HEIGHT, name, _class_of(name)) for name, place in places.items()]
    return "".join(parts) + "</svg>"


def pipeline(program: Program, checked: ir.Program) -> str:
    """Return an SVG picture of a packet's path: parser, admission, the kernels with their registers and tables, egress.

    `checked` is the checked P4 of the program.
    """
    kernels = {name: list(_state_lines(checked, name)) for name in program.applications}
    boxes = [34 + 18 * max(1, len(each)) for each in kernels.values()]
    height = max(sum(each + 12 for each in boxes) + 24, 150)
    width, middle = 1000, height / 2
    parts = [_open(width, height, "The pipeline")]
    stages = (
        (10, 110, "parser", (f"{len(checked.parser.states)} states",)),
        (150, 110, "admission", ("by application", "and port")),
        (700, 74, "verdict", ("forward", "drop, reply", "multicast")),
        (794, 74, "route", ("by address",)),
        (888, 74, "egress", ("deliver", "deparser")),
    )
    for (x, size, title, _), (after, *_) in pairwise(stages):
        if title != "admission":  # whose arrows lead to the kernels
            parts.append(_arrow(x + size, middle, after, middle))
    parts += [_titled_box(x, middle - 48, size, 96, title, lines, "stage") for x, size, title, lines in stages]
    y = (height + 12 - sum(each + 12 for each in boxes)) / 2
    for box, (name, belongings) in zip(boxes, kernels.items(), strict=True):
        kind = type(program.applications[name].primitive).__name__
        parts.append(_titled_box(320, y, 320, box, f"{name}: {kind}", belongings, "kernel"))
        parts.append(_arrow(260, middle, 320, y + box / 2))
        parts.append(_arrow(640, y + box / 2, 700, middle))
        y += box + 12
    return "".join(parts) + "</svg>"


def _state_lines(checked: ir.Program, application: str) -> Iterator[str]:
    """Yield a line for each register array and table of a kernel. The lanes of a register share a line."""
    prefix = f"ingress.{application}."
    arrays: dict[str, list[ir.Instance]] = {}
    for name, instance in checked.instances.items():
        if name.startswith(prefix) and instance.kind == "register":
            stem, _, lane = name.removeprefix(prefix).rpartition("_")
            key = stem if lane.isdecimal() and stem else name.removeprefix(prefix)
            arrays.setdefault(key, []).append(instance)
    for name, instances in arrays.items():
        lanes = f"{len(instances)} x " if len(instances) > 1 else ""
        yield f"register {name}: {lanes}{instances[0].arguments[0]} elements"
    for name, table in checked.tables.items():
        if name.startswith(prefix):
            yield f"table {name.removeprefix(prefix)}: {table.size} entries"


def _edges(state: ir.State) -> Iterator[tuple[str, list[str]]]:
    if isinstance(state.next, str):
        yield state.next, []
        return
    labels: dict[str, list[str]] = {}
    for keyset, target in state.next.cases:
        labels.setdefault(target, []).append(
            keyset.name if isinstance(keyset, ir.Table) else ", ".join(map(_key, keyset))
        )
    yield from labels.items()


def _key(key: ir.EntryKey) -> str:
    if key.value is None:
        return "*"
    return str(key.value) if key.value < 256 else f"{key.value:#x}"


def _columns(edges: Mapping[str, Sequence[tuple[str, list[str]]]]) -> list[list[str]]:
    """Return the states in columns: each state to the right of its predecessors, except in cycles."""
    depth = {"start": 0}
    for _ in edges:
        for name, targets in edges.items():
            for target, _ in targets:
                if name in depth and depth[name] < len(edges):
                    depth[target] = max(depth.get(target, 0), depth[name] + 1)
    last = max(depth.values())
    for end in ("accept", "reject"):
        if end in depth:
            depth[end] = last
    columns: list[list[str]] = [[] for _ in range(last + 1)]
    for name in [*edges, "accept", "reject"]:
        if name in depth:
            columns[depth[name]].append(name)
    return [each for each in columns if each]


def _class_of(name: str) -> str:
    return "end" if name in ("accept", "reject") else "state"


def _open(width: float, height: float, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img">'
        f"<title>{escape(title)}</title>"
    )


def _box(x: float, y: float, width: float, height: float, text: str, kind: str) -> str:
    shown = text if len(text) * _LABEL < width else text[: int(width / _LABEL) - 1] + "…"
    return (
        f'<g class="{kind}"><title>{escape(text)}</title>'
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"/>'
        f'<text x="{x + width / 2:g}" y="{y + height / 2 + 4:g}" text-anchor="middle">{escape(shown)}</text></g>'
    )


def _titled_box(x: float, y: float, width: float, height: float, title: str, lines: Sequence[str], kind: str) -> str:
    texts = "".join(
        f'<text x="{x + 10:g}" y="{y + 42 + 18 * number:g}" class="small">{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
    return (
        f'<g class="{kind}"><rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"/>'
        f'<text x="{x + 10:g}" y="{y + 21:g}" class="bold">{escape(title)}</text>{texts}</g>'
    )


def _values(labels: Sequence[str]) -> str:
    """Return the values of a transition for its line: as many as fit."""
    text = "; ".join(labels)
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"


def _edge(one: tuple[float, float], other: tuple[float, float], labels: Sequence[str], gap: float) -> str:
    """Return a line with its values close to the state where it ends, where lines are apart."""
    x1, y1 = one[0] + _WIDTH, one[1] + _HEIGHT / 2
    x2, y2 = other[0], other[1] + _HEIGHT / 2
    bend = max(20.0, (x2 - x1) / 2)
    title = f"<title>{escape('; '.join(labels))}</title>" if labels else ""
    ahead = x2 - x1 <= gap + 1  # a longer line passes other states
    place = f'x="{x2 - 8:g}" y="{y2 + 4:g}" text-anchor="end"' if ahead else f'x="{x1 + 8:g}" y="{y1 - 4:g}"'
    values = f'<text class="small value" {place}>{escape(_values(labels))}</text>' if labels else ""
    return (
        f'<path class="way" d="M{x1:g} {y1:g} C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}">{title}</path>'
        f"{values}"
    )


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path class="way" d="M{x1:g} {y1:g} C{x1 + 30:g} {y1:g} {x2 - 30:g} {y2:g} {x2:g} {y2:g}"/>'
