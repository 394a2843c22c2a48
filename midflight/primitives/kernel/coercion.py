"""Converts the value of an expression to what its context requires: a number of a type, a condition or a constant."""

from __future__ import annotations

import ast

from midflight.errors import KernelError
from midflight.primitives.kernel.context import Context
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.typed import Const, Expr, Truth
from midflight.primitives.kernel.types import Kind
from midflight.primitives.kernel.values import Untyped, Value, chosen
from midflight.stackless import Walk

__all__ = ["condition", "condition_of", "constant", "fit", "no_width", "not_a_number", "number", "sized"]


def number(code: Context, node: ast.expr, kind: Kind | None = None, what: str = "this value") -> Walk[Expr]:
    """Compile `node` and return it as a number: of type `kind`, or for None of its own type.

    A constant without a width takes `kind` if it fits. `what` names the value in errors. Raises KernelError for a
    condition or another object, a number of another type, a constant that does not fit, or, if `kind` is None, a
    constant without a width.
    """
    value: Value = yield code.value(node)
    return sized(code, value, node) if kind is None else fit(code, value, kind, node, what)


def sized(code: Context, value: Value, node: ast.expr) -> Expr:
    """Return `value`, the compiled expression `node`, as a number that has a width of its own.

    Raises KernelError for a constant without a width, a condition, or another object.
    """
    if isinstance(value, Known) and (isinstance(value.value, bool) or not isinstance(value.value, int)):
        raise not_a_number(code, node, value.value)
    if isinstance(value, (Known, Untyped)):
        raise no_width(code, node)
    if value.kind is None:
        raise not_a_number(code, node)
    return value


def condition(code: Context, node: ast.expr) -> Walk[Expr]:
    """Compile `node` and return it as a condition (true or false). Raises KernelError if it is anything else."""
    value: Value = yield code.value(node)
    return condition_of(code, value, node)


def condition_of(code: Context, value: Value, node: ast.expr) -> Expr:
    """Return `value`, the compiled expression `node`, as a condition. Raises KernelError if it is anything else."""
    if isinstance(value, Known) and isinstance(value.value, bool):
        return Truth(value.value)
    if isinstance(value, Known) and not isinstance(value.value, int):
        raise code.error(node, f"`{code.text(node)}` is not a condition", "compare numbers: `wire.value > 3`")
    if isinstance(value, (Known, Untyped)) or value.kind is not None:
        text = code.text(node)
        raise code.error(node, f"`{text}` is a number, not a condition", f"write `{text} != 0`")
    return value


def constant(
    code: Context, node: ast.expr, what: str, hint: str = "use a constant, a parameter or a loop's variable"
) -> Walk[int]:
    """Compile `node` and return the integer that it is known to have at compile time.

    Raises KernelError otherwise; `what` names the value in the message, and `hint` says what to do.
    """
    match (yield code.value(node)):
        case Known(value=int(found)) if not isinstance(found, bool):
            return found
        case Const(value=found, solid=False):  # a variable with an annotation, assigned once
            return found
        case _:
            raise code.error(node, f"{what} must be known at compile time", hint)


def fit(code: Context, value: Value, kind: Kind, node: ast.expr, what: str) -> Expr:
    """Return `value`, the compiled expression `node`, as a number of type `kind`.

    Constants without a width take that type. `what` names the value in the error. Raises KernelError for a number of
    another type, a constant that does not fit, or a condition.
    """
    if isinstance(value, Untyped):
        return _choice_of(code, value, kind, node)
    if isinstance(value, Known):
        return _constant_of(code, value, kind, node)
    if value.kind is None:
        raise not_a_number(code, node)
    if value.kind != kind:
        text = code.text(node)
        raise code.error(node, f"{what} is {kind}, but `{text}` is {value.kind}", f"convert it: `{kind}({text})`")
    return value


def _constant_of(code: Context, value: Known, kind: Kind, node: ast.expr) -> Const:
    number = value.value
    if isinstance(number, bool) or not isinstance(number, int):
        raise not_a_number(code, node, number)
    if not kind.holds(number):
        raise code.error(
            node,
            f"{number} does not fit {kind}, which holds {kind.low} to {kind.high}",
            f"use a wider type, or write `{kind}({number})` to keep the low {kind.width} bits",
        )
    return Const(number, kind)


def _choice_of(code: Context, value: Untyped, kind: Kind, node: ast.expr) -> Expr:
    """Give every constant of a choice its width, innermost choices first."""
    done: dict[int, Expr] = {}
    waiting: list[Known | Untyped] = [value]
    while waiting:
        each = waiting[-1]
        if isinstance(each, Known):
            done[id(each)] = _constant_of(code, each, kind, node)
        elif missing := [side for side in (each.no, each.yes) if id(side) not in done]:
            waiting += missing
            continue
        else:
            done[id(each)] = chosen(each.condition, done[id(each.yes)], done[id(each.no)], kind)
        waiting.pop()
    return done[id(value)]


def no_width(code: Context, node: ast.expr, kind: Kind | None = None) -> KernelError:
    """Return the error that the constant `node` has no width here. The caller raises it.

    Its hint suggests the type `kind`, or bit[32] if that is None.
    """
    text, kind = code.text(node), kind or Kind(32)
    fixed = f"{kind}({text})"
    if isinstance(node, ast.IfExp):
        yes, test, no = (code.text(each) for each in (node.body, node.test, node.orelse))
        fixed = f"{kind}({yes}) if {test} else {kind}({no})"
    return code.error(node, f"`{text}` has no width here", f"give it one: `{fixed}`")


def not_a_number(code: Context, node: ast.expr, value: object = None) -> KernelError:
    """Return the error that `node` is not a number. The caller raises it.

    `value` is the Python object that `node` is known to be; None for a condition.
    """
    text = code.text(node)
    if value is None or isinstance(value, bool):
        return code.error(
            node, f"`{text}` is a condition, not a number", f"write `1 if {text} else 0`, or `bit[1]({text})`"
        )
    return code.error(node, f"`{text}` is not a number", "a kernel computes with integers")
