"""Fields of a packet as a program's parser extracts them, for messages about differences."""

from __future__ import annotations

from dataclasses import dataclass

from midflight.p4 import ir
from midflight.p4.types import HeaderType, Varbit, width_of

__all__ = ["FieldAt", "layout"]

# The largest number of states that are followed, because a parser may have loops.
STATES = 256


@dataclass(frozen=True, slots=True)
class FieldAt:
    """A header field in a packet: its name, and where it starts and how wide it is, in bits."""

    name: str
    start: int
    width: int


def layout(program: ir.Program, packet: bytes, port: int | None = None) -> list[FieldAt]:
    """Return the fields that the program's parser extracts from a packet, in order of their place.

    `port` is the ingress port that the parser sees; with None, a select of it is not followed.

    This follows states with fixed-size headers and selects of extracted fields. The rest of the packet, from the first
    thing that it does not follow, has no fields. Never raises: a packet that is too short has fewer fields.
    """
    return _Walk(program.parser, packet, {} if port is None else {"ingress_port": port}).run()


class _Walk:
    def __init__(self, parser: ir.Parser, packet: bytes, values: dict[str, int]) -> None:
        self._parser = parser
        self._bits = len(packet) * 8
        self._packet = int.from_bytes(packet, "big")
        self._at = 0
        self._fields: list[FieldAt] = []
        self._values = values
        self._next: dict[str, int] = {}

    def run(self) -> list[FieldAt]:
        name: str | None = "start"
        for _ in range(STATES):
            state = self._parser.states.get(name or "")
            if state is None:
                break
            for statement in state.body:
                if isinstance(statement, ir.Extract) and not self._extract(statement):
                    return self._fields
                if isinstance(statement, ir.Advance | ir.Apply | ir.If | ir.Switch):
                    return self._fields
            name = state.next if isinstance(state.next, str) else self._select(state.next)
        return self._fields

    def _extract(self, statement: ir.Extract) -> bool:
        """Add the fields of a header. Returns whether the parser can be followed further."""
        kind, name = statement.header.type, self._name(statement.header, advance=True)
        if not isinstance(kind, HeaderType) or name is None:
            return False
        for field in kind.fields:
            if isinstance(field.type, Varbit):
                return False
            width = width_of(field.type)
            if self._at + width > self._bits:
                return False
            self._fields.append(FieldAt(f"{name}.{field.name}", self._at, width))
            self._values[f"{name}.{field.name}"] = self._cut(self._at, width)
            self._at += width
        return True

    def _cut(self, start: int, width: int) -> int:
        return self._packet >> (self._bits - start - width) & ((1 << width) - 1)

    def _select(self, select: ir.Select) -> str | None:
        values = [self._value(each) for each in select.expressions]
        for keys, state in select.cases:
            if isinstance(keys, ir.Table):
                return None
            outcomes = [_matches(key, value) for key, value in zip(keys, values, strict=True)]
            if False in outcomes:
                continue
            return None if None in outcomes else state
        return None

    def _value(self, expression: ir.Expression) -> int | None:
        match expression:
            case ir.Literal(value=int(value)):
                return value
            case ir.Member() | ir.VariableRef():
                return self._values.get(self._name(expression) or "")
            case ir.Slice(base=base, high=high, low=low):
                whole = self._value(base)
                return None if whole is None else whole >> low & ((1 << high - low + 1) - 1)
            case ir.Concat(left=left, right=right):
                first, second = self._value(left), self._value(right)
                return None if first is None or second is None else first << width_of(right.type) | second
            case ir.Lookahead(type=kind) if not isinstance(kind, HeaderType):
                width = width_of(kind)
                return self._cut(self._at, width) if self._at + width <= self._bits else None
            case _:
                return None

    def _name(self, expression: ir.Expression, *, advance: bool = False) -> str | None:
        """Return the name of a header or a field, below the parser's parameter."""
        parts: list[str] = []
        while True:
            match expression:
                case ir.Member(base=base, name=name):
                    parts.append(name)
                    expression = base
                case ir.Index(base=base, index=ir.Literal(value=index)):
                    stack = self._name(base)
                    return None if stack is None else ".".join([f"{stack}[{index}]", *reversed(parts)])
                case ir.Next(base=base) | ir.Last(base=base, index=False):
                    stack = self._name(base)
                    if stack is None:
                        return None
                    index = self._next.get(stack, 0) - isinstance(expression, ir.Last)
                    if advance:
                        self._next[stack] = index + 1
                    return ".".join([f"{stack}[{index}]", *reversed(parts)])
                case ir.VariableRef(variable=variable):
                    return ".".join(reversed(parts)) or variable.name
                case _:
                    return None


def _matches(key: ir.EntryKey, value: int | None) -> bool | None:
    """Return whether a value matches, or None if it is unknown."""
    if key.value is None:
        return True
    if value is None:
        return None
    if key.high is not None:
        return key.value <= value <= key.high
    mask = -1 if key.mask is None else key.mask
    return value & mask == key.value & mask
