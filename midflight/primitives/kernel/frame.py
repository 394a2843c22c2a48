"""Frames: one function under analysis, the kernel itself or a helper that is written out where it is called."""

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
    """What one `return` of a helper gives: the value, its text, and what the value is surely less than."""

    value: Value
    node: ast.expr
    limit: int | None


@dataclass(slots=True)
class Frame:
    """One function: its text, what it finds outside itself, and its variables by their names in Python."""

    function: Callable[..., Any]
    source: Source
    node: ast.FunctionDef
    outer: Mapping[str, Any]
    path: tuple[int, ...]
    """The calls that lead here; none for the kernel itself."""
    assignments: dict[str, int]
    """How often each name is assigned in the text."""
    fixed: set[str] = field(default_factory=set)
    """Names that cannot be assigned: the packet, the header, and the variables of the loops around."""
    kinds: dict[str, Kind | None] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    """Where each variable got its first value."""
    results: list[Result] = field(default_factory=list)
    """What a helper's `return`s give, in order of the text."""
    ends: list[Scope] = field(default_factory=list)
    """What holds at a helper's `return`s."""

    @property
    def parameters(self) -> list[str]:
        """The names of the function's parameters."""
        arguments = self.node.args
        return [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]

    def fresh(self, name: str, others: Iterable[str] = ()) -> str:
        """Return a name for one more variable, which will be assigned once: like `name`, none of `others`."""
        taken = {*self.assignments, *self.parameters, *others}
        names = (name if not number else f"{name}_{number}" for number in itertools.count())
        found = next(each for each in names if each not in taken)
        self.assignments[found] = 1
        return found


def frame_of(function: Callable[..., Any], instance: object, path: tuple[int, ...] = ()) -> Frame:
    """Read a function's source; `instance` is what `super()` is about."""
    source, node = source_of(function)
    outer = vars(builtins) | inspect.unwrap(function).__globals__ | dict(inspect.getclosurevars(function).nonlocals)
    return Frame(function, source, node, outer | {"__self__": instance}, path, _count_assignments(node))


def _count_assignments(function: ast.FunctionDef) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            counts[node.id] = counts.get(node.id, 0) + 1
    return counts
