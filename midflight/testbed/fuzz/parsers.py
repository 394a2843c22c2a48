"""Generated parsers."""

from __future__ import annotations

from collections.abc import Collection

from midflight.testbed.fuzz.draw import Draw, width_of
from midflight.testbed.fuzz.expressions import Expressions
from midflight.testbed.fuzz.scope import HeaderAt, Scope, Value
from midflight.testbed.fuzz.tree import Tree, join
from midflight.testbed.fuzz.types import ENUM, FIRST, SERIAL, VARIABLE, Types

__all__ = ["draw_parser"]


def draw_parser(draw: Draw, types: Types, features: Collection[str]) -> Tree:
    """Return the parser of a program. Its states extract headers in the order of `types`, some of them or all. With
    the feature `value_sets`, some compare with value sets, which stay empty.
    """
    # Not metadata, which BMv2 does not clear before it parses a clone.
    scope = Scope("parser", [each for each in types.values if each.header], types.headers)
    # p4c drops assignments before a later one, even if the parser fails between them: each field has one state.
    targets = [each for each in types.values if not each.header and each.kind not in (ENUM, SERIAL, "inner_t")]
    sets: list[str] = []
    names = {path: f"p{number}" for number, path in enumerate(types.order)}
    states: list[str | Tree] = []
    for number, path in enumerate(types.order):
        later = [names[each] for each in types.order[number + 1 :]]
        elements = types.of(path)
        if number == 0:
            before: list[str | Tree] = [f"packet.extract({path});\n"]
            before.append(f"meta.c = {ENUM}.RED;\nmeta.l = {SERIAL}.LOW;\n")
        elif path == VARIABLE:
            length = Tree("", ("(bit<32>)", _small(draw), " * 8"))
            before = [f"packet.extract({path}, ", length, ");\n"]
        elif elements[0].union:
            before = [f"packet.extract({draw.pick(elements).path});\n"]
        elif any(path == stack for stack, _ in types.stacks):
            before = [f"packet.extract({path}.next);\n"]
            states.append(_stack_state(draw, names[path], before[0], elements[0], later))
            continue
        else:
            before = [f"packet.extract({path});\n"]
        scope.valid = [FIRST] if number else []
        if number == 0 or (path != VARIABLE and not elements[0].union):
            scope.valid = [*scope.valid, path] if path not in scope.valid else scope.valid
        body: list[str | Tree] = list(before)
        for _ in range(min(len(targets), draw.between(0, 2))):
            target = targets.pop(draw.between(0, len(targets) - 1))
            body.append(_assign(draw, scope, target))
        if draw.chance(0.1):
            amount = Tree("", ("(bit<32>)", Expressions(draw, scope).of("bit<2>", 1), " * 8"))
            body.append(Tree("statement", ("packet.advance(", amount, ");\n")))
        if draw.chance(0.1):
            condition = Expressions(draw, scope).of("bool", 2)
            body.append(Tree("statement", ("verify(", condition, ", error.HeaderTooShort);\n")))
        body.append(_transition(draw, scope, later, sets if "value_sets" in features else None))
        state = "start" if number == 0 else names[path]
        states.append(Tree("", (f"state {state} {{\n", *body, "}\n")))
    return Tree(
        "",
        (
            "parser parse(packet_in packet, out headers_t hdr, ",
            "inout metadata_t meta, inout standard_metadata_t std) {\n",
            *(Tree("declaration", (f"value_set<bit<8>>(4) {each};\n",)) for each in sets),
            *states,
            "}\n",
        ),
    )


def _small(draw: Draw) -> Tree:
    """Return three bits of the first header."""
    low = draw.between(0, 5)
    return Tree("bit<3>", (f"{FIRST}.tag[{low + 2}:{low}]",))


def _assign(draw: Draw, scope: Scope, target: Value) -> Tree:
    """Return an assignment to metadata."""
    return Tree("statement", (f"{target.path} = ", Expressions(draw, scope).of(target.kind, 2), ";\n"))


def _transition(draw: Draw, scope: Scope, later: list[str], sets: list[str] | None) -> Tree:
    """Return a transition to a later state or `accept`. A value set that it compares with is added to `sets`."""
    if not later:
        return Tree("", ("transition accept;\n",))
    if draw.chance(0.2):
        return Tree("", (f"transition {draw.pick(later)};\n",))
    kinds = [draw.pick(("bit<8>", "bit<8>", "bit<4>", "bit<16>")) for _ in range(draw.between(1, 2))]
    values: list[str | Tree] = []
    for kind in kinds:
        if draw.chance(0.2):
            values.append(Tree(kind, (f"packet.lookahead<{kind}>()",)))
        elif draw.chance(0.5) and kind == "bit<8>":
            values.append(Tree(kind, (f"{FIRST}.tag",)))
        else:
            # A field and not any expression: p4c may fold one to a constant, which BMv2 does not accept here.
            field = draw.pick([each.path for each in scope.readable() if each.header and each.kind[:4] == "bit<"])
            values.append(Tree(kind, (f"(({kind}){field})",)))
    cases: list[str | Tree] = []
    for _ in range(draw.between(1, 4)):
        keys = ", ".join(_keyset(draw, width_of(kind)) for kind in kinds)
        keys = keys if len(kinds) == 1 else f"({keys})"
        cases.append(Tree("case", (f"{keys}: {draw.pick([*later, 'accept'])};\n",)))
    if sets is not None and kinds == ["bit<8>"]:
        sets.append(draw.name("vs"))
        cases.append(Tree("case", (f"{sets[-1]}: {draw.pick([*later, 'accept'])};\n",)))
    target = draw.pick([*later, "accept"])
    return Tree("", ("transition select(", join(values, between=", "), ") {\n", *cases, f"default: {target};\n}}\n"))


def _keyset(draw: Draw, width: int) -> str:
    small = min(3, (1 << width) - 1)
    value, other = (draw.value(width) if draw.chance(0.4) else draw.between(0, small) for _ in range(2))
    match draw.between(0, 4):
        case 0:
            return f"{width}w{value} &&& {width}w{draw.value(width) or 1}"
        case 1 if (min(value, other), max(value, other)) != (0, (1 << width) - 1):
            return f"{width}w{min(value, other)} .. {width}w{max(value, other)}"
        case _:
            return f"{width}w{value}"


def _stack_state(draw: Draw, name: str, extract: str | Tree, element: HeaderAt, later: list[str]) -> Tree:
    """Return a state that extracts one element of a stack, and that the parser may enter again."""
    numbers = [field for field, kind in element.fields if kind.startswith("bit<")]
    targets = [*later, "accept"]
    if not numbers:
        return Tree("", (f"state {name} {{\n", extract, f"transition {draw.pick(targets)};\n}}\n"))
    field = draw.pick(numbers)
    width = width_of(dict(element.fields)[field])
    cases: list[str | Tree] = [Tree("case", (f"{_keyset(draw, width)}: {name};\n",))]
    cases.append(Tree("case", (f"{_keyset(draw, width)}: {draw.pick(targets)};\n",)))
    path = f"{element.path.partition('[')[0]}.last.{field}"
    end = f"default: {draw.pick(targets)};\n}}\n}}\n"
    return Tree("", (f"state {name} {{\n", extract, f"transition select({path}) {{\n", *cases, end))
