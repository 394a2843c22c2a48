"""Checks statements of actions, controls, functions and parser states."""

from __future__ import annotations

from collections.abc import Iterable

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.arguments import lvalue
from midflight.p4.check.coerce import coerce, has_integer, has_string
from midflight.p4.check.context import Context
from midflight.p4.check.effects import application, call_statement, may_apply
from midflight.p4.check.expressions import applied_table, constant, expression, probe, value
from midflight.p4.check.loops import counted, over
from midflight.p4.check.operators import combined
from midflight.p4.check.order import in_order, pinned
from midflight.p4.check.scope import Constant, Local
from midflight.p4.check.typing import type_of
from midflight.p4.types import BOOL, VOID, Bits, EnumType, ExternType, ListType, Type
from midflight.stackless import Step, Walk

__all__ = ["block", "declare_constant", "row", "with_before"]


def block(ctx: Context, node: s.Block) -> Walk[ir.Block]:
    """Check a block of statements in a new scope, and return the typed block. P4Error for the first mistake."""
    made: tuple[ir.Statement, ...] = yield row(ctx, node.body)
    return ir.Block(made, place=node.place)


def row(ctx: Context, nodes: Iterable[s.Statement]) -> Walk[tuple[ir.Statement, ...]]:
    """Check a sequence of statements in a new scope, and return the typed statements. P4Error for the first mistake."""
    ctx.depth += 1
    try:
        with ctx.scope.block():
            made: list[ir.Statement] = yield with_before(ctx, nodes)
    finally:
        ctx.depth -= 1
    return tuple(made)


def with_before(ctx: Context, nodes: Iterable[s.Statement]) -> Walk[list[ir.Statement]]:
    """Check statements in order, in the current scope; return each after the statements that its expressions need.

    Raises P4Error for the first error.
    """
    made: list[ir.Statement] = []
    outer = ctx.before
    try:
        for node in nodes:
            ctx.before = []
            one: ir.Statement | None = yield statement(ctx, node)
            made += ctx.before
            if one is not None:
                made.append(one)
    finally:
        ctx.before = outer
    return made


def statement(ctx: Context, node: s.Statement) -> Step[ir.Statement | None]:
    """Check one statement and return it typed, or None if nothing remains to run, as for a declaration of a constant.

    Declarations are added to the scope, and statements that expressions need, which run before this one, to
    `ctx.before`. Raises P4Error for a statement that is invalid or not allowed in this body.
    """
    match node:
        case s.Empty():
            return None
        case s.Exit():
            if ctx.kind in ("parser", "function"):
                raise P4Error(f"a {ctx.kind} cannot exit", place=node.place)
            return ir.Exit(place=node.place)
        case s.Assign():
            return _assign(ctx, node)
        case s.CallStatement():
            return call_statement(ctx, node.call)
        case s.DirectApplication():
            return _direct_application(ctx, node)
        case s.If():
            return _if(ctx, node)
        case s.Switch():
            return _switch(ctx, node)
        case s.Block():
            return _block(ctx, node)
        case s.Return():
            return _returning(ctx, node)
        case s.For():
            return counted(ctx, node, with_before)
        case s.ForIn():
            return over(ctx, node, with_before)
        case s.Break() | s.Continue():
            word = "break" if isinstance(node, s.Break) else "continue"
            if not ctx.loops:
                raise P4Error(f"{word} can only be used in a loop", place=node.place)
            return ir.Break(place=node.place) if isinstance(node, s.Break) else ir.Continue(place=node.place)
        case s.Constant():
            return declare_constant(ctx, node)
        case s.Variable():
            return _declare_variable(ctx, node)
        case s.Instantiation():
            return ctx.state.checks.instantiate(ctx, node)


def _block(ctx: Context, node: s.Block) -> Walk[ir.Statement | None]:
    made: ir.Block = yield block(ctx, node)
    return made


def _if(ctx: Context, node: s.If) -> Walk[ir.Statement | None]:
    condition: ir.Expression = yield value(ctx, node.condition, BOOL, "an if's condition")
    branches: list[ir.Statement | None] = []
    for branch in (node.yes, node.no):
        if branch is None:
            branches.append(None)
            continue
        body: tuple[ir.Statement, ...] = yield row(ctx, [branch])
        branches.append(_unwrapped(ir.Block(body, place=branch.place)))
    yes, no = branches
    assert yes is not None
    return ir.If(condition, yes, no, place=node.place)


def _direct_application(ctx: Context, node: s.DirectApplication) -> Walk[ir.Statement | None]:
    callee: ir.Control | ir.Parser = yield ctx.state.checks.anonymous(ctx, node)
    made: ir.Statement = yield application(ctx, callee, node.arguments, node.place)
    return made


def _returning(ctx: Context, node: s.Return) -> Walk[ir.Statement | None]:
    """Check a return. A function's return value is assigned to `ctx.result` first."""
    if ctx.kind == "parser":
        raise P4Error("a parser state cannot return", place=node.place)
    if ctx.result is None:
        if node.value is not None:
            article = "an" if ctx.kind == "action" else "a"
            who = f"{ctx.name} is void and" if ctx.kind == "function" else f"{article} {ctx.kind}"
            place = node.value.place if ctx.kind == "function" else node.place
            raise P4Error(f"{who} returns no value", place=place)
        return ir.Return(place=node.place)
    if node.value is None:
        raise P4Error(f"{ctx.name} must return {ctx.result.type}", place=node.place)
    given: ir.Expression = yield value(ctx, node.value, ctx.result.type, f"the result of {ctx.name}")
    target = ir.VariableRef(ctx.result, ctx.result.type, place=node.place)
    return ir.Block((ir.Assign(target, given, place=node.place), ir.Return(place=node.place)), place=node.place)


def declare_constant(ctx: Context, node: s.Constant) -> Walk[None]:
    """Check a constant's declaration and add it to the scope.

    P4Error if the value is not constant or has another type.
    """
    kind: Type = yield type_of(ctx, node.type)
    known: ir.Expression = yield constant(ctx, node.value, kind, f"the value of {node.name}")
    ctx.scope.declare(node.name, Constant(known), node.place)


def _declare_variable(ctx: Context, node: s.Variable) -> Walk[ir.Statement | None]:
    """Check a variable declaration and add it to the scope."""
    kind: Type = yield type_of(ctx, node.type)
    if has_integer(kind):
        hint = "Give it a width, such as bit<32>, or make it a const."
        raise P4Error("a variable cannot be an int without a width", place=node.place, hint=hint)
    if isinstance(kind, ExternType | ListType) or kind == VOID or has_string(kind):
        raise P4Error(f"a variable cannot be of type {kind}", place=node.place)
    initial: ir.Expression | None = None
    if node.value is not None:
        initial = yield value(ctx, node.value, kind, f"the value of {node.name}")
    hidden = ctx.scope.find(node.name)
    if ctx.depth and isinstance(hidden, Local) and hidden.parameter:
        raise P4Error(f"{node.name} would hide the parameter of that name", place=node.place)
    variable = ir.Variable(node.name, kind, node.place)
    ctx.scope.declare(node.name, Local(variable), node.place)
    return ir.Declare(variable, initial, place=node.place)


def _assign(ctx: Context, node: s.Assign) -> Walk[ir.Statement | None]:
    target: ir.Expression = yield lvalue(ctx, node.target)
    if not isinstance(target, ir.VariableRef | ir.Member | ir.Index | ir.Slice | ir.Next | ir.Last):
        raise P4Error("this cannot be written", place=node.target.place)
    what = f"the value of {_text(node.target)}"
    right: ir.Expression
    if node.operator:
        yield probe(ctx, node.target)  # a compound assignment also reads its target
        target = pinned(ctx, target)
        whole = s.Binary(node.place, node.operator, node.target, node.value)
        left, right = yield in_order(ctx, [expression(ctx, node.value)], checked=[target])
        right = coerce(combined(ctx, whole, left, right), target.type, what, ctx.state)
        return ir.Assign(target, right, place=node.place)
    target, right = yield in_order(ctx, [value(ctx, node.value, target.type, what)], {0}, [target])
    return ir.Assign(target, right, place=node.place)


def _switch(ctx: Context, node: s.Switch) -> Walk[ir.Statement | None]:
    if ctx.kind not in ("control", "action", "function"):
        raise P4Error(f"a {ctx.kind} cannot contain a switch", place=node.place, hint="Use a select expression.")
    if ctx.kind == "action":
        ctx.state.warn("p4c takes no switch in an action for BMv2", node.place, "The embedded switch runs it.")
    subject: ir.Table | ir.Expression
    table = None
    if isinstance(node.subject, s.Member) and node.subject.member == "action_run":
        table = applied_table(ctx, node.subject.base)
    if table is not None:
        may_apply(ctx, node.place)
        subject = table
    else:
        number: ir.Expression = yield expression(ctx, node.subject)
        if not isinstance(number.type, Bits | EnumType) and str(number.type) != "error":
            raise P4Error(f"switch takes action_run, a number or an enum, not {number.type}", place=node.place)
        subject = number
        if "exact" not in ctx.state.match_kinds:
            hint = "It is the match kind of the labels, and core.p4 declares it."
            raise P4Error("a switch on a value needs the match kind exact", place=node.place, hint=hint)
    cases: list[ir.Case] = []
    labels: list[ir.Expression | ir.Action] = []
    seen: set[object] = set()
    default = False
    for position, case in enumerate(node.cases):
        if case.label is None:
            if position != len(node.cases) - 1:
                raise P4Error("default must be the last label", place=case.place)
            default = True
        else:
            label = yield _label(ctx, case.label, subject)
            key = label.value if isinstance(label, ir.Literal) else label
            if key in seen:
                raise P4Error("duplicate label", place=case.place)
            seen.add(key)
            labels.append(label)
        if case.block is None and position != len(node.cases) - 1:
            continue
        body = ir.Block((), place=case.place) if case.block is None else (yield block(ctx, case.block))
        cases.append(ir.Case(() if default else tuple(labels), body))
        labels = []
    return ir.Switch(subject, tuple(cases), place=node.place)


def _label(ctx: Context, node: s.Expression, subject: ir.Table | ir.Expression) -> Walk[ir.Expression | ir.Action]:
    if isinstance(subject, ir.Table):
        actions = {each.action for each in subject.actions}
        if isinstance(node, s.Name):
            entity = ctx.scope.lookup(node.name, node.top, node.place)
            if isinstance(entity, ir.Action) and entity in actions:
                return entity
        hint = "Its actions are " + ", ".join(each.action.name for each in subject.actions) + "."
        raise P4Error(f"{_text(node)} is not an action of {subject.name}", place=node.place, hint=hint)
    known: ir.Expression = yield constant(ctx, node, subject.type, "a label")
    return known


def _unwrapped(block: ir.Block) -> ir.Statement:
    """Return the only statement of a block if that is itself a block, and otherwise the block."""
    if len(block.body) == 1 and isinstance(block.body[0], ir.Block):
        return block.body[0]
    return block


def _text(node: s.Expression) -> str:
    """Return an lvalue or name as in the source, for messages."""
    parts: list[str] = []
    inner = node
    while True:
        match inner:
            case s.Name(name=name):
                return "".join([name, *reversed(parts)])
            case s.Member(base=base, member=member):
                parts.append(f".{member}")
            case s.Index(base=base):
                parts.append("[...]")
            case s.Slice(base=base):
                parts.append("[...:...]")
            case _:
                start = inner.place.column - 1
                return "".join([inner.place.text[start : start + inner.place.length], *reversed(parts)])
        inner = base
