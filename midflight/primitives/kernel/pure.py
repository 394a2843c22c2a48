"""Inlines helpers as a single expression, for calls where no statement can run."""

from __future__ import annotations

import ast

from midflight.primitives.kernel.coercion import condition, no_width
from midflight.primitives.kernel.context import Context, FollowOnError
from midflight.primitives.kernel.flow import Scope
from midflight.primitives.kernel.loops import rounds, values_of_loop
from midflight.primitives.kernel.operators import choice
from midflight.primitives.kernel.source import as_load
from midflight.primitives.kernel.typed import Truth
from midflight.primitives.kernel.values import Untyped, Value
from midflight.stackless import Walk

__all__ = ["Given", "computed"]

Given = tuple[ast.expr, Value]
"""The result of a `return`: the syntax node of the returned expression, and its compiled value."""


def computed(code: Context, body: list[ast.stmt]) -> Walk[Given | None]:
    """Return the result of a helper's body as one expression, with its node; None if the body ends without a `return`.

    Used for helpers that are called in an expression that Python does not always evaluate, such as a register's update.
    The body must be in the form of `returns.tail_duplicated`. Raises KernelError for statements with side effects.
    """
    for node in body:
        match node:
            case ast.Return(value=ast.expr() as value):
                return value, (yield code.value(value))
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                yield from _keep(code, name, value)
            case ast.AugAssign(target=ast.Name(id=name)):
                load = as_load(node.target)
                yield from _keep(code, name, ast.copy_location(ast.BinOp(load, node.op, node.value), node))
            case ast.If():
                result: Given | None = yield _branch(code, node)
                if result is not None:
                    return result
            case ast.For():
                values = yield from values_of_loop(code, node)
                if values is None:
                    raise FollowOnError("a loop's header")
                for _ in rounds(code, node, values):
                    yield computed(code, node.body)
            case ast.Expr(value=ast.Constant(value=str())) | ast.Pass():
                pass
            case _:
                name = code.frame.node.name
                raise code.error(
                    node,
                    "this line has side effects, in an expression that is not evaluated for every packet",
                    f"call `{name}` in a statement of its own: `value = {name}(...)`",
                )
    return None


def _keep(code: Context, name: str, node: ast.expr) -> Walk[None]:
    """Bind a name to an expression."""
    if name in code.frame.fixed:
        raise code.error(node, f"the name `{name}` is taken", "choose another name")
    value: Value = yield code.value(node)
    if isinstance(value, Untyped):
        raise no_width(code, node)
    code.scope.names[name] = value
    code.scope.unset.pop(name, None)


def _branch(code: Context, node: ast.If) -> Walk[Given | None]:
    """Compile an `if`: choose between the results of its sides, or between their values of variables."""
    test = yield from condition(code, node.test)
    if isinstance(test, Truth):
        decided: Given | None = yield computed(code, node.body if test.value else node.orelse)
        return decided
    start = code.scope
    results: list[Given | None] = []
    ends: list[Scope] = []
    try:
        for body, holds in ((node.body, True), (node.orelse, False)):
            code.scope = start.copy()
            code.scope.assume(test, holds)
            results.append((yield computed(code, body)))
            ends.append(code.scope)
    finally:
        code.scope = start
    yes, no = results
    if yes is not None or no is not None:
        if yes is None or no is None:
            return None
        return no[0], choice(code, node.test, test, yes, no)
    for name in [each for each in ends[0].names if each in ends[1].names]:
        one, other = ends[0].names[name], ends[1].names[name]
        if one != other:
            value = choice(code, node.test, test, (node.test, one), (node.test, other))
            if isinstance(value, Untyped):
                raise code.error(
                    node,
                    f"`{name}` has no width after this `if`",
                    f"give its constants one: `{name} = bit[32](...)`",
                )
            start.names[name] = value
    both = ends[0].names.keys() & ends[1].names.keys()
    for name in (*ends[0].names, *ends[1].names):
        if name not in both:
            start.names.pop(name, None)
            start.unset[name] = code.source.line(node)
    return None
