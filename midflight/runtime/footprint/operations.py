"""Table and register operations of a program, and the dependencies between them.

An operation is a table or a register array, each of which is in one stage of a pipeline. An operation that needs
another's result must be in a later stage; one that only depends on whether another matched may share its stage (Jose et
al., Compiling Packet Programs to Reconfigurable Switches, NSDI 2015, section 2: match, action and successor
dependencies).

Computation between operations is counted on request: with `actions`, an assignment whose value is computed is an
operation, too, and a nested expression is one for each level, because an ALU of a stage computes one operator. Without,
the number of stages derived from the operations is a lower bound.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field

from midflight.errors import Place
from midflight.p4 import ir
from midflight.p4.nodes import children
from midflight.p4.types import BOOL
from midflight.runtime.footprint.actions import Actions, is_plain
from midflight.runtime.footprint.rests import NONE, Change, Key, Names, Rests, copied, key_of, shown
from midflight.stackless import Step, Walk, in_turn, run

__all__ = ["Operation", "operations"]

REGISTER, TABLE = "register", "table"

# The kinds of calls that are operations, by the name of the function or the extern, and their kinds of operations.
_KINDS = {
    "hash": "hash", "random": "random", "counter": "counter", "meter": "meter",
}  # fmt: skip

# The function of Midflight's programs that mixes the bits of a checksum. A pipeline has hash units for this.
_HASH_FUNCTION = "scramble"

# The key of a header's validity, next to its fields. No field can have this name.
VALID = "isValid()"


@dataclass(frozen=True, slots=True)
class Operation:
    """A table or register array (`kind`), as a node of a graph of dependencies between operations.

    `needs` are the names of the operations whose results it needs, which must be in earlier stages. `follows` are those
    tables of which only a match decides if it runs, and which may share its stage.
    Further kinds are `action`, `hash`, `counter`, `meter` and `random`, only on request. `place` is where the operation
    first occurs in the P4. Operations with the same `block` run under the same conditions.
    """

    name: str
    kind: str
    needs: frozenset[str]
    follows: frozenset[str] = frozenset()
    place: Place | None = field(default=None, compare=False)
    block: int = field(default=0, compare=False)


@dataclass(slots=True)
class _Node:
    kind: str
    needs: set[str] = field(default_factory=set)
    follows: set[str] = field(default_factory=set)
    place: Place | None = None
    block: int = 0


@dataclass(frozen=True, slots=True)
class _Control:
    """Control dependencies of a statement: the operations and table matches that decide whether it runs."""

    values: Names = NONE
    matches: Names = NONE

    def __or__(self, other: _Control) -> _Control:
        return _Control(self.values | other.values, self.matches | other.matches)


def operations(control: ir.Control, *, actions: bool = False) -> tuple[Operation, ...]:
    """Return the tables and register arrays of an ingress or egress control, in the order of their first use.

    With `actions`, also the computations between them.
    """
    pass_ = _Pass(detailed=actions, scope=control.name)
    run(_row(pass_, (*control.locals, control.body), _Control()))
    return tuple(
        Operation(
            name,
            node.kind,
            frozenset(node.needs - {name}),
            frozenset(node.follows - node.needs - {name}),
            node.place,
            node.block,
        )
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
    # With `detailed`, computations are operations. Those in the actions of a table run in the table's stage.
    detailed: bool = False
    in_table: bool = False
    hashing: ir.Variable | None = None
    scope: str = ""
    conditional: bool = False
    block: int = 0
    blocks: int = 0

    @property
    def computes(self) -> bool:
        return self.detailed and not self.in_table and self.hashing is None

    def others(self, key: Key) -> Names:
        """Return the operations that an lvalue depends on and that run under other conditions than the present ones.

        What runs under the same conditions has been overwritten, and may be in another field.
        """
        return frozenset(each for each in self.values.at(key) if self.nodes[each].block != self.block)

    def next_block(self) -> None:
        self.blocks += 1
        self.block = self.blocks


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
            if pass_.computes and variable.name == _HASH_FUNCTION:
                pass_.hashing = variable
        case ir.SetValidity(header=header):
            target = ir.Member(header, VALID, BOOL, place=statement.place)
            _assign(pass_, target, NONE, control, pass_.computes)
        case ir.CallStatement(call=call):
            return _call(pass_, call, control)
        case ir.Return():
            pass_.ends.append(pass_.values.change(pass_.start))
            pass_.ended = True
        case ir.Exit():
            pass_.ended = True
        case ir.Assign(target=target, value=value) if pass_.computes:
            return _computed(pass_, target, value, control)
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
        case ir.Declare(variable=variable, value=ir.Node() as value) if pass_.computes and not is_plain(value):
            pass_.values.declare(variable, NONE)
            yield _computed(pass_, ir.VariableRef(variable, variable.type, place=statement.place), value, control)
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
                names = yield _value(pass_, subject, control)
                inner = _Control(control.values | names, control.matches)
            yield _branches(pass_, [each.body for each in cases], inner, complete=False)
        case ir.TableApply(table=table):
            yield _table(pass_, table, control)
        case ir.Loop(before=before, condition=condition, body=body, step=step):
            inner = yield _decided_by(pass_, condition, control)
            once = ir.Block((*before, body, *step), place=statement.place)
            yield _branches(pass_, [ir.Block((once, once))], inner, complete=False)
        case ir.ActionCall(action=action, arguments=arguments):
            given: list[Names] = yield in_turn(_value(pass_, each, control) for each in arguments)
            yield _action(pass_, action, given, control)
            for parameter, argument in _written_back(action.parameters, arguments):
                _assign(pass_, argument, pass_.values.at((parameter.variable,)), control)
        case ir.Apply(callee=ir.Control() as callee, arguments=arguments):
            yield _sub_control(pass_, callee, arguments, control)
        case _:
            pass


def _branches(pass_: _Pass, bodies: Iterable[ir.Statement], control: _Control, *, complete: bool) -> Walk[None]:
    """Walk alternative bodies from the same state. Afterwards, an lvalue depends on what any of them left there."""
    left, conditional, block = pass_.left, pass_.conditional, pass_.block
    pass_.conditional = True
    ends: list[tuple[Change, _Control]] = [] if complete else [({}, left)]
    returned = False
    for body in bodies:
        pass_.values.open()
        pass_.left, pass_.ended = left, False
        pass_.next_block()
        yield _statement(pass_, body, control)
        change = pass_.values.close()
        returned = returned or pass_.ended or pass_.left != left
        if not pass_.ended:
            ends.append((change, pass_.left))
    pass_.ended, pass_.conditional, pass_.block = not ends, conditional, block
    pass_.values.merge([change for change, _ in ends])
    # What decided a return also decides whether the following statements run.
    pass_.left = left
    for _, each in ends:
        pass_.left |= each
    if returned:
        pass_.left |= control
        pass_.conditional = True
        pass_.next_block()


def _decided_by(pass_: _Pass, condition: ir.Expression, control: _Control) -> Walk[_Control]:
    negated = isinstance(condition, ir.Unary) and condition.operator == "!"
    inner = condition.operand if isinstance(condition, ir.Unary) and negated else condition
    if isinstance(inner, ir.TableHit):
        yield _table(pass_, inner.table, control)
        return _Control(control.values, control.matches | {inner.table.name})
    if pass_.computes:
        names: Names = yield _actions(pass_, control).condition(condition)
    else:
        names = yield _reads(pass_, condition, control)
    return _Control(control.values | names, control.matches)


def _assign(pass_: _Pass, target: ir.Expression, names: Names, control: _Control, computed: bool = False) -> None:
    """Let an lvalue depend on operations; if its value is `computed` in the pipeline, on a new one that needs these."""
    key, whole = key_of(target)
    if pass_.hashing is not None and key == (pass_.hashing,):
        pass_.hashing = None
        pass_.values.replace(key, _hash(pass_, target.place, names, control))
        return
    if computed:
        before = pass_.others(key) if whole else pass_.values.at(key)
        action = _add(pass_, "action", shown(target), target.place, names | before, control)
        pass_.values.replace(key, action) if whole else pass_.values.set(key, action | before)
        pass_.written.append(key)
        return
    # An action runs in its table's stage, and that table follows the matches already.
    rests = names | control.values | (NONE if pass_.in_table else control.matches)
    if whole:
        pass_.values.replace(key, rests)
    else:
        pass_.values.set(key, rests | pass_.values.at(key))
    pass_.written.append(key)


def _computed(pass_: _Pass, target: ir.Expression, value: ir.Expression, control: _Control) -> Walk[None]:
    """Walk an assignment as an action. A copy outside of branches needs none: readers take the source instead."""
    key, _ = key_of(target)
    actions = _actions(pass_, control)
    if not is_plain(value):
        names: Names = yield actions.computed(value)
        _assign(pass_, target, names, control, True)
        return
    names = yield _reads(pass_, value, control)
    before = pass_.others(key)
    source = pass_.nodes[min(names)] if len(names) == 1 else None
    if source is not None and source.block == pass_.block:  # which writes this field, too
        source.needs |= before - names
        pass_.values.replace(key, names)
    elif pass_.conditional and (isinstance(value, ir.Literal) or before or len(key) > 1):
        if copied(value) != key:
            _assign(pass_, target, names, control, True)
    else:
        if len(key) > 1 and (before or not isinstance(value, ir.Literal)):
            _assign(pass_, target, names, control, True)
        pass_.values.replace(key, names)


def _actions(pass_: _Pass, control: _Control) -> Actions:
    return Actions(
        read=lambda each: _reads(pass_, each, control),
        add=lambda place, names: _add(pass_, "action", "value", place, names, control),
    )


def _value(pass_: _Pass, expression: ir.Expression, control: _Control) -> Step[Names]:
    """Return the operations that a value depends on when a whole field must hold it."""
    if pass_.computes and not is_plain(expression):
        return _actions(pass_, control).settled(expression)
    return _reads(pass_, expression, control)


def _add(pass_: _Pass, kind: str, what: str, place: Place | None, needs: Names, control: _Control) -> Names:
    """Add an operation that is not a table or register, and return its name as the operations that its result needs."""
    base = f"{pass_.scope}.{what}" + (f" (line {place.line})" if place else "")
    name, number = base, 1
    while name in pass_.nodes:
        number += 1
        name = f"{base} #{number}"
    needed, follows = set(needs | control.values), set(control.matches)
    pass_.nodes[name] = _Node(kind, needed, follows, place, pass_.block)
    return frozenset({name})


def _hash(pass_: _Pass, place: Place | None, inputs: Names, control: _Control) -> Names:
    """Add a hash unit. A hash of nothing but another hash takes the inputs of that one."""
    source = pass_.nodes[min(inputs)] if len(inputs) == 1 else None
    if source is not None and source.kind == "hash":
        inputs = frozenset(source.needs)
    return _add(pass_, "hash", "hash", place, inputs, control)


def _reads(pass_: _Pass, expression: ir.Expression, control: _Control) -> Step[Names]:
    """Return the operations that a value depends on, and record the operations that its evaluation runs."""
    match expression:
        case ir.Literal():
            return NONE
        case ir.VariableRef() | ir.Member():
            return pass_.values.of(expression)
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
                found |= pass_.values.of(ir.Member(header, VALID, part.type))
            case ir.VariableRef() | ir.Member():
                found |= pass_.values.of(part)
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
    inside = call.instance is not None and call.instance.kind == REGISTER and call.name == "write"
    given: list[Names] = yield in_turn(
        # What a register writes is computed by its own ALU.
        (_reads if inside and number else _value)(pass_, each, control)
        for number, each in enumerate(read)
    )
    inputs = NONE.union(*given)
    if pass_.computes and (kind := _KINDS.get(call.name if call.instance is None else call.instance.kind)):
        if call.instance is None:
            inputs = _add(pass_, kind, call.name, call.place, inputs, control)
        else:
            inputs = _operation(pass_, call.instance.name, kind, inputs, control, call.place)
    if call.instance is not None and call.instance.kind == REGISTER:
        inputs = _operation(pass_, call.instance.name, REGISTER, inputs, control, call.place)
    if call.name == "mark_to_drop":
        for name in ("egress_spec", "mcast_grp"):
            target = ir.Member(call.arguments[0], name, call.type, place=call.place)
            _assign(pass_, target, NONE, control, pass_.computes)
        return NONE
    for argument, direction in zip(call.arguments, call.directions, strict=True):
        if direction in (ir.Direction.OUT, ir.Direction.INOUT):
            if pass_.computes:  # the operation itself writes the field
                pass_.values.replace(key_of(argument)[0], inputs)
                pass_.written.append(key_of(argument)[0])
            else:
                _assign(pass_, argument, inputs, control)
    return inputs


def _operation(
    pass_: _Pass, name: str, kind: str, inputs: Names, control: _Control, place: Place | None = None
) -> Names:
    node = pass_.nodes.setdefault(name, _Node(kind, place=place))
    node.block = pass_.block
    node.needs |= inputs | control.values
    node.follows |= control.matches
    return frozenset({name})


def _table(pass_: _Pass, table: ir.Table, control: _Control) -> Walk[None]:
    values = pass_.values
    yield _row(pass_, table.before, control)
    keys: list[Names] = yield in_turn(_value(pass_, each.expression, control) for each in table.keys)
    result = _operation(pass_, table.name, TABLE, NONE.union(*keys), control, table.place)
    node = pass_.nodes[table.name]
    outside, pass_.in_table = pass_.in_table, True
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
    pass_.in_table = outside


def _action(pass_: _Pass, action: ir.Action, arguments: Sequence[Names], control: _Control) -> Walk[None]:
    for parameter, names in zip(action.parameters, arguments, strict=True):
        pass_.values.set((parameter.variable,), names)
    outside, pass_.left = pass_.left, _Control()
    conditional = pass_.conditional
    yield _body(pass_, (action.body,), control)
    pass_.left, pass_.conditional = outside, conditional


def _sub_control(
    pass_: _Pass, callee: ir.Control, arguments: tuple[ir.Expression, ...], control: _Control
) -> Walk[None]:
    for parameter, argument in zip(callee.parameters, arguments, strict=True):
        pass_.values.copy((parameter.variable,), key_of(argument)[0])
    outside, scope, conditional = pass_.left, pass_.scope, pass_.conditional
    pass_.scope = callee.name
    yield _body(pass_, (*callee.locals, callee.body), control)
    pass_.left, pass_.scope, pass_.conditional = outside, scope, conditional
    for parameter, argument in _written_back(callee.parameters, arguments):
        pass_.values.copy(key_of(argument)[0], (parameter.variable,))


def _written_back(
    parameters: tuple[ir.Parameter, ...], arguments: tuple[ir.Expression, ...]
) -> list[tuple[ir.Parameter, ir.Expression]]:
    pairs = zip(parameters, arguments, strict=True)
    return [pair for pair in pairs if pair[0].direction in (ir.Direction.OUT, ir.Direction.INOUT)]
