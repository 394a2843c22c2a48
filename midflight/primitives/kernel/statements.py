"""Compiles statements: assignments, branches, loops and calls."""

from __future__ import annotations

import ast
from dataclasses import replace

from midflight.errors import KernelError
from midflight.primitives.kernel import accesses, searches
from midflight.primitives.kernel.coercion import condition, fit, no_width, number
from midflight.primitives.kernel.context import Context, FollowOnError
from midflight.primitives.kernel.flow import Known, Scope
from midflight.primitives.kernel.helpers import compile_return
from midflight.primitives.kernel.loops import rounds, values_of_loop
from midflight.primitives.kernel.matches import lowered_match
from midflight.primitives.kernel.outputs import packet_call
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.returns import always_returns
from midflight.primitives.kernel.source import as_load
from midflight.primitives.kernel.state import State
from midflight.primitives.kernel.struct import Group, Items
from midflight.primitives.kernel.typed import (
    Assign,
    Choose,
    EpochRef,
    Expr,
    FieldRef,
    ForwardedRef,
    If,
    NowRef,
    Return,
    RoundRef,
    SequenceRef,
    Statement,
    Truth,
    Unrolled,
    expressions,
)
from midflight.primitives.kernel.types import Kind, bit, int_
from midflight.primitives.kernel.values import PACKET, POISON, WIRE, LaneField, Untyped, Value, bare
from midflight.stackless import Walk

__all__ = ["block"]

MAX_SIZE = 1 << 16
"""The maximum number of terms of an expression. P4 repeats shared parts that Python computes once."""

_ALTERNATIVES: dict[type[ast.stmt], tuple[str, str]] = {
    ast.While: ("`while`", "write `for lane in range(4):`, or continue in another round: `packet.recirculate()`"),
    ast.Try: ("`try`", "test the condition with `if`; a kernel raises no exceptions"),
    ast.Raise: ("`raise`", "report to the controller with `packet.alert(...)`, and `packet.drop()`"),
    ast.Assert: ("`assert`", "test with `if` and `packet.drop()`"),
    ast.With: ("`with`", "write the statements without it"),
    ast.FunctionDef: (
        "functions inside a kernel",
        "define it at the top of the file or as a method",
    ),
    ast.ClassDef: ("classes inside a kernel", "declare headers beside the kernel: `class Wire(Header):`"),
    ast.Import: ("`import`", "import at the top of the file"),
    ast.ImportFrom: ("`import`", "import at the top of the file"),
    ast.Break: ("`break`", "put the rest of the loop under an `if`"),
    ast.Continue: ("`continue`", "put the rest of the loop under an `if`"),
    ast.Delete: ("`del`", "remove it: variables end with the packet"),
    ast.AsyncFunctionDef: ("`async`", "a kernel runs once for each packet, from top to bottom"),
    ast.AsyncFor: ("`async`", "a kernel runs once for each packet, from top to bottom"),
    ast.AsyncWith: ("`async`", "a kernel runs once for each packet, from top to bottom"),
    ast.AnnAssign: ("declarations without a value", "assign one: `count: int = wire.value`"),
    ast.Global: ("`global`", "keep state in a Register created in setup"),
    ast.Nonlocal: ("`nonlocal`", "keep state in a Register created in setup"),
}


def block(code: Context, nodes: list[ast.stmt]) -> Walk[tuple[Statement, ...]]:
    """Compile a list of statements and return their typed form.

    A mistake in one is recorded in the context, and compilation continues with the next, so that one run reports all
    mistakes. Nothing is raised. Statements that are never reached, behind a `return`, are a mistake.
    """
    done: list[Statement] = []
    for place, node in enumerate(nodes):
        if code.scope.ended:
            if always_returns(nodes[:place]):
                code.report(code.error(node, "this line is never reached", "remove it, or the `return` before it"))
            break  # Or a parameter decides that the kernel has returned.
        try:
            compiled: list[Statement] = yield _statement(code, node)
            for each in compiled:
                if any(part.size > MAX_SIZE for part in expressions(each)):
                    message = f"in P4, this expression has more than {MAX_SIZE} terms"
                    raise code.error(node, message, "assign parts of it to variables")
            done += compiled
        except KernelError as error:
            code.report(error)
            _poison(code, node)
    return tuple(done)


def _poison(code: Context, node: ast.stmt) -> None:
    """Mark the variables that a statement with a mistake assigns, to avoid follow-on errors."""
    code.flush()
    for each in ast.walk(node):
        match each:
            case ast.Name(id=name, ctx=ast.Store()):
                code.scope.names[name] = POISON
                code.scope.unset.pop(name, None)
            case ast.Attribute(attr="get"):
                searches.poison(code)
    code.scope.ended = isinstance(node, ast.Return)


def _statement(code: Context, node: ast.stmt) -> Walk[list[Statement]]:
    """Compile one statement."""
    match node:
        case ast.Assign(targets=[target]):
            return (yield from _assign(code, node, target, node.value))
        case ast.AnnAssign(annotation=ast.Name(id="float" | "str" | "list" | "dict" as kind)):
            raise code.error(
                node, f"a kernel has no variables of type {kind}", "write `: int`, or remove the annotation"
            )
        case ast.AnnAssign(target=target, annotation=annotation, value=ast.expr() as value):
            declared = yield from _annotated(code, annotation)
            return (yield from _assign(code, node, target, value, declared))
        case ast.AugAssign():
            load = ast.copy_location(as_load(node.target), node.target)
            value = ast.copy_location(ast.BinOp(load, node.op, node.value), node)
            return (yield from _assign(code, node, node.target, value))
        case ast.Expr(value=ast.Constant(value=str())) | ast.Pass():
            return []
        case ast.Expr(value=ast.Call() as call):
            return (yield from _call(code, node, call))
        case ast.If():
            return (yield from _branch(code, node))
        case ast.For():
            return (yield from _loop(code, node))
        case ast.Match():
            cases: tuple[Statement, ...] = yield code.block(lowered_match(node, code.frame, code.variables.kinds))
            return [*cases]
        case ast.Return() if code.in_helper:
            return (yield from compile_return(code, node))
        case ast.Return(value=None):
            code.scope.ended = True
            return [Return(code.source.line(node))]
        case ast.Return():
            raise code.error(node, "a kernel returns no value", "decide with a verdict, such as `packet.forward()`")
        case ast.Assign():
            raise code.error(node, "a kernel assigns one variable at a time", "write one assignment per variable")
        case ast.Expr(value=ast.Yield() | ast.YieldFrom() | ast.Await() | ast.NamedExpr() as value):
            yield code.value(value)
        case ast.Expr(value=ast.Attribute() as value):
            text = code.text(value)
            raise code.error(node, "this line has no effect", f"call it, `{text}()`, or remove the line")
        case ast.Expr():
            raise code.error(node, "this line has no effect", "assign the value, or remove the line")
    what, instead = _ALTERNATIVES.get(type(node), (f"`{type(node).__name__.lower()}`", "see the kernel language"))
    raise code.error(node, f"the kernel language does not support {what}", instead)


def _annotated(code: Context, annotation: ast.expr) -> Walk[Kind | None]:
    """Return the type that an annotation such as `bit[8]` gives to a variable; None for `int` and other annotations."""
    match annotation:
        case ast.Subscript(value=ast.Name(id=name)) if code.outer.get(name) in (bit, int_):
            found: Value = yield code.value(annotation)
        case ast.Name(id=name) if isinstance(code.outer.get(name), Kind):
            found = Known(code.outer[name])
        case _:
            return None
    return found.value if isinstance(found, Known) and isinstance(found.value, Kind) else None


def _assign(
    code: Context, node: ast.stmt, target: ast.expr, value_node: ast.expr, declared: Kind | None = None
) -> Walk[list[Statement]]:
    """Compile an assignment to a variable, a field or a lane. `declared` is the type in the annotation, or None."""
    line = code.source.line(node)
    if isinstance(target, ast.Name):
        return (yield from _assign_name(code, node, target, value_node, declared))
    if isinstance(target, ast.Tuple):
        raise code.error(node, "a kernel assigns one variable at a time", "write one assignment per variable")
    if isinstance(target, ast.Attribute):
        holder: Value = yield code.value(target.value)
        if _foreign(holder):
            raise _fixed(code, target)
    place: Value = yield code.value(as_load(target))
    if isinstance(place, Choose) and isinstance(place.yes, FieldRef):
        place = place.yes  # An item that may be absent; it then ignores the write.
    if isinstance(place, (SequenceRef, EpochRef, NowRef, RoundRef, ForwardedRef)):
        raise code.error(target, "a kernel cannot assign this", "use a header field")
    if isinstance(place, Known) and isinstance(place.value, LaneField):
        name = code.text(target)
        raise code.error(target, f"`{name}` is an array", f"assign each lane: `{name}[lane] = ...`")
    if isinstance(place, Known) and isinstance(place.value, (Group, Items, tuple)):
        name = code.text(target)
        raise code.error(target, f"`{name}` is a nested header", f"assign its fields: `{name}.x = ...`")
    if not isinstance(place, FieldRef):
        raise _fixed(code, target)
    items = code.layout.items
    if items is not None and place.name == items.counted.name:
        raise code.error(
            target, f"`{code.text(target)}` is the number of {items.name}", "a kernel cannot add or remove items"
        )
    code.whole = value_node
    found = yield from number(code, value_node, place.kind, f"`{code.text(target)}`")
    code.scope.assign(place, None)
    return [*code.flush(), Assign(place, found, line)]


def _fixed(code: Context, target: ast.expr) -> KernelError:
    """Return the error that a kernel cannot assign something."""
    return code.error(
        target,
        f"`{code.text(target)}` cannot be assigned in a kernel",
        "keep state in a register: `self.count.update(index, lambda old: ...)`",
    )


def _foreign(value: Value) -> bool:
    """Return whether a value is an object other than the packet, the header or a part of it."""
    return isinstance(value, Known) and not (
        value.value is PACKET or value.value is WIRE or isinstance(value.value, (Group, Items, LaneField, tuple))
    )


def _assign_name(
    code: Context, node: ast.stmt, target: ast.Name, value_node: ast.expr, declared: Kind | None
) -> Walk[list[Statement]]:
    """Compile an assignment to a variable. A register access or search writes to it directly."""
    line = code.source.line(node)
    state = yield from _accessed(code, value_node)
    if state is not None and declared in (None, state.kind):
        assert isinstance(value_node, ast.Call)
        if isinstance(state, Register):
            return (yield from accesses.assigned(code, target, value_node, state, line))
        return (yield from searches.assigned(code, target, value_node, state, line))
    code.whole = value_node
    value: Value = yield code.value(value_node)
    if value == Known(None):
        text = code.text(value_node)
        raise code.error(value_node, f"`{text}` returns no value", "end the helper with `return` and a value")
    return [*code.flush(), *_keep(code, node, target, value, value_node, declared)]


def _accessed(code: Context, node: ast.expr) -> Walk[State | None]:
    """Return the state that an expression accesses if the expression is an access and nothing else, or None."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    base: Value = yield code.value(node.func.value)
    return base.value if isinstance(base, Known) and isinstance(base.value, State) else None


def _keep(
    code: Context, node: ast.stmt, target: ast.Name, value: Value, value_node: ast.expr, declared: Kind | None
) -> list[Statement]:
    """Assign a compiled value to a variable. A constant stays one if it is the only assignment to the variable."""
    name, frame, scope = target.id, code.frame, code.scope
    if name in frame.fixed:
        raise code.error(node, f"the name `{name}` is taken", "choose another name")
    # A constant takes its width from the annotation, or from what the variable has held before.
    kind = declared or (frame.kinds.get(name) if isinstance(value, (Known, Untyped)) else None)
    if isinstance(value, Known) and isinstance(value.value, bool) and declared is None:
        if frame.assignments[name] == 1:
            return _known(scope, name, value)
        value = Truth(value.value)
    elif isinstance(value, Known) and frame.assignments[name] == 1:
        return _known(scope, name, value if kind is None else fit(code, value, kind, value_node, f"`{name}`"))
    elif kind is not None:
        value = fit(code, value, kind, value_node, f"`{name}`")
    if isinstance(value, (Known, Untyped)):
        if scope.names.get(name) == POISON:
            raise FollowOnError(name)
        raise no_width(code, value_node)
    local = replace(code.local(name, value.kind), bare=bare(value))
    limit = scope.limit(value)
    code.declare(node, name, local, code.source.line(node))
    if limit is not None:
        scope.bounds[local] = limit
    return [Assign(local, value, code.source.line(node))]


def _known(scope: Scope, name: str, value: Known | Expr) -> list[Statement]:
    """Bind a name to a constant."""
    scope.names[name] = value
    scope.unset.pop(name, None)
    return []


def _branch(code: Context, node: ast.If) -> Walk[list[Statement]]:
    """Compile an `if`, and merge the scopes after its sides."""
    line = code.source.line(node)
    test: Expr
    try:
        test = yield from condition(code, node.test)
    except KernelError as error:
        code.report(error)
        test = ForwardedRef()  # Any condition that is not constant, so that both sides are checked.
    before = code.flush()
    if isinstance(test, Truth):
        # A parameter decides: only that side becomes part of the program.
        taken: tuple[Statement, ...] = yield code.block(node.body if test.value else node.orelse)
        return [*before, *taken]
    start = code.scope
    sides: list[tuple[Statement, ...]] = []
    ends: list[Scope] = []
    for body, holds in ((node.body, True), (node.orelse, False)):
        code.scope = start.copy()
        code.scope.assume(test, holds)
        sides.append((yield code.block(body)))
        ends.append(code.scope)
    code.scope = start
    start.join(ends, line)
    return [*before, If(test, sides[0], sides[1], line)]


def _loop(code: Context, node: ast.For) -> Walk[list[Statement]]:
    """Compile a `for` over a range by unrolling it."""
    values = yield from values_of_loop(code, node)
    done: list[tuple[int, tuple[Statement, ...]]] = []
    for value in rounds(code, node, values):
        done.append((value, (yield code.block(node.body))))
    if values is None:
        raise FollowOnError("a loop's header")
    assert isinstance(node.target, ast.Name)
    return [Unrolled(node.target.id, tuple(done), code.source.line(node))] if done else []


def _call(code: Context, node: ast.stmt, call: ast.Call) -> Walk[list[Statement]]:
    """Compile a call that is a statement."""
    line = code.source.line(node)
    if isinstance(call.func, ast.Attribute):
        base: Value = yield code.value(call.func.value)
        if isinstance(base, Known) and base.value is PACKET:
            return (yield from packet_call(code, call, call.func.attr, line))
        if isinstance(base, Known) and isinstance(base.value, Register):
            access = yield from accesses.compile_access(code, call, base.value, call.func.attr, None)
            return [*code.flush(), access]
    code.whole = call
    if (yield code.value(call)) == Known(None):
        return code.flush()
    raise code.error(node, "the value of this call is not used", "assign it, or remove the line")
