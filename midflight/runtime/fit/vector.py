"""The header vector and the parser: the fields that stages carry, packed into containers, and the parser's reach.

A header's fields lie side by side, so a header takes containers for its bytes. Headers that no packet has together
share containers: the longest path through the parser counts, and the headers that a control adds. Metadata and
variables that are assigned take containers of their own, those of less than 8 bits side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from midflight.p4 import ir
from midflight.p4.nodes import within
from midflight.p4.types import HeaderType, StackType, StructType, Type, UnionType, width_of

__all__ = ["ParserUse", "Vector", "parser_use", "vector"]

_WIDTHS = (32, 16, 8)


@dataclass(frozen=True, slots=True)
class Vector:
    """What a program takes of a header vector: the bits of its headers and of its metadata, and the number of
    containers that they take, by width in bits.
    """

    header_bits: int
    metadata_bits: int
    containers: Mapping[int, int] = field(default_factory=dict)

    @property
    def bits(self) -> int:
        """The bits of all containers that are taken."""
        return sum(width * number for width, number in self.containers.items())


@dataclass(frozen=True, slots=True)
class ParserUse:
    """The parser: its states, its transitions (a case of a select is one), and the bits that its longest path has."""

    states: int
    transitions: int
    bits: int


def vector(program: ir.Program, room: Mapping[int, int]) -> Vector:
    """Return what a program takes of a header vector with `room` containers by width.

    Where containers of a width run out, a value takes a wider one or several narrower ones; the result may exceed the
    room.
    """
    longest = _longest(program)
    headers = [_bits(each.type) for each in program.headers.fields if each.name in longest]
    added = _added(program) - longest
    headers += [_bits(each.type) for each in program.headers.fields if each.name in added]
    values = _values(program)
    small = sum(each for each in values if each < 8)
    chunks: list[int] = []
    for bits in [*headers, *(each for each in values if each >= 8), small]:
        chunks += _chunks(bits)
    return Vector(sum(headers), sum(values), _packed(chunks, room))


def parser_use(program: ir.Program) -> ParserUse:
    """Return what a program takes of the parser. The bits of a loop of states count once."""
    states = program.parser.states
    transitions = sum(1 if isinstance(each.next, str) else len(each.next.cases) for each in states.values())
    reach = _paths(program)
    return ParserUse(len(states), transitions, max((bits for bits, _ in reach.values()), default=0))


def _values(program: ir.Program) -> list[int]:
    """Return the widths of metadata fields and of variables that a control or an action assigns."""
    assigned: dict[tuple[object, ...], int] = {}
    bodies: list[ir.Node] = []
    seen: list[ir.Control] = []
    waiting = [program.ingress, program.egress]
    while waiting:
        control = waiting.pop()
        if control not in seen:
            seen.append(control)
            bodies += [*control.locals, control.body]
            inner = [each.callee for each in within(control.body) if isinstance(each, ir.Apply)]
            waiting += [each for each in inner if isinstance(each, ir.Control)]
    bodies += [each.body for each in program.actions.values()]
    for node in within(*bodies):
        if isinstance(node, ir.Assign):
            target: ir.Expression = node.target
            while isinstance(target, ir.Slice | ir.Index):
                target = target.base
            if isinstance(target, ir.VariableRef):
                assigned[(target.variable,)] = _bits(target.type)
            elif isinstance(target, ir.Member) and isinstance(target.base, ir.VariableRef):
                variable = target.base.variable
                if isinstance(variable.type, StructType) and not _has_headers(variable.type):
                    assigned[(variable.type.name, target.name)] = _bits(target.type)
    return [each for each in assigned.values() if each]


def _has_headers(kind: StructType) -> bool:
    return any(isinstance(each.type, HeaderType | StackType | UnionType) for each in kind.fields)


def _added(program: ir.Program) -> set[str]:
    """Return the headers that a control makes valid."""
    bodies = [program.ingress.body, program.egress.body, *(each.body for each in program.actions.values())]
    return {
        node.header.name
        for node in within(*bodies)
        if isinstance(node, ir.SetValidity) and node.valid and isinstance(node.header, ir.Member)
    }


def _longest(program: ir.Program) -> set[str]:
    """Return the headers of the longest path through the parser."""
    return set(max(_paths(program).values(), key=lambda each: each[0], default=(0, ()))[1])


def _paths(program: ir.Program) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Return the longest path to each state, itself included: its bits, and its headers. Loops are walked once."""
    states = program.parser.states
    best: dict[str, tuple[int, tuple[str, ...]]] = {}
    waiting: list[tuple[str, int, tuple[str, ...], tuple[str, ...]]] = [("start", 0, (), ())]
    while waiting:
        name, bits, headers, path = waiting.pop()
        if name not in states or name in path:
            continue
        for each in within(*states[name].body):
            if isinstance(each, ir.Extract):
                bits += _bits(each.header.type)
                if (found := _header(each.header)) and found not in headers:
                    headers = (*headers, found)
        if name in best and best[name][0] >= bits:
            continue
        best[name] = bits, headers
        after = states[name].next
        targets = [after] if isinstance(after, str) else [target for _, target in after.cases]
        waiting += [(each, bits, headers, (*path, name)) for each in dict.fromkeys(targets)]
    return best


def _header(expression: ir.Expression) -> str:
    while isinstance(expression, ir.Next | ir.Last | ir.Index):
        expression = expression.base
    return expression.name if isinstance(expression, ir.Member) else ""


def _chunks(bits: int) -> list[int]:
    """Return the containers that lie side by side for this many bits, wide ones first."""
    found = [32] * (bits // 32)
    rest = bits % 32
    if rest > 24:
        found.append(32)
    elif rest > 16:
        found += [16, 8]
    elif rest > 8:
        found.append(16)
    elif rest:
        found.append(8)
    return found


def _packed(chunks: list[int], room: Mapping[int, int]) -> dict[int, int]:
    """Return the containers taken by width. What does not fit in those of its width goes to others that are free."""
    taken = dict.fromkeys(_WIDTHS, 0)
    over = []
    for chunk in sorted(chunks, reverse=True):
        if not room or taken[chunk] < room.get(chunk, 0):
            taken[chunk] += 1
        else:
            over.append(chunk)
    for chunk in over:
        wider = [each for each in (16, 32) if each > chunk and taken[each] < room.get(each, 0)]
        narrower = [each for each in (16, 8) if each < chunk and taken[each] + chunk // each <= room.get(each, 0)]
        if wider:
            taken[wider[0]] += 1
        elif narrower:
            taken[narrower[0]] += chunk // narrower[0]
        else:
            taken[chunk] += 1
    return {width: number for width, number in taken.items() if number}


def _bits(kind: Type) -> int:
    try:
        return width_of(kind)
    except ValueError:
        return 8
