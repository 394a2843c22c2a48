"""What a checked program does in its stages: table and register operations, and which needs which.

An operation is a table or a register array, each of which lives in one stage of a pipeline. One that needs another's
result comes in a later stage; one that only waits to hear whether another matched may share its stage (Jose et al.,
Compiling Packet Programs to Reconfigurable Switches, NSDI 2015, section 2: match, action and successor dependencies).
What is computed between them is not counted, so an estimate from these operations is a lower bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from midflight.p4 import ir
from midflight.p4.types import BOOL

__all__ = ["Operation", "operations"]

REGISTER, TABLE = "register", "table"

# A header's validity, as a field beside its others; no field of a program can have this name.
VALID = "isValid()"


@dataclass(frozen=True, slots=True)
class Operation:
    """A table or register array: the operations whose result it needs, and those whose match it waits for."""

    name: str
    kind: str
    needs: frozenset[str]
    follows: frozenset[str] = frozenset()


# Where a value lies: a variable, then field names. What the value rests on: names of operations.
Key = tuple[ir.Variable | str, ...]
Names = frozenset[str]
NONE: Names = frozenset()


@dataclass(slots=True)
class _Node:
    kind: str
    needs: set[str] = field(default_factory=set)
    follows: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Control:
    """What decides whether a statement runs: values that must be known, and matches that must have been tried."""

    values: Names = NONE
    matches: Names = NONE

    def __or__(self, other: _Control) -> _Control:
        return _Control(self.values | other.values, self.matches | other.matches)


def operations(control: ir.Control) -> tuple[Operation, ...]:
    """Return the tables and register arrays of an ingress or egress control, in the order they are first met."""
    walk = _Walk()
    walk.statements((*control.locals, control.body), _Control())
    return tuple(
        Operation(name, node.kind, frozenset(node.needs - {name}), frozenset(node.follows - node.needs - {name}))
        for name, node in walk.nodes.items()
    )


class _Walk:
    """One pass over the statements in order, knowing for each place what its present value rests on."""

    def __init__(self) -> None:
        self.nodes: dict[str, _Node] = {}
        self.values: dict[Key, Names] = {}
        self.written: list[Key] = []
        self.left = _Control()
        """What decided that a packet is still in the body at hand."""
        self.ended = False
        """Whether no packet comes here."""
        self.ends: list[dict[Key, Names]] = []
        """The values at the returns from the body at hand."""

    def statements(self, body: Iterable[ir.Statement], control: _Control) -> None:
        for each in body:
            self.statement(each, control)

    def statement(self, statement: ir.Statement, control: _Control) -> None:
        if self.ended:
            return
        control = control | self.left
        match statement:
            case ir.Block(body=body):
                self.statements(body, control)
            case ir.Assign(target=target, value=value):
                self.assign(target, self.reads(value, control), control)
            case ir.Declare(variable=variable, value=value):
                self.values[(variable,)] = self.reads(value, control) if value else NONE
            case ir.If(condition=condition, yes=yes, no=no):
                inner = self.decided_by(condition, control)
                self.branches([yes] if no is None else [yes, no], inner, complete=no is not None)
            case ir.Switch(subject=subject, cases=cases):
                if isinstance(subject, ir.Table):
                    self.table(subject, control)
                    inner = _Control(control.values, control.matches | {subject.name})
                else:
                    inner = _Control(control.values | self.reads(subject, control), control.matches)
                self.branches([each.body for each in cases], inner, complete=False)
            case ir.TableApply(table=table):
                self.table(table, control)
            case ir.ActionCall(action=action, arguments=arguments):
                self.action(action, [self.reads(each, control) for each in arguments], control)
                self.copy_out(action.parameters, arguments, control)
            case ir.Apply(callee=ir.Control() as callee, arguments=arguments):
                self.sub_control(callee, arguments, control)
            case ir.CallStatement(call=call):
                self.call(call, control)
            case ir.SetValidity(header=header):
                self.assign(ir.Member(header, VALID, BOOL), NONE, control)
            case ir.Return():
                self.ends.append(self.values)
                self.ended = True
            case ir.Exit():
                self.ended = True
            case _:
                pass

    def branches(self, bodies: Iterable[ir.Statement], control: _Control, *, complete: bool) -> None:
        """Walk each body from the same beginning; afterwards a place rests on all that any of them put there."""
        before, left, ends = self.values, self.left, list[tuple[dict[Key, Names], _Control]]()
        returned = False
        for body in bodies:
            self.values, self.left, self.ended = dict(before), left, False
            self.statement(body, control)
            returned = returned or self.ended or self.left != left
            if not self.ended:
                ends.append((self.values, self.left))
        if not complete:
            ends.append((before, left))
        self.ended = not ends
        self.values = _joined([values for values, _ in ends])
        # Whether anything after this runs is decided by what decided the returns.
        self.left = left
        for _, each in ends:
            self.left |= each
        if returned:
            self.left |= control

    def body(self, statements: Iterable[ir.Statement], control: _Control) -> None:
        """Walk a body that a return ends; afterwards a place rests on what any of its ends put there."""
        outside, self.ends = self.ends, []
        self.statements(statements, control)
        live = self.ends if self.ended else [*self.ends, self.values]
        self.values, self.ended, self.ends = _joined(live), not live, outside

    def decided_by(self, condition: ir.Expression, control: _Control) -> _Control:
        negated = isinstance(condition, ir.Unary) and condition.operator == "!"
        inner = condition.operand if isinstance(condition, ir.Unary) and negated else condition
        if isinstance(inner, ir.TableHit):
            self.table(inner.table, control)
            return _Control(control.values, control.matches | {inner.table.name})
        return _Control(control.values | self.reads(condition, control), control.matches)

    def assign(self, target: ir.Expression, names: Names, control: _Control) -> None:
        key, whole = _key(target)
        rests = names | control.values | control.matches
        if whole:
            for inside in [each for each in self.values if each[: len(key)] == key]:
                del self.values[inside]
        else:
            rests |= _at(self.values, key)
        self.values[key] = rests
        self.written.append(key)

    def reads(self, expression: ir.Expression | None, control: _Control) -> Names:
        """Return what an expression's value rests on, doing what it calls on the way."""
        if expression is None:
            return NONE
        if isinstance(expression, ir.TableHit):
            self.table(expression.table, control)
            return frozenset({expression.table.name})
        if isinstance(expression, ir.Call):
            return self.call(expression, control)
        if isinstance(expression, ir.IsValid):
            expression = ir.Member(expression.header, VALID, expression.type)
        if isinstance(expression, ir.VariableRef | ir.Member):
            return _at(self.values, _key(expression)[0])
        return NONE.union(*(self.reads(each, control) for each in _parts(expression)))

    def call(self, call: ir.Call, control: _Control) -> Names:
        inputs = NONE.union(
            *(
                self.reads(argument, control)
                for argument, direction in zip(call.arguments, call.directions, strict=True)
                if direction is not ir.Direction.OUT
            )
        )
        if call.instance is not None and call.instance.kind == REGISTER:
            inputs = self.operation(call.instance.name, REGISTER, inputs, control)
        if call.name == "mark_to_drop":
            for name in ("egress_spec", "mcast_grp"):
                self.assign(ir.Member(call.arguments[0], name, call.type), NONE, control)
            return NONE
        for argument, direction in zip(call.arguments, call.directions, strict=True):
            if direction in (ir.Direction.OUT, ir.Direction.INOUT):
                self.assign(argument, inputs, control)
        return inputs

    def operation(self, name: str, kind: str, inputs: Names, control: _Control) -> Names:
        node = self.nodes.setdefault(name, _Node(kind))
        node.needs |= inputs | control.values
        node.follows |= control.matches
        return frozenset({name})

    def table(self, table: ir.Table, control: _Control) -> None:
        keys = NONE.union(*(self.reads(each.expression, control) for each in table.keys))
        result = self.operation(table.name, TABLE, keys, control)
        node, before, ends = self.nodes[table.name], self.values, [self.values]
        refs = {id(each.action): each for each in (*table.actions, table.default)}
        for ref in refs.values():
            self.values = dict(before)
            bound = [self.reads(each, control) for each in ref.bound]
            first = len(self.written)
            self.action(ref.action, [*bound, *[result] * len(ref.action.data)], control)
            for key in self.written[first:]:
                # An action works within its table's stage: what it reads or overwrites must be there by then.
                node.needs |= _at(before, key) | self.values.get(key, NONE)
                self.values[key] = self.values.get(key, NONE) | result
            ends.append(self.values)
            self.ended = False
        self.values = _joined(ends)

    def action(self, action: ir.Action, arguments: list[Names], control: _Control) -> None:
        for parameter, names in zip(action.parameters, arguments, strict=True):
            self.values[(parameter.variable,)] = names
        outside, self.left = self.left, _Control()
        self.body((action.body,), control)
        self.left = outside

    def sub_control(self, callee: ir.Control, arguments: tuple[ir.Expression, ...], control: _Control) -> None:
        for parameter, argument in zip(callee.parameters, arguments, strict=True):
            self.copy((parameter.variable,), _key(argument)[0])
        outside = self.left
        self.body((*callee.locals, callee.body), control)
        self.left = outside
        for parameter, argument in zip(callee.parameters, arguments, strict=True):
            if parameter.direction in (ir.Direction.OUT, ir.Direction.INOUT):
                self.copy(_key(argument)[0], (parameter.variable,))

    def copy_out(
        self, parameters: tuple[ir.Parameter, ...], arguments: tuple[ir.Expression, ...], control: _Control
    ) -> None:
        for parameter, argument in zip(parameters, arguments, strict=True):
            if parameter.direction in (ir.Direction.OUT, ir.Direction.INOUT):
                self.assign(argument, _at(self.values, (parameter.variable,)), control)

    def copy(self, to: Key, source: Key) -> None:
        """Give one place all that is known of another, field by field."""
        found = {to: _upward(self.values, source)}
        found |= {to + key[len(source) :]: names for key, names in self.values.items() if key[: len(source)] == source}
        for key in [each for each in self.values if each[: len(to)] == to]:
            del self.values[key]
        self.values |= found


def _joined(ends: list[dict[Key, Names]]) -> dict[Key, Names]:
    """Return what each place rests on where paths meet that end with these values."""
    return {key: NONE.union(*(_upward(end, key) for end in ends)) for end in ends for key in end}


def _upward(values: Mapping[Key, Names], key: Key) -> Names:
    """Return what a place rests on by itself and by the wholes that it is part of."""
    return next((values[key[:end]] for end in range(len(key), 0, -1) if key[:end] in values), NONE)


def _at(values: Mapping[Key, Names], key: Key) -> Names:
    """Return what a place rests on: as written last, with all of its fields."""
    inside = (names for each, names in values.items() if len(each) > len(key) and each[: len(key)] == key)
    return _upward(values, key).union(*inside)


def _key(place: ir.Expression) -> tuple[Key, bool]:
    """Return where a value lies, and whether the expression is that place whole rather than a part of it."""
    match place:
        case ir.VariableRef(variable=variable):
            return (variable,), True
        case ir.Member(base=base, name=name):
            key, whole = _key(base)
            return ((*key, name), whole) if whole else (key, False)
        case ir.Slice(base=base) | ir.Index(base=base):
            return _key(base)[0], False
        case _:
            return (str(id(place)),), False


def _parts(expression: ir.Expression) -> Iterator[ir.Expression]:
    match expression:
        case ir.Unary(operand=operand) | ir.Cast(operand=operand):
            yield operand
        case ir.Binary(left=left, right=right) | ir.Concat(left=left, right=right):
            yield from (left, right)
        case ir.Ternary(condition=condition, yes=yes, no=no):
            yield from (condition, yes, no)
        case ir.StructValue(elements=elements):
            yield from elements
        case ir.IsValid(header=base) | ir.Slice(base=base) | ir.Next(base=base) | ir.Last(base=base):
            yield base
        case ir.Index(base=base, index=index):
            yield from (base, index)
        case _:
            pass
