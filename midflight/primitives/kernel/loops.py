"""Loops over a range, which are written out round by round."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from midflight.errors import KernelError
from midflight.primitives.kernel.context import Context
from midflight.primitives.kernel.demands import constant
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.returns import leaves
from midflight.primitives.kernel.values import SPOILT
from midflight.stackless import Walk

__all__ = ["rounds", "values_of_loop"]

MAX_ROUNDS = 1024


def values_of_loop(code: Context, node: ast.For) -> Walk[range | None]:
    """Check a loop's header and return the values of its variable; None where that has a mistake, which is told."""
    try:
        return (yield from _checked(code, node))
    except KernelError as error:
        code.tell(error)
        return None


def rounds(code: Context, node: ast.For, values: range | None) -> Iterator[int]:
    """Give a loop's variable one value after the other; where they are not known one that spoils what it touches."""
    if not isinstance(node.target, ast.Name):
        return
    name, fixed = node.target.id, code.frame.fixed
    had = name in fixed
    fixed.add(name)
    try:
        for value in range(1) if values is None else values:
            if code.scope.ended and leaves(node.body):
                raise code.error(node, "every round but the first is never reached", "remove the loop")
            if code.scope.ended:
                break
            code.scope.names[name] = SPOILT if values is None else Known(value)
            yield value
    finally:
        if not had:
            fixed.discard(name)


def _checked(code: Context, node: ast.For) -> Walk[range]:
    if node.orelse:
        raise code.error(node, "the kernel language has no `else` of a loop", "write it after the loop")
    call = node.iter
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"):
        raise code.error(call, "a loop runs over a range", "write `for lane in range(self.lanes):`")
    if not isinstance(node.target, ast.Name):
        raise code.error(node.target, "a loop has one variable", "write `for lane in range(...):`")
    if not 1 <= len(call.args) <= 3 or call.keywords:
        raise code.error(call, "`range` takes one to three numbers", "write `for lane in range(self.lanes):`")
    test = f"loop to the most there can be, and test inside: `if lane < {code.text(call.args[-1])}:`"
    bounds = []
    for each in call.args:
        bounds.append((yield from constant(code, each, "a loop's bound", test)))
    if len(bounds) == 3 and bounds[2] == 0:
        raise code.error(call, "the step of a range cannot be 0", "leave it out")
    values = range(*bounds)
    if len(values) > MAX_ROUNDS:
        raise code.error(
            call, f"{len(values)} rounds; at most {MAX_ROUNDS} fit into a program", "make the range shorter"
        )
    name = node.target.id
    if name in code.frame.kinds or name in code.frame.fixed:
        raise code.error(node.target, f"`{name}` is taken", "choose another name")
    return values
