"""What the rules of statements share: the names that are taken, the accesses that have to come first, the text."""

from __future__ import annotations

import ast
import builtins
import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from midflight.primitives.kernel.expressions import Expressions
from midflight.primitives.kernel.flow import Known, Scope
from midflight.primitives.kernel.header import Layout
from midflight.primitives.kernel.packet import Verdict
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.source import Source
from midflight.primitives.kernel.state import State
from midflight.primitives.kernel.typed import Expr, Local, Statement
from midflight.primitives.kernel.types import Kind
from midflight.primitives.kernel.values import PACKET, WIRE

__all__ = ["Body"]


class Body:
    """A kernel's body under analysis. Its subclasses add the rules of accesses, outputs and statements."""

    def __init__(
        self,
        source: Source,
        node: ast.FunctionDef,
        function: Callable[..., Any],
        instance: object,
        layout: Layout,
        state: Mapping[str, State],
    ) -> None:
        self.source = source
        self.node = node
        outer = vars(builtins) | inspect.unwrap(function).__globals__ | dict(inspect.getclosurevars(function).nonlocals)
        self.expressions = Expressions(source, layout, outer, self)
        self.layout = layout
        self.locals: dict[str, Kind | None] = {}
        self.lines: dict[str, int] = {}
        self.before: list[Statement] = []
        """What the expression at hand needs done first: register accesses, checksums."""
        self.arrays: dict[int, tuple[str, int | None]] = {}
        self.verdicts: set[Verdict] = set()
        self.tables: dict[int, str] = {}
        self.searched: dict[str, int] = {}
        """The tables that are searched so far, with the line of the search."""
        for name, each in state.items():
            if isinstance(each, Register):
                self.arrays[id(each)] = (name, None)
                for lane in range(each.lanes or 0):
                    self.arrays[id(each[lane])] = (name, lane)
            else:
                self.tables[id(each)] = name
        names = [each.arg for each in node.args.args]
        if len(names) != 3 or node.args.kwonlyargs or node.args.vararg or node.args.kwarg:
            raise source.error(node, "a kernel takes self, packet and wire", "write `def ingress(self, packet, wire):`")
        for name, value in zip(names, (instance, PACKET, WIRE), strict=True):
            self.scope.names[name] = Known(value)
        self.fixed = {*names}
        """Names that cannot be assigned: the kernel's parameters and the variables of the loops around."""
        self.assignments = _count_assignments(node)

    @property
    def scope(self) -> Scope:
        """What is known at this point."""
        return self.expressions.scope

    def access(self, node: ast.Call | ast.Attribute, state: State, method: str) -> Expr:
        """Take an access to the state inside an expression."""
        raise NotImplementedError

    def ahead(self, statement: Statement) -> None:
        """Put a statement before the one at hand."""
        self.before.append(statement)

    def fresh(self, name: str, kind: Kind | None) -> Local:
        """Return a new variable, called `name` or much like it."""
        names = (name if not number else f"{name}_{number}" for number in itertools.count())
        local = Local(next(each for each in names if each not in self.locals and each not in self.assignments), kind)
        self.locals[local.name] = kind
        return local

    def flush(self) -> list[Statement]:
        """Return the statements that must come before the one at hand."""
        done, self.before = self.before, []
        return done

    def declare(self, node: ast.AST, local: Local, line: int) -> None:
        """Note that a local variable has a value from here on; its kind never changes."""
        name = local.name
        if name in self.fixed:
            raise self.source.error(node, f"`{name}` is taken", "choose another name")
        if name in self.locals and self.locals[name] != local.kind:
            raise self.source.error(
                node,
                f"`{name}` is {_kind_name(self.locals[name])} since line {self.lines[name]}, "
                f"here it would become {_kind_name(local.kind)}",
                "use another name, or convert the value",
            )
        self.locals.setdefault(name, local.kind)
        self.lines.setdefault(name, line)
        self.scope.assign(local, local)


def _count_assignments(function: ast.FunctionDef) -> dict[str, int]:
    """Count how often each name is assigned in the text of a kernel."""
    counts: dict[str, int] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            counts[node.id] = counts.get(node.id, 0) + 1
    return counts


def _kind_name(kind: Kind | None) -> str:
    return "a condition" if kind is None else str(kind)
