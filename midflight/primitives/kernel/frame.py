"""Frames: one function under compilation, either the kernel itself or one call of a helper."""

from __future__ import annotations

import ast
import builtins
import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from midflight.primitives.kernel.flow import Scope
from midflight.primitives.kernel.source import Source, source_of
from midflight.primitives.kernel.types import Kind
from midflight.primitives.kernel.values import Value

__all__ = ["Frame", "Result", "frame_of"]


@dataclass(frozen=True, slots=True)
class Result:
    """One `return` of a helper: the returned value and its syntax node.

    `limit` is an exclusive upper bound of the value, or None if there is none.
    """

    value: Value
    node: ast.expr
    limit: int | None


@dataclass(slots=True)
class Frame:
    """One function under compilation: its source, the names outside it, and its variables by their names in Python.

    `kinds` has the type of each variable that has had a value; None is a condition.
    """

    function: Callable[..., Any]
    source: Source
    node: ast.FunctionDef
    outer: Mapping[str, Any]
    path: tuple[int, ...]
    """The ids of the calls that lead here; empty for the kernel itself."""
    assignments: dict[str, int]
    """The number of assignments to each name in the source."""
    fixed: set[str] = field(default_factory=set)
    """Names that cannot be assigned: the packet, the header, and variables of enclosing loops."""
    kinds: dict[str, Kind | None] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    """The line of each variable's first assignment."""
    results: list[Result] = field(default_factory=list)
    """The results of a helper's `return`s, in source order."""
    ends: list[Scope] = field(default_factory=list)
    """The scopes at a helper's `return`s."""

    @property
    def parameters(self) -> list[str]:
        """The names of the function's parameters in order, without `*args` and `**kwargs`."""
        arguments = self.node.args
        return [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]

    def fresh(self, name: str, others: Iterable[str] = ()) -> str:
        """Reserve an unused name for a variable that is assigned once, and return it: `name`, or `name` with a number.

        Names in `others` are avoided too.
        """
        taken = {*self.assignments, *self.parameters, *others}
        names = (name if not number else f"{name}_{number}" for number in itertools.count())
        found = next(each for each in names if each not in taken)
        self.assignments[found] = 1
        return found


def frame_of(function: Callable[..., Any], instance: object, path: tuple[int, ...] = ()) -> Frame:
    """Parse a function's source into a frame. `instance` is the object that `super()` refers to in it.

    `path` has the ids of the calls that lead to the function, empty for the kernel. Raises KernelError if Python does
    not have the source or cannot parse it.
    """
    source, node = source_of(function)
    outer = vars(builtins) | inspect.unwrap(function).__globals__ | dict(inspect.getclosurevars(function).nonlocals)
    return Frame(function, source, node, outer | {"__self__": instance}, path, _count_assignments(node))


def _count_assignments(function: ast.FunctionDef) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            counts[node.id] = counts.get(node.id, 0) + 1
    return counts
