"""Unrolls `for` loops over a range, whose bounds are known at compile time."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from midflight.errors import KernelError
from midflight.primitives.kernel.coercion import constant
from midflight.primitives.kernel.context import Context
from midflight.primitives.kernel.copies import COPIED
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.returns import always_returns
from midflight.primitives.kernel.values import POISON
from midflight.stackless import Walk

__all__ = ["rounds", "values_of_loop"]

MAX_ROUNDS = 1024


def values_of_loop(code: Context, node: ast.For) -> Walk[range | None]:
    """Return the values that a loop's variable takes, as a range; None if the loop's header has a mistake.

    The mistake is recorded in the context and not raised, so that the loop's body is checked as well.
    """
    try:
        return (yield from _checked(code, node))
    except KernelError as error:
        code.report(error)
        return None


def rounds(code: Context, node: ast.For, values: range | None) -> Iterator[int]:
    """Bind a loop's variable to each value in turn and yield it; the caller compiles the body in between.

    For `values` None, after a mistake, bind the variable to POISON (a value whose use is not reported again) and yield
    0 once; yield nothing if the loop's target is not a name. The loop ends early when a round has returned on every
    path. Raises KernelError if the body always returns, so that there is no second round.
    """
    if not isinstance(node.target, ast.Name):
        return
    name, fixed = node.target.id, code.frame.fixed
    had = name in fixed
    fixed.add(name)
    try:
        for value in range(1) if values is None else values:
            if code.scope.ended and always_returns(node.body):
                raise code.error(node, "only the first round is reached", "remove the loop")
            if code.scope.ended:
                break
            code.scope.names[name] = POISON if values is None else Known(value)
            yield value
    finally:
        if not had:
            fixed.discard(name)


def _checked(code: Context, node: ast.For) -> Walk[range]:
    if node.orelse:
        raise code.error(node, "the kernel language does not support `else` after a loop", "write it after the loop")
    call = node.iter
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"):
        raise code.error(call, "a loop iterates over a range", "write `for lane in range(self.lanes):`")
    if not isinstance(node.target, ast.Name):
        raise code.error(node.target, "a loop has one variable", "write `for lane in range(...):`")
    if not 1 <= len(call.args) <= 3 or call.keywords:
        raise code.error(call, "`range` takes one to three numbers", "write `for lane in range(self.lanes):`")
    test = f"loop up to the maximum, and test inside: `if lane < {code.text(call.args[-1])}:`"
    bounds = []
    for each in call.args:
        bounds.append((yield from constant(code, each, "the bound of a loop", test)))
    if len(bounds) == 3 and bounds[2] == 0:
        raise code.error(call, "the step of a range cannot be 0", "remove it")
    values = range(*bounds)
    if len(values) > MAX_ROUNDS:
        raise code.error(call, f"the loop has {len(values)} rounds; the limit is {MAX_ROUNDS}", "shorten the range")
    if not code.copies.take(node.body, len(values)):
        message = f"loops and helpers make this kernel more than {COPIED} nodes of syntax larger"
        raise code.error(call, message, "have fewer rounds, or less in each of them")
    name = node.target.id
    if name in code.frame.kinds or name in code.frame.fixed:
        raise code.error(node.target, f"the name `{name}` is taken", "choose another name")
    return values
