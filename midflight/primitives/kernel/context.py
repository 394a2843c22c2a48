"""What the checker of a kernel knows while it walks: the function at hand, the scope, and what has been found so far.

The rules are functions that take this context, and generators, so that no depth of a user's code is a limit: see
`midflight.stackless`. Those that are needed everywhere, an expression's value and a block of statements, are called
through the context.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from midflight.errors import KernelError
from midflight.primitives.kernel.flow import Known, Scope
from midflight.primitives.kernel.frame import Frame
from midflight.primitives.kernel.header import Layout
from midflight.primitives.kernel.packet import Verdict
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.source import Line, Source, quoted
from midflight.primitives.kernel.state import State
from midflight.primitives.kernel.typed import Expr, Local, Statement
from midflight.primitives.kernel.types import Kind
from midflight.primitives.kernel.values import Value
from midflight.stackless import Walk

__all__ = ["Context", "Facts", "Names", "Rules", "ToldError", "Variables", "also"]


class ToldError(KernelError):
    """What cannot be checked because of a mistake that has been told."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that all others need."""

    value: Callable[[Context, ast.expr], Walk[Value]]
    block: Callable[[Context, list[ast.stmt]], Walk[tuple[Statement, ...]]]


class Names:
    """What the primitive's registers and tables are called, and which tables have been searched so far."""

    def __init__(self, state: Mapping[str, State]) -> None:
        self.arrays: dict[int, tuple[str, int | None]] = {}
        self.tables: dict[int, str] = {}
        self.searched: dict[str, Line] = {}
        """The tables that are searched so far, with the line of the search."""
        for name, each in state.items():
            if isinstance(each, Register):
                self.arrays[id(each)] = (name, None)
                for lane in range(each.lanes or 0):
                    self.arrays[id(each[lane])] = (name, lane)
            else:
                self.tables[id(each)] = name


class Variables:
    """The variables that the P4 will have."""

    def __init__(self, kernel: Frame) -> None:
        self.kernel = kernel
        self.kinds: dict[str, Kind | None] = {}
        self._renamed: dict[tuple[tuple[int, ...], str], str] = {}
        """What the variables of helpers are called, by the calls that lead there and their own names."""

    def fresh(self, name: str, kind: Kind | None) -> Local:
        """Return a new variable, called `name` or much like it."""
        taken = self.kinds.keys() | self.kernel.assignments.keys()
        names = (name if not number else f"{name}_{number}" for number in itertools.count())
        local = Local(next(each for each in names if each not in taken), kind)
        self.kinds[local.name] = kind
        return local

    def local(self, name: str, kind: Kind | None, frame: Frame) -> Local:
        """Return the variable that a function calls `name`; those of helpers are renamed apart."""
        if frame is self.kernel:
            return Local(name, kind)
        key = (frame.path, name)
        known = self._renamed.get(key)
        if known is None or self.kinds[known] != kind:
            known = self._renamed[key] = self.fresh(name, kind).name
        return Local(known, kind)


@dataclass(slots=True)
class Facts:
    """What a kernel turns out to do."""

    verdicts: set[Verdict] = field(default_factory=set)
    alert: tuple[tuple[str, Kind], ...] = ()
    """The fields of the kernel's alerts, once there is one."""
    timed: bool = False
    """Whether it asks for the time."""
    rounds: bool = False
    """Whether it comes around or asks how often."""
    mirrors: bool = False
    """Whether it sends copies."""


class Context:
    """One kernel under analysis."""

    def __init__(self, frame: Frame, layout: Layout, state: Mapping[str, State], rules: Rules) -> None:
        self._rules = rules
        self.frame = frame
        self.source: Source = frame.source
        self.outer: Mapping[str, Any] = frame.outer
        self.layout = layout
        self.scope = Scope()
        self.names = Names(state)
        self.variables = Variables(frame)
        self.facts = Facts()
        self.errors: list[KernelError] = []
        """The mistakes found so far."""
        self.frames: dict[object, Frame] = {}
        """The functions that have been read."""
        self.callers: tuple[Frame, ...] = ()
        """The functions that the one at hand is written out of."""
        self.whole: ast.expr | None = None
        """The expression that is all that the statement at hand assigns or returns."""
        self.before: list[Statement] = []
        """What the expression at hand needs done first: register accesses, checksums."""
        self.lazy = 0
        """How deep we are inside something that Python evaluates only sometimes."""

    def value(self, node: ast.expr) -> Walk[Value]:
        """Return any expression's value."""
        return self._rules.value(self, node)

    def block(self, nodes: list[ast.stmt]) -> Walk[tuple[Statement, ...]]:
        """Compile statements one after the other."""
        return self._rules.block(self, nodes)

    @property
    def in_helper(self) -> bool:
        """Whether the function at hand is a helper rather than the kernel."""
        return bool(self.callers)

    def error(self, node: ast.AST, message: str, hint: str = "") -> KernelError:
        """Return the error to raise about a node of the function at hand."""
        return self.source.error(node, message, hint)

    def text(self, node: ast.AST) -> str:
        """Return a node as the user wrote it, on one line."""
        return self.source.text(node)

    def tell(self, error: KernelError) -> None:
        """Note a mistake, one for each place: a loop's rounds and a helper's calls would tell the same again."""
        place = error.place
        told = [each.place for each in self.errors]
        where = [(each.file, each.line, each.column) for each in told if each is not None]
        if not isinstance(error, ToldError) and (place is None or (place.file, place.line, place.column) not in where):
            self.errors.append(error)

    def ahead(self, statement: Statement) -> None:
        """Put a statement before the one at hand."""
        self.before.append(statement)

    def flush(self) -> list[Statement]:
        """Return the statements that must come before the one at hand."""
        done, self.before = self.before, []
        return done

    def local(self, name: str, kind: Kind | None) -> Local:
        """Return the variable that the function at hand calls `name`."""
        return self.variables.local(name, kind, self.frame)

    def declare(self, node: ast.AST, name: str, local: Local, line: Line) -> None:
        """Note that a variable, here called `name`, has a value from here on; its kind never changes."""
        frame = self.frame
        if name in frame.fixed:
            raise self.error(node, f"`{name}` is taken", "choose another name")
        if name in frame.kinds and frame.kinds[name] != local.kind:
            raise self.error(
                node,
                f"`{name}` is {_kind_name(frame.kinds[name])} since line {frame.lines[name]}, "
                f"here it would become {_kind_name(local.kind)}",
                "use another name, or convert the value",
            )
        self.variables.kinds[local.name] = local.kind
        frame.kinds[name] = local.kind
        frame.lines.setdefault(name, line)
        self.scope.assign(local, None)
        self.scope.names[name] = local
        self.scope.unset.pop(name, None)

    @contextmanager
    def sometimes(self, scope: Scope) -> Iterator[None]:
        """Compute, in a scope of its own, what Python evaluates only sometimes."""
        outside, self.scope = self.scope, scope
        self.lazy += 1
        try:
            yield
        finally:
            self.lazy -= 1
            self.scope = outside

    @contextmanager
    def reading(self, source: Source, outer: Mapping[str, Any], scope: Scope) -> Iterator[None]:
        """Read another text, with what it finds outside itself, in a scope of its own."""
        kept = self.source, self.outer, self.scope
        self.source, self.outer, self.scope = source, outer, scope
        try:
            yield
        finally:
            self.source, self.outer, self.scope = kept

    @contextmanager
    def entered(self, frame: Frame, names: Mapping[str, Known | Expr]) -> Iterator[None]:
        """Analyse the function of a frame, called by the one at hand, in a scope of its own."""
        outside, caller, whole = self.scope, self.frame, self.whole
        self.callers, self.frame, self.whole = (*self.callers, caller), frame, None
        inside = outside.enter(names)
        try:
            with self.reading(frame.source, frame.outer, inside):
                try:
                    yield
                finally:
                    outside.leave(self.scope)
        finally:
            self.callers, self.frame, self.whole = self.callers[:-1], caller, whole


def also(first: Line, line: Line) -> str:
    """Quote the line that one at hand clashes with, for a hint to follow; nothing where both are one."""
    return quoted(first) if (first, first.file) != (line, line.file) else ""


def _kind_name(kind: Kind | None) -> str:
    return "a condition" if kind is None else str(kind)
