"""Table and register operations of a program, and the dependencies between them.

An operation is a table or a register array, each of which is in one stage of a pipeline. An operation that needs
another's result must be in a later stage; one that only depends on whether another matched may share its stage (Jose et
al., Compiling Packet Programs to Reconfigurable Switches, NSDI 2015, section 2: match, action and successor
dependencies). Computation between operations is not counted, so the number of stages derived from them is a lower
bound.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field

from midflight.p4 import ir
from midflight.p4.nodes import children
from midflight.p4.types import BOOL
from midflight.runtime.footprint.rests import NONE, Change, Key, Names, Rests
from midflight.stackless import Step, Walk, in_turn, run

__all__ = ["Operation", "operations"]

REGISTER, TABLE = "register", "table"

# The key of a header's validity, next to its fields. No field can have this name.
VALID = "isValid()"


@dataclass(frozen=True, slots=True)
class Operation:
    """A table or register array (`kind`), as a node of a graph of dependencies between operations.

    `needs` are the names of the operations whose results it needs, and `follows` those whose matches decide if it runs.
    """

    name: str
    kind: str
    needs: frozenset[str]
    follows: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Node:
    kind: str
    needs: set[str] = field(default_factory=set)
    follows: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Control:
    """Control dependencies of a statement: the operations and table matches that decide whether it runs."""

    values: Names = NONE
    matches: Names = NONE

    def __or__(self, other: _Control) -> _Control:
        return _Control(self.values | other.values, self.matches | other.matches)


def operations(control: ir.Control) -> tuple[Operation, ...]:
    """Return the tables and register arrays of an ingress or egress control, in the order of their first use."""
    pass_ = _Pass()
    run(_row(pass_, (*control.locals, control.body), _Control()))
    return tuple(
        Operation(name, node.kind, frozenset(node.needs - {name}), frozenset(node.follows - node.needs - {name}))
        for name, node in pass_.nodes.items()
    )


@dataclass(slots=True)
class _Pass:
    """State of one pass over the statements in order: operations, dependencies of each lvalue, and all lvalues written.

    For the current body, `left` holds the control dependencies of earlier returns, `ended` is set where control flow
    cannot arrive, `start` is the branch at its beginning, and `ends` the changes at each of its returns.
    """

    nodes: dict[str, _Node] = field(default_factory=dict)
    values: Rests = field(default_factory=Rests)
    written: list[Key] = field(default_factory=list)
    left: _Control = field(default_factory=_Control)
    ended: bool = False
    start: int = 0
    ends: list[Change] = field(default_factory=list)


def _row(pass_: _Pass, body: Iterable[ir.Statement], control: _Control) -> Walk[None]:
    for each in body:
        yield _statement(pass_, each, control)


def _body(pass_: _Pass, statements: Iterable[ir.Statement], control: _Control) -> Walk[None]:
    """Walk a body that returns may end. Afterwards, an lvalue depends on what any of the ends left there."""
    outside = pass_.start, pass_.ends
    pass_.start, pass_.ends = pass_.values.open(), []
    yield _row(pass_, statements, control)
    ends = pass_.ends
    if not ends and not pass_.ended:
        pass_.values.keep()
    else:
        last = pass_.values.close()
        ends += [] if pass_.ended else [last]
        pass_.values.merge(ends)
        pass_.ended = not ends
    pass_.start, pass_.ends = outside


def _statement(pass_: _Pass, statement: ir.Statement, control: _Control) -> Step[object]:
    if pass_.ended:
        return None
    control = control | pass_.left
    match statement:
        case ir.Declare(variable=variable, value=None):
            pass_.values.declare(variable, NONE)
        case ir.SetValidity(header=header):
            _assign(pass_, ir.Member(header, VALID, BOOL), NONE, control)
        case ir.CallStatement(call=call):
            return _call(pass_, call, control)
        case ir.Return():
            pass_.ends.append(pass_.values.change(pass_.start))
            pass_.ended = True
        case ir.Exit():
            pass_.ended = True
        case ir.Assign(target=target, value=value):
            step = _reads(pass_, value, control)
            if isinstance(step, Generator):
                return _assigned(pass_, target, step, control)
            _assign(pass_, target, step, control)
        case _:
            return _compound(pass_, statement, control)
    return None


def _assigned(pass_: _Pass, target: ir.Expression, walk: Walk[Names], control: _Control) -> Walk[None]:
    names: Names = yield walk
    _assign(pass_, target, names, control)


def _compound(pass_: _Pass, statement: ir.Statement, control: _Control) -> Walk[None]:
    """Walk a statement with expressions that need a walk, or with statements, tables or actions inside."""
    names: Names
    inner: _Control
    match statement:
        case ir.Block(body=body):
            for each in body:
                yield _statement(pass_, each, control)
        case ir.Declare(variable=variable, value=ir.Node() as value):
            names = yield _reads(pass_, value, control)
            pass_.values.declare(variable, names)
        case ir.If(condition=condition, yes=yes, no=no):
            inner = yield _decided_by(pass_, condition, control)
            yield _branches(pass_, [yes] if no is None else [yes, no], inner, complete=no is not None)
        case ir.Switch(subject=subject, cases=cases):
            if isinstance(subject, ir.Table):
                yield _table(pass_, subject, control)
                inner = _Control(control.values, control.matches | {subject.name})
            else:
                names = yield _reads(pass_, subject, control)
                inner = _Control(control.values | names, control.matches)
            yield _branches(pass_, [each.body for each in cases], inner, complete=False)
        case ir.TableApply(table=table):
            yield _table(pass_, table, control)
        case ir.Loop(before=before, condition=condition, body=body, step=step):
            inner = yield _decided_by(pass_, condition, control)
            once = ir.Block((*before, body, *step), place=statement.place)
            yield _branches(pass_, [ir.Block((once, once))], inner, complete=False)
        case ir.ActionCall(action=action, arguments=arguments):
            given: list[Names] = yield in_turn(_reads(pass_, each, control) for each in arguments)
            yield _action(pass_, action, given, control)
            for parameter, argument in _written_back(action.parameters, arguments):
                _assign(pass_, argument, pass_.values.at((parameter.variable,)), control)
        case ir.Apply(callee=ir.Control() as callee, arguments=arguments):
            yield _sub_control(pass_, callee, arguments, control)
        case _:
            pass


def _branches(pass_: _Pass, bodies: Iterable[ir.Statement], control: _Control, *, complete: bool) -> Walk[None]:
    """Walk alternative bodies from the same state. Afterwards, an lvalue depends on what any of them left there."""
    left = pass_.left
    ends: list[tuple[Change, _Control]] = [] if complete else [({}, left)]
    returned = False
    for body in bodies:
        pass_.values.open()
        pass_.left, pass_.ended = left, False
        yield _statement(pass_, body, control)
        change = pass_.values.close()
        returned = returned or pass_.ended or pass_.left != left
        if not pass_.ended:
            ends.append((change, pass_.left))
    pass_.ended = not ends
    pass_.values.merge([change for change, _ in ends])
    # What decided a return also decides whether the following statements run.
    pass_.left = left
    for _, each in ends:
        pass_.left |= each
    if returned:
        pass_.left |= control


def _decided_by(pass_: _Pass, condition: ir.Expression, control: _Control) -> Walk[_Control]:
    negated = isinstance(condition, ir.Unary) and condition.operator == "!"
    inner = condition.operand if isinstance(condition, ir.Unary) and negated else condition
    if isinstance(inner, ir.TableHit):
        yield _table(pass_, inner.table, control)
        return _Control(control.values, control.matches | {inner.table.name})
    names: Names = yield _reads(pass_, condition, control)
    return _Control(control.values | names, control.matches)


def _assign(pass_: _Pass, target: ir.Expression, names: Names, control: _Control) -> None:
    key, whole = _key(target)
    rests = names | control.values | control.matches
    if whole:
        pass_.values.replace(key, rests)
    else:
        pass_.values.set(key, rests | pass_.values.at(key))
    pass_.written.append(key)


def _reads(pass_: _Pass, expression: ir.Expression, control: _Control) -> Step[Names]:
    """Return the operations that a value depends on, and record the operations that its evaluation runs."""
    match expression:
        case ir.Literal():
            return NONE
        case ir.VariableRef() | ir.Member():
            return pass_.values.at(_key(expression)[0])
    return _reads_within(pass_, expression, control)


def _reads_within(pass_: _Pass, expression: ir.Expression, control: _Control) -> Walk[Names]:
    found: set[str] = set()
    waiting: list[ir.Node | ir.Case] = [expression]
    while waiting:
        part = waiting.pop()
        match part:
            case ir.Literal():
                pass
            case ir.TableHit(table=table):
                yield _table(pass_, table, control)
                found.add(table.name)
            case ir.Call():
                found |= yield _call(pass_, part, control)
            case ir.IsValid(header=header):
                found |= pass_.values.at(_key(ir.Member(header, VALID, part.type))[0])
            case ir.VariableRef() | ir.Member():
                found |= pass_.values.at(_key(part)[0])
            case ir.Binary(left=left, right=right):
                waiting += (right, left)
            case ir.Cast(operand=operand) | ir.Unary(operand=operand) | ir.Slice(base=operand):
                waiting.append(operand)
            case _:
                waiting += reversed(children(part))
    return frozenset(found)


def _call(pass_: _Pass, call: ir.Call, control: _Control) -> Walk[Names]:
    read = [
        argument
        for argument, direction in zip(call.arguments, call.directions, strict=True)
        if direction is not ir.Direction.OUT
    ]
    given: list[Names] = yield in_turn(_reads(pass_, each, control) for each in read)
    inputs = NONE.union(*given)
    if call.instance is not None and call.instance.kind == REGISTER:
        inputs = _operation(pass_, call.instance.name, REGISTER, inputs, control)
    if call.name == "mark_to_drop":
        for name in ("egress_spec", "mcast_grp"):
            _assign(pass_, ir.Member(call.arguments[0], name, call.type), NONE, control)
        return NONE
    for argument, direction in zip(call.arguments, call.directions, strict=True):
        if direction in (ir.Direction.OUT, ir.Direction.INOUT):
            _assign(pass_, argument, inputs, control)
    return inputs


def _operation(pass_: _Pass, name: str, kind: str, inputs: Names, control: _Control) -> Names:
    node = pass_.nodes.setdefault(name, _Node(kind))
    node.needs |= inputs | control.values
    node.follows |= control.matches
    return frozenset({name})


def _table(pass_: _Pass, table: ir.Table, control: _Control) -> Walk[None]:
    values = pass_.values
    yield _row(pass_, table.before, control)
    keys: list[Names] = yield in_turn(_reads(pass_, each.expression, control) for each in table.keys)
    result = _operation(pass_, table.name, TABLE, NONE.union(*keys), control)
    node = pass_.nodes[table.name]
    ends: list[Change] = [{}]
    references = {id(each.action): each for each in (*table.actions, table.default)}
    for reference in references.values():
        values.open()
        yield _row(pass_, reference.before, control)
        bound: list[Names] = yield in_turn(_reads(pass_, each, control) for each in reference.bound)
        first = len(pass_.written)
        yield _action(pass_, reference.action, [*bound, *[result] * len(reference.action.data)], control)
        written = {key: values.own(key) for key in pass_.written[first:]}
        end = values.close()
        pass_.ended = False
        for key, names in written.items():
            # An action runs in its table's stage, so what it reads or overwrites must be available by then.
            node.needs |= values.at(key) | names
            if key in end:
                end[key] = names | result
        ends.append(end)
    values.merge(ends)


def _action(pass_: _Pass, action: ir.Action, arguments: Sequence[Names], control: _Control) -> Walk[None]:
    for parameter, names in zip(action.parameters, arguments, strict=True):
        pass_.values.set((parameter.variable,), names)
    outside, pass_.left = pass_.left, _Control()
    yield _body(pass_, (action.body,), control)
    pass_.left = outside


def _sub_control(
    pass_: _Pass, callee: ir.Control, arguments: tuple[ir.Expression, ...], control: _Control
) -> Walk[None]:
    for parameter, argument in zip(callee.parameters, arguments, strict=True):
        pass_.values.copy((parameter.variable,), _key(argument)[0])
    outside = pass_.left
    yield _body(pass_, (*callee.locals, callee.body), control)
    pass_.left = outside
    for parameter, argument in _written_back(callee.parameters, arguments):
        pass_.values.copy(_key(argument)[0], (parameter.variable,))


def _written_back(
    parameters: tuple[ir.Parameter, ...], arguments: tuple[ir.Expression, ...]
) -> list[tuple[ir.Parameter, ir.Expression]]:
    pairs = zip(parameters, arguments, strict=True)
    return [pair for pair in pairs if pair[0].direction in (ir.Direction.OUT, ir.Direction.INOUT)]


def _key(place: ir.Expression) -> tuple[Key, bool]:
    """Return the key of an lvalue, and whether the expression is all of it, as opposed to a slice or stack element."""
    names: list[str] = []
    whole = True
    while True:
        match place:
            case ir.CopyIn(target=target):
                place = target
            case ir.VariableRef(variable=variable):
                return (variable, *reversed(names)), whole
            case ir.Member(base=base, name=name):
                names.append(name)
            case ir.Slice(base=base) | ir.Index(base=base):
                names.clear()
                whole = False
            case _:
                return (str(id(place)),), False
        place = base
