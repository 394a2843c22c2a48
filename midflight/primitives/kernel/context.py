"""The compiler's state while it walks a kernel: the current function, the scope and the results so far.

The rules are functions that take this context. They are generators, so that the depth of a user's code is not limited:
see `midflight.stackless`. All rules call the two for an expression and for a block of statements through the context.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from midflight.errors import KernelError
from midflight.primitives.kernel.copies import Copies
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
from midflight.stackless import Step, Walk

__all__ = ["Context", "Facts", "FollowOnError", "Names", "Rules", "Variables", "also"]


class FollowOnError(KernelError):
    """An error that follows from a mistake that is already reported, and is not reported itself."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that all other rules call: `value` compiles an expression, `block` a list of statements."""

    value: Callable[[Context, ast.expr], Step[Value]]
    block: Callable[[Context, list[ast.stmt]], Walk[tuple[Statement, ...]]]


class Names:
    """The names of the primitive's registers and tables, and the tables that have been read so far."""

    def __init__(self, state: Mapping[str, State]) -> None:
        self.arrays: dict[int, tuple[str, int | None]] = {}
        self.tables: dict[int, str] = {}
        self.searched: dict[str, Line] = {}
        """The tables that have been read so far, with the line of the read."""
        for name, each in state.items():
            if isinstance(each, Register):
                self.arrays[id(each)] = (name, None)
                for lane in range(each.lanes or 0):
                    self.arrays[id(each[lane])] = (name, lane)
            else:
                self.tables[id(each)] = name


class Variables:
    """The variables of the P4 program."""

    def __init__(self, kernel: Frame) -> None:
        self.kernel = kernel
        self.kinds: dict[str, Kind | None] = {}
        self._numbers: dict[str, int] = {}
        """The number of the last new variable of each name."""
        self._renamed: dict[tuple[tuple[int, ...], str], str] = {}
        """The P4 names of helpers' variables, by the path of calls and the name in Python."""

    def fresh(self, name: str, kind: Kind | None) -> Local:
        """Return a new variable: `name`, with a number appended if it is taken."""
        for number in itertools.count(self._numbers.get(name, 0)):
            found = name if not number else f"{name}_{number}"
            if found not in self.kinds and found not in self.kernel.assignments:
                break
        self._numbers[name] = number
        local = Local(found, kind)
        self.kinds[local.name] = kind
        return local

    def local(self, name: str, kind: Kind | None, frame: Frame) -> Local:
        """Return the P4 variable for a function's variable. Each call of a helper has variables of its own."""
        if frame is self.kernel:
            return Local(name, kind)
        key = (frame.path, name)
        known = self._renamed.get(key)
        if known is None or self.kinds[known] != kind:
            known = self._renamed[key] = self.fresh(name, kind).name
        return Local(known, kind)


@dataclass(slots=True)
class Facts:
    """Facts about a kernel, collected while it is compiled."""

    verdicts: set[Verdict] = field(default_factory=set)
    alert: tuple[tuple[str, Kind], ...] = ()
    """The name and type of each field of the kernel's alerts; empty without alerts."""
    timed: bool = False
    """Whether it reads `packet.now`."""
    rounds: bool = False
    """Whether it recirculates packets or reads `packet.round`."""
    mirrors: bool = False
    """Whether it mirrors packets."""


class Context:
    """The state of the compilation of one kernel."""

    def __init__(self, frame: Frame, layout: Layout, state: Mapping[str, State], rules: Rules) -> None:
        self.value: Callable[[ast.expr], Step[Value]] = partial(rules.value, self)
        """Compiles an expression."""
        self.block: Callable[[list[ast.stmt]], Walk[tuple[Statement, ...]]] = partial(rules.block, self)
        """Compiles a list of statements."""
        self.frame = frame
        self.source: Source = frame.source
        self.outer: Mapping[str, Any] = frame.outer
        self.layout = layout
        self.scope = Scope()
        self.names = Names(state)
        self.variables = Variables(frame)
        self.facts = Facts()
        self.copies = Copies()
        self.errors: list[KernelError] = []
        """The mistakes reported so far."""
        self.frames: dict[object, Frame] = {}
        """The frames of the functions that have been parsed."""
        self.callers: tuple[Frame, ...] = ()
        """The callers of the current function, outermost first; empty in the kernel itself."""
        self.whole: ast.expr | None = None
        """The expression whose value the current statement assigns or returns as a whole."""
        self.before: list[Statement] = []
        """Statements that must run before the current one: register accesses, checksums."""
        self.conditional = 0
        """The nesting depth of expressions that Python evaluates conditionally."""

    @property
    def in_helper(self) -> bool:
        """Whether the current function is a helper rather than the kernel."""
        return bool(self.callers)

    def error(self, node: ast.AST, message: str, hint: str = "") -> KernelError:
        """Return an error about a node of the current function, to be raised."""
        return self.source.error(node, message, hint)

    def text(self, node: ast.AST) -> str:
        """Return a node's source on one line."""
        return self.source.text(node)

    def report(self, error: KernelError) -> None:
        """Record a mistake. Only the first one per place counts: loop rounds and calls of a helper would repeat it."""
        place = error.place
        places = [each.place for each in self.errors]
        where = [(each.file, each.line, each.column) for each in places if each is not None]
        if not isinstance(error, FollowOnError) and (
            place is None or (place.file, place.line, place.column) not in where
        ):
            self.errors.append(error)

    def emit_before(self, statement: Statement) -> None:
        """Put a statement before the current one."""
        self.before.append(statement)

    def flush(self) -> list[Statement]:
        """Return and clear the statements that must run before the current one."""
        done, self.before = self.before, []
        return done

    def local(self, name: str, kind: Kind | None) -> Local:
        """Return the P4 variable for a variable of the current function."""
        return self.variables.local(name, kind, self.frame)

    def declare(self, node: ast.AST, name: str, local: Local, line: Line) -> None:
        """Record that the variable `name` has a value from here on. Raises KernelError if its type would change."""
        frame = self.frame
        if name in frame.fixed:
            raise self.error(node, f"the name `{name}` is taken", "choose another name")
        if name in frame.kinds and frame.kinds[name] != local.kind:
            raise self.error(
                node,
                f"`{name}` is {_kind_name(frame.kinds[name])} since line {frame.lines[name]} "
                f"and cannot become {_kind_name(local.kind)}",
                "use another name, or convert the value",
            )
        self.variables.kinds[local.name] = local.kind
        frame.kinds[name] = local.kind
        frame.lines.setdefault(name, line)
        self.scope.assign(local, None)
        self.scope.names[name] = local
        self.scope.unset.pop(name, None)

    @contextmanager
    def conditionally(self, scope: Scope) -> Iterator[None]:
        """Compile code that Python evaluates conditionally, in the given scope."""
        outside, self.scope = self.scope, scope
        self.conditional += 1
        try:
            yield
        finally:
            self.conditional -= 1
            self.scope = outside

    @contextmanager
    def reading(self, source: Source, outer: Mapping[str, Any], scope: Scope) -> Iterator[None]:
        """Compile another source text with its own globals, in the given scope."""
        kept = self.source, self.outer, self.scope
        self.source, self.outer, self.scope = source, outer, scope
        try:
            yield
        finally:
            self.source, self.outer, self.scope = kept

    @contextmanager
    def entered(self, frame: Frame, names: Mapping[str, Known | Expr]) -> Iterator[None]:
        """Compile the function of a frame, called by the current one, in a scope of its own."""
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
    """Return the first of two clashing lines as a quote that precedes a hint; empty if both are the same line."""
    return quoted(first) if (first, first.file) != (line, line.file) else ""


def _kind_name(kind: Kind | None) -> str:
    return "a condition" if kind is None else str(kind)
