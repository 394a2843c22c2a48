"""Checks parsers: states, transitions and select."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from midflight.errors import P4Error, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.context import Context
from midflight.p4.check.expressions import expression
from midflight.p4.check.keysets import keyset
from midflight.p4.check.order import in_order
from midflight.p4.check.parameters import bind_constructor, declare_parameters
from midflight.p4.check.scope import Entity, ValueSet, closest
from midflight.p4.check.statements import with_before
from midflight.p4.check.valuesets import value_set
from midflight.p4.types import Bits, Bool, EnumType, ErrorType
from midflight.stackless import Walk, in_turn

__all__ = ["parser"]

FINAL = ("accept", "reject")


def parser(ctx: Context, node: d.Parser, values: Sequence[Entity]) -> Walk[ir.Parser]:
    """Check a parser for one instance, with the values of its constructor parameters, and return the instance.

    `ctx` is a new context with the instance's control-plane name. Raises P4Error for a parser type without states, for
    recursion, for a parser without a state `start` or one in which no transition leads to an end, and for the first
    error inside.
    """
    if node.states is None:
        raise P4Error(f"{node.name} is a parser type: it has no states", place=node.place)
    ctx.state.used.add(node.name)
    ctx.state.make(node.name, node.place)
    bind_constructor(ctx, node.constructor, values)
    parameters: tuple[ir.Parameter, ...] = yield declare_parameters(ctx, node.parameters)
    local: list[ir.Statement] = []
    with ctx.scope.block():
        for declaration in node.locals:
            local += yield _local(ctx, declaration)
        names = _names(node)
        states: list[ir.State] = yield in_turn(_state(ctx, each, names) for each in node.states)
    del ctx.state.making[node.name]
    _demand_end(node, states)
    return ir.Parser(ctx.name, parameters, tuple(local), {each.name: each for each in states}, node.place)


def _demand_end(node: d.Parser, states: Sequence[ir.State]) -> None:
    """Raise P4Error if no path through the states leads from `start` to `accept` or `reject`."""
    following = {each.name: each.next for each in states}
    reached, waiting = {"start"}, ["start"]
    while waiting:
        after = following[waiting.pop()]
        if isinstance(after, ir.Select):
            targets = [target for _, target in after.cases]
            if not any(isinstance(keys, tuple) and all(key.value is None for key in keys) for keys, _ in after.cases):
                return  # a select without a matching case ends the parser
        else:
            targets = [after]
        if any(target in FINAL for target in targets):
            return
        for target in targets:
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    raise P4Error(
        f"parser {node.name} never ends",
        place=node.place,
        hint="No transition from the state start leads to accept or reject.",
    )


def _names(node: d.Parser) -> dict[str, Place]:
    """Return the place of each state's declaration. Raises P4Error for duplicate and predefined names."""
    assert node.states is not None
    names: dict[str, Place] = {}
    for each in node.states:
        if each.name in FINAL:
            raise P4Error(f"the state {each.name} is predefined", place=each.place)
        if each.name in names:
            hint = f"It was declared at {names[each.name]} first."
            raise P4Error(f"state {each.name} is declared twice", place=each.place, hint=hint)
        names[each.name] = each.place
    if "start" not in names:
        hint = closest("start", list(names)) or "Parsing starts in the state start."
        raise P4Error(f"parser {node.name} has no state start", place=node.place, hint=hint)
    return names


def _local(ctx: Context, node: d.Declaration) -> Walk[list[ir.Statement]]:
    match node:
        case s.Constant() | s.Variable() | s.Instantiation():
            made: list[ir.Statement] = yield with_before(ctx, [node])
            return made
        case d.ValueSet():
            yield value_set(ctx, node)
            return []
    raise P4Error("this cannot be declared in a parser", place=node.place)


def _state(ctx: Context, node: d.State, names: Mapping[str, Place]) -> Walk[ir.State]:
    body: list[ir.Statement] = []
    outer = ctx.before
    ctx.depth += 1
    try:
        with ctx.scope.block():
            body += yield with_before(ctx, node.body)
            ctx.before = []
            following: ir.Select | str = yield _transition(ctx, node, names)
            body += ctx.before
    finally:
        ctx.depth -= 1
        ctx.before = outer
    return ir.State(node.name, tuple(body), following, place=node.place)


def _transition(ctx: Context, node: d.State, names: Mapping[str, Place]) -> Walk[ir.Select | str]:
    match node.transition:
        case None:
            return "reject"
        case d.Transition(state=state, place=place):
            return _target(state, place, names)
        case d.Select() as select:
            made: ir.Select = yield _select(ctx, select, names)
            return made


def _target(name: str, place: Place, names: Mapping[str, Place]) -> str:
    if name not in names and name not in FINAL:
        raise P4Error(f"there is no state {name}", place=place, hint=closest(name, [*names, *FINAL]))
    return name


def _select(ctx: Context, node: d.Select, names: Mapping[str, Place]) -> Walk[ir.Select]:
    expressions: list[ir.Expression] = yield in_order(ctx, (expression(ctx, each) for each in node.expressions))
    for subject in expressions:
        if not isinstance(subject.type, Bits | Bool | EnumType | ErrorType):
            hint = "Give the constant a width." if str(subject.type) == "int" else ""
            raise P4Error(
                f"select takes numbers, bools, enums and errors, not {subject.type}", place=subject.place, hint=hint
            )
    kinds = [each.type for each in expressions]
    cases: list[tuple[ir.Keyset | ir.Table, str]] = []
    for each in node.cases:
        known = ctx.scope.find(each.keyset.name) if isinstance(each.keyset, s.Name) else None
        if isinstance(known, ValueSet):
            fields = [key.expression.type for key in known.table.keys]
            if fields != kinds:
                has, given = (", ".join(map(str, of)) for of in (fields, kinds))
                raise P4Error(f"the value set has the types {has}, and select has {given}", place=each.keyset.place)
            cases.append((known.table, _target(each.state, each.place, names)))
            continue
        keys: ir.Keyset = yield keyset(ctx, each.keyset, kinds, "select")
        cases.append((keys, _target(each.state, each.place, names)))
    return ir.Select(tuple(expressions), tuple(cases), place=node.place)
