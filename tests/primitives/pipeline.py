"""A pipeline of stages that runs lowered kernels, and holds them to what a Tofino can do.

It shares no code with the emitter: every statement is checked to be one operation, every register access to be the
packet's only one to its array, every update to fit a stateful ALU. Hashes are those of v1model.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from midflight.primitives import Primitive, Verdict
from midflight.primitives.emit.tna.architecture import Architecture
from midflight.primitives.emit.tna.lowered import Action, Execute, HashOf, Stored, Tabulated
from midflight.primitives.emit.tna.lowering import lower
from midflight.primitives.kernel.arithmetic import scramble
from midflight.primitives.kernel.lookup import Lookup
from midflight.primitives.kernel.typed import (
    Alert,
    Assign,
    Binary,
    Cast,
    Choose,
    Compare,
    Concat,
    Const,
    Decide,
    EpochRef,
    Expr,
    FieldRef,
    ForwardedRef,
    If,
    Local,
    Logic,
    Mirror,
    Not,
    Old,
    Return,
    Search,
    SequenceRef,
    Slice,
    Truth,
    Unary,
    Unrolled,
)
from midflight.primitives.kernel.types import Kind
from midflight.testbed.conformance.subject import Answer, Request

__all__ = ["Pipeline"]


class Pipeline:
    """A primitive's lowered kernel with its registers, from an empty state."""

    def __init__(self, primitive: Primitive, architecture: Architecture, epoch: int) -> None:
        self.primitive = primitive
        self.architecture = architecture
        self.epoch = epoch
        self.lowered = lower(primitive, architecture)
        self.cells: dict[str, dict[int, int]] = {array: {} for array in self.lowered.registers}
        self.tables = {name: each.copy() for name, each in primitive.maps.items()}
        for array, stored in self.lowered.registers.items():
            assert stored.kind.width in (8, 16, 32), array
            assert len(stored.actions) <= 4, array
            for action in stored.actions.values():
                self._fits(stored, action)

    def _fits(self, stored: Stored, action: Action) -> None:
        """Check that one stateful ALU can compute an update."""
        tests, inputs, waiting = set[Any](), set[Expr](), [action.new]
        while waiting:
            each = waiting.pop()
            match each:
                case Choose(condition=condition, yes=yes, no=no):
                    waiting += (condition, yes, no)
                case Logic(left=left, right=right):
                    waiting += (left, right)
                case Not(operand=operand):
                    waiting.append(operand)
                case Compare(left=left, right=right):
                    opposite = {"!=": "==", ">=": "<", "<=": ">"}
                    tests.add((opposite.get(each.operator, each.operator), left, right))
                    waiting += (left, right)
                case Binary(left=left, right=right):
                    assert operand_of(left)
                    assert operand_of(right)
                    waiting += (left, right)
                case Cast(operand=Binary() as operand):
                    waiting.append(operand)
                case Const() | Old() | Truth():
                    pass
                case _:
                    assert operand_of(each), each
                    inputs.add(each)
        assert len(tests) <= self.architecture.comparisons
        assert len(inputs) <= 2
        assert stored.size > 0

    def process(self, request: Request) -> Answer:
        """Run the kernel on a request."""
        packet = _Packet(self, request)
        packet.run(self.lowered.body)
        fields = None if packet.verdict == Verdict.DROP else packet.answer()
        return Answer(packet.verdict, fields, tuple(packet.alerts))


class _Packet:
    """A packet on its way through the stages."""

    def __init__(self, pipeline: Pipeline, request: Request) -> None:
        self.pipeline = pipeline
        self.sequence = request.sequence
        self.fields: dict[tuple[str, int | None], int] = {}
        self.shape = request.fields
        for name, value in request.fields.items():
            if isinstance(value, int):
                self.fields[name, None] = value
            else:
                self.fields |= {(name, lane): int(each) for lane, each in enumerate(value)}
        for field in pipeline.primitive.layout:
            lanes: list[int | None] = [None] if field.count is None else [*range(field.count)]
            for each in lanes:
                self.fields.setdefault((field.name, each), 0)
        self.locals: dict[str, int] = {}
        self.verdict = Verdict.FORWARD
        self.alerts: list[tuple[int, ...]] = []
        self.accessed: set[str] = set()
        self.ended = False

    def answer(self) -> Mapping[str, Any]:
        """Return the fields as the packet leaves."""
        found: dict[str, Any] = {}
        for field in self.pipeline.primitive.layout:
            if field.count is None:
                found[field.name] = self.fields[field.name, None]
            else:
                found[field.name] = [self.fields[field.name, lane] for lane in range(field.count)]
        return found

    def run(self, body: tuple[Any, ...]) -> None:
        for each in body:
            if self.ended:
                return
            match each:
                case If(condition=condition, yes=yes, no=no):
                    self.run(yes if self.value(condition) else no)
                case Unrolled(rounds=rounds):
                    for _, inner in rounds:
                        self.run(inner)
                case _:
                    self.step(each)

    def step(self, each: Any) -> None:
        match each:
            case Assign(target=target, value=value):
                one_operation(value)
                self.set(target, self.value(value))
            case Execute():
                self.execute(each)
            case HashOf(number=number, target=target, values=values):
                data = b""
                for value in values:
                    assert value.kind is not None
                    width = value.kind.width
                    data += (self.value(value) & ((1 << width) - 1)).to_bytes(width // 8, "big")
                self.set(target, scramble(zlib.crc32(data), self.pipeline.lowered.seeds[number]))
            case Tabulated(target=target, key=key, values=values):
                place = self.value(key)
                self.set(target, values[place] if place < len(values) else 0)
            case Search():
                self.search(each)
            case Decide(verdict=verdict):
                self.verdict = verdict
            case Alert(values=values):
                assert not self.alerts
                self.alerts.append(tuple(self.value(value) for value in values))
            case Return():
                self.ended = True
            case Mirror():
                pass
            case _:
                raise AssertionError(each)

    def search(self, each: Search) -> None:
        source = self.pipeline.primitive.tables[each.source]
        assert all(isinstance(key, (Local, FieldRef)) for key in each.keys)
        keys = [self.value(key) for key in each.keys]
        self.set(each.target, self.value(each.default))
        if isinstance(source, Lookup):
            found = source.values[keys[0]] if keys[0] < len(source) else None
        else:
            table = self.pipeline.tables[each.source]
            value = table.get(tuple(keys) if len(keys) > 1 else keys[0], 0)
            found = value if table.hit else None
        self.locals[each.hit.name] = found is not None
        if found is not None:
            self.set(each.target, int(found))

    def execute(self, each: Execute) -> None:
        assert each.array not in self.accessed, f"two accesses to {each.array}"
        self.accessed.add(each.array)
        stored = self.pipeline.lowered.registers[each.array]
        action = next(action for action in stored.actions.values() if action.name == each.action)
        index = self.value(each.index)
        assert index < stored.size, f"{each.array}[{index}]"
        cells = self.pipeline.cells[each.array]
        old = cells.get(index, stored.initial)
        new = self.update(action.new, old, stored.kind)
        cells[index] = new
        if each.target is not None:
            assert action.returns
            kind = each.target.kind
            assert kind is not None
            self.set(each.target, kind.wrap(old if action.returns == "old" else new))

    def update(self, expr: Expr, old: int, kind: Kind) -> int:
        """Return the value of an update, in which all numbers have the type of the cell."""
        match expr:
            case Old():
                return kind.wrap(old)
            case Const(value=value):
                return kind.wrap(value)
            case Choose(condition=condition, yes=yes, no=no):
                return self.update(yes if self.test(condition, old, kind) else no, old, kind)
            case Binary(operator=operator, left=left, right=right):
                return computed(operator, self.update(left, old, kind), self.update(right, old, kind), kind)
            case Cast(operand=Binary() as operand):
                return self.update(operand, old, kind)
            case _:
                return kind.wrap(self.value(expr))

    def test(self, expr: Expr, old: int, kind: Kind) -> bool:
        match expr:
            case Logic(operator="&&", left=left, right=right):
                return self.test(left, old, kind) and self.test(right, old, kind)
            case Logic(left=left, right=right):
                return self.test(left, old, kind) or self.test(right, old, kind)
            case Not(operand=operand):
                return not self.test(operand, old, kind)
            case Compare(operator=operator, left=left, right=right):
                return compared(operator, self.update(left, old, kind), self.update(right, old, kind))
            case _:
                raise AssertionError(expr)

    def set(self, target: Local | FieldRef, value: int) -> None:
        if isinstance(target, Local):
            self.locals[target.name] = value
        else:
            self.fields[target.name, target.lane] = value

    def value(self, expr: Expr) -> int:
        match expr:
            case Const(value=value):
                return value
            case Truth(value=value):
                return value
            case Local(name=name):
                return self.locals.get(name, 0)
            case FieldRef(name=name, lane=lane):
                return self.fields[name, lane]
            case SequenceRef():
                return self.sequence
            case EpochRef():
                return self.pipeline.epoch
            case ForwardedRef():
                return self.verdict == Verdict.FORWARD
            case Slice(operand=operand, high=high, low=low):
                return self.value(operand) >> low & ((1 << (high - low + 1)) - 1)
            case Cast(operand=operand, kind=kind):
                return kind.wrap(self.value(operand))
            case Concat(left=left, right=right):
                assert right.kind is not None
                below = self.value(right) & ((1 << right.kind.width) - 1)
                return self.value(left) << right.kind.width | below
            case Unary(operator="~", operand=operand, kind=kind):
                return kind.wrap(~self.value(operand))
            case Binary(operator=operator, left=left, right=right, kind=kind):
                if operator not in ("&", "|", "^"):
                    assert kind.width <= 32, expr
                return computed(operator, self.value(left), self.value(right), kind)
            case Compare(operator=operator, left=left, right=right):
                return compared(operator, self.value(left), self.value(right))
            case Logic(operator="&&", left=left, right=right):
                return self.value(left) and self.value(right)
            case Logic(left=left, right=right):
                return self.value(left) or self.value(right)
            case Not(operand=operand):
                return not self.value(operand)
            case _:
                raise AssertionError(expr)


def computed(operator: str, one: int, other: int, kind: Kind) -> int:
    """Return the result of an operation of an ALU."""
    match operator:
        case "+":
            return kind.wrap(one + other)
        case "-":
            return kind.wrap(one - other)
        case "|+|":
            return max(kind.low, min(kind.high, one + other))
        case "|-|":
            return max(kind.low, min(kind.high, one - other))
        case "&":
            return one & other
        case "|":
            return one | other
        case "^":
            return one ^ other
        case "min":
            return min(one, other)
        case "max":
            return max(one, other)
        case "<<":
            return kind.wrap(one << other)
        case ">>":
            return one >> other
        case _:
            raise AssertionError(operator)


def compared(operator: str, one: int, other: int) -> bool:
    """Return whether a comparison holds."""
    return {
        "==": one == other,
        "!=": one != other,
        "<": one < other,
        ">": one > other,
        "<=": one <= other,
        ">=": one >= other,
    }[operator]


def operand_of(expr: Expr) -> bool:
    """Return whether an expression is stored somewhere, or constant."""
    match expr:
        case Slice(operand=operand):
            return operand_of(operand)
        case Cast(operand=operand, kind=kind):
            return operand.kind is not None and operand.kind.width == kind.width and operand_of(operand)
        case Const() | Truth() | Local() | FieldRef() | SequenceRef() | EpochRef() | Old():
            return True
        case _:
            return False


def one_operation(expr: Expr) -> None:
    """Check that an action can compute an expression at once."""
    match expr:
        case Binary(left=left, right=right) | Concat(left=left, right=right):
            assert operand_of(left), expr
            assert operand_of(right), expr
        case Unary(operand=operand) | Cast(operand=operand):
            assert operand_of(operand), expr
        case _:
            assert operand_of(expr), expr
