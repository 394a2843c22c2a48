"""What an expression can be asked for: a number of some kind, a condition, a constant; and the errors about those."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from midflight.errors import KernelError
from midflight.primitives.kernel.flow import Known, Scope
from midflight.primitives.kernel.header import Field, Layout
from midflight.primitives.kernel.source import Source
from midflight.primitives.kernel.state import State
from midflight.primitives.kernel.typed import (
    Choose,
    Const,
    Expr,
    Local,
    Statement,
    Truth,
)
from midflight.primitives.kernel.types import Kind

__all__ = ["PACKET", "WIRE", "LaneField", "Surroundings", "Untyped", "Value", "Values", "solid"]


class _Packet:
    """Stands for the kernel's packet."""


class _Wire:
    """Stands for the kernel's header."""


PACKET = _Packet()
WIRE = _Wire()


@dataclass(frozen=True, slots=True)
class LaneField:
    """Stands for a lane array of the header."""

    field: Field


class Surroundings(Protocol):
    """The statements around an expression, as far as it needs something done first."""

    def access(self, node: ast.Call | ast.Attribute, state: State, method: str) -> Expr:
        """Access the state before the statement at hand; return what holds the value."""

    def ahead(self, statement: Statement) -> None:
        """Put a statement before the one at hand."""

    def inline(self, call: ast.Call, function: object) -> Value | None:
        """Return what a call of a user's function gives, Known(None) for nothing; None where it is no such function."""

    def forwarded(self) -> Expr:
        """Return whether the verdict so far is to forward the packet."""

    def fresh(self, name: str, kind: Kind | None) -> Local:
        """Return a new variable, called `name` or much like it."""


@dataclass(frozen=True, slots=True)
class Untyped:
    """A choice between constants, which takes its width from where it is used."""

    condition: Expr
    yes: Known | Untyped
    no: Known | Untyped


Value = Known | Untyped | Expr


def solid(expr: Expr) -> bool:
    """Tell whether an expression has its width also while it runs as Python, where a bare constant has none."""
    match expr:
        case Const(solid=answer):
            return answer
        case Choose(yes=yes, no=no, kind=Kind()):
            return solid(yes) and solid(no)
        case _:
            return True


class Values:
    """The ground of the expressions: the source, the header, the scope, and the demands of the statements."""

    def __init__(
        self,
        source: Source,
        layout: Layout,
        outer: Mapping[str, Any],
        around: Surroundings,
    ) -> None:
        self.source = source
        self.layout = layout
        self.outer = outer
        self.scope = Scope()
        self.around = around
        self.timed = False
        self.rounds = False
        """Whether an expression has asked for the time."""
        self.lazy = 0
        """How deep we are inside something that Python evaluates only sometimes."""

    def value(self, node: ast.expr) -> Value:
        """Return any expression's value."""
        raise NotImplementedError

    def number(self, node: ast.expr, kind: Kind | None = None, what: str = "this value") -> Expr:
        """Return a number; with `kind` given it is of that kind or a constant that fits it."""
        value = self.value(node)
        return self.sized(value, node) if kind is None else self.fit(value, kind, node, what)

    def sized(self, value: Value, node: ast.expr) -> Expr:
        """Return `value`, what `node` gave, as a number that has a width of its own."""
        if isinstance(value, Known) and (isinstance(value.value, bool) or not isinstance(value.value, int)):
            raise self.not_a_number(node, value.value)
        if isinstance(value, (Known, Untyped)):
            raise self.no_width(node)
        if value.kind is None:
            raise self.not_a_number(node)
        return value

    def condition(self, node: ast.expr) -> Expr:
        """Return a condition."""
        return self.condition_of(self.value(node), node)

    def condition_of(self, value: Value, node: ast.expr) -> Expr:
        """Return `value` as a condition, or raise because it is a number."""
        if isinstance(value, Known) and isinstance(value.value, bool):
            return Truth(value.value)
        if isinstance(value, (Known, Untyped)) or value.kind is not None:
            text = self.source.text(node)
            raise self.source.error(node, f"`{text}` is a number, not a condition", f"write `{text} != 0`")
        return value

    def constant(
        self, node: ast.expr, what: str, hint: str = "use a constant, a parameter or a loop's variable"
    ) -> int:
        """Return a whole number that is known when the kernel is compiled."""
        value = self.value(node)
        if isinstance(value, Known) and isinstance(value.value, int) and not isinstance(value.value, bool):
            return value.value
        raise self.source.error(
            node,
            f"{what} must be known when the kernel is compiled",
            hint,
        )

    def fit(self, value: Value, kind: Kind, node: ast.expr, what: str) -> Expr:
        """Return `value` as a number of `kind`, or raise because it is something else."""
        if isinstance(value, Untyped):
            yes, no = self.fit(value.yes, kind, node, what), self.fit(value.no, kind, node, what)
            return Choose(value.condition, yes, no, kind)
        if isinstance(value, Known):
            if isinstance(value.value, bool) or not isinstance(value.value, int):
                raise self.not_a_number(node, value.value)
            if not kind.holds(value.value):
                raise self.source.error(
                    node,
                    f"{value.value} does not fit {kind}, which holds {kind.low} to {kind.high}",
                    f"use a wider type, or write `{kind}({value.value})` to keep the low {kind.width} bits",
                )
            return Const(value.value, kind)
        if value.kind is None:
            raise self.not_a_number(node)
        if value.kind != kind:
            text = self.source.text(node)
            raise self.source.error(
                node, f"{what} is {kind}, but `{text}` is {value.kind}", f"convert it: `{kind}({text})`"
            )
        return value

    def no_width(self, node: ast.expr, kind: Kind | None = None) -> KernelError:
        """Say that a constant needs a width here; `kind` is the one it would take."""
        text, kind = self.source.text(node), kind or Kind(32)
        fixed = f"{kind}({text})"
        if isinstance(node, ast.IfExp):
            yes, test, no = (ast.unparse(each) for each in (node.body, node.test, node.orelse))
            fixed = f"{kind}({yes}) if {test} else {kind}({no})"
        return self.source.error(node, f"`{text}` has no width here", f"give it one: `{fixed}`")

    def not_a_number(self, node: ast.expr, value: object = None) -> KernelError:
        """Say that a number is needed."""
        text = self.source.text(node)
        if value is None or isinstance(value, bool):
            return self.source.error(
                node, f"`{text}` is a condition, not a number", f"write `1 if {text} else 0`, or `bit[1]({text})`"
            )
        return self.source.error(node, f"`{text}` is not a number", "a kernel computes on whole numbers")
