"""The state of the compiler while it walks a kernel: the current function, the scope and the results so far.

The compiler's rules are functions that take this context. They are generators, so that the depth of a user's code is
not limited: see `midflight.stackless`. The rules for a single expression and for a list of statements, which all other
rules need, are called through the context.
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
    """Raised inside the compiler after a mistake that is already reported, and caught there: it is never reported
    itself.
    """


@dataclass(frozen=True, slots=True)
class Rules:
    """The two rules that all other rules call: `value` compiles an expression, `block` a list of statements."""

    value: Callable[[Context, ast.expr], Step[Value]]
    block: Callable[[Context, list[ast.stmt]], Walk[tuple[Statement, ...]]]


class Names:
    """The names of a primitive's registers and tables by the ids of their objects, and the tables read so far."""

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
    """The variables of the P4 that a kernel becomes, with their types.

    `kernel` is the frame of the kernel's own function.
    """

    def __init__(self, kernel: Frame) -> None:
        self.kernel = kernel
        self.kinds: dict[str, Kind | None] = {}
        self._numbers: dict[str, int] = {}
        """The number of the last new variable of each name."""
        self._renamed: dict[tuple[tuple[int, ...], str], str] = {}
        """The P4 names of helpers' variables, by the path of calls and the name in Python."""

    def fresh(self, name: str, kind: Kind | None) -> Local:
        """Declare and return a new variable: `name`, with a number appended if it is taken.

        `kind` is the variable's type; None is a condition.
        """
        for number in itertools.count(self._numbers.get(name, 0)):
            found = name if not number else f"{name}_{number}"
            if found not in self.kinds and found not in self.kernel.assignments:
                break
        self._numbers[name] = number
        local = Local(found, kind)
        self.kinds[local.name] = kind
        return local

    def local(self, name: str, kind: Kind | None, frame: Frame) -> Local:
        """Return the P4 variable for the variable `name` of a function, of type `kind` (None: a condition).

        The kernel's own variables keep their names. Each call of a helper, whose frame is passed, has variables of its
        own.
        """
        if frame is self.kernel:
            return Local(name, kind)
        key = (frame.path, name)
        known = self._renamed.get(key)
        if known is None or self.kinds[known] != kind:
            known = self._renamed[key] = self.fresh(name, kind).name
        return Local(known, kind)


@dataclass(slots=True)
class Facts:
    """Facts about a kernel, collected while it is compiled: its possible verdicts, its alerts, and what it uses."""

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
    """The state of the compilation of one kernel, which every rule of the compiler receives and changes."""

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
        """Return an error about a node of the current function, with its place. The caller raises it."""
        return self.source.error(node, message, hint)

    def text(self, node: ast.AST) -> str:
        """Return the source of a syntax node of the current function on one line."""
        return self.source.text(node)

    def report(self, error: KernelError) -> None:
        """Record a mistake and continue. A second mistake at the same place is ignored, and so are follow-on errors.

        Loop rounds and several calls of a helper compile the same code several times and would repeat its mistakes.
        """
        place = error.place
        places = [each.place for each in self.errors]
        where = [(each.file, each.line, each.column) for each in places if each is not None]
        if not isinstance(error, FollowOnError) and (
            place is None or (place.file, place.line, place.column) not in where
        ):
            self.errors.append(error)

    def emit_before(self, statement: Statement) -> None:
        """Put a statement before the statement that is being compiled, behind those already put there."""
        self.before.append(statement)

    def flush(self) -> list[Statement]:
        """Return the statements that must run before the current statement, in order, and clear the list."""
        done, self.before = self.before, []
        return done

    def local(self, name: str, kind: Kind | None) -> Local:
        """Return the P4 variable of type `kind` (None: a condition) for the variable `name` of the current function."""
        return self.variables.local(name, kind, self.frame)

    def declare(self, node: ast.AST, name: str, local: Local, line: Line) -> None:
        """Record that the variable `name`, which the P4 calls `local`, has a value from `line` on.

        `node` is the assignment, for errors. Raises KernelError if the name cannot be assigned, or the variable has
        another type already.
        """
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
        """Make `scope` the current scope, for code that Python evaluates only under a condition.

        Accesses to registers and maps in the body of the `with` raise KernelError. Afterwards the previous scope is
        current again.
        """
        outside, self.scope = self.scope, scope
        self.conditional += 1
        try:
            yield
        finally:
            self.conditional -= 1
            self.scope = outside

    @contextmanager
    def reading(self, source: Source, outer: Mapping[str, Any], scope: Scope) -> Iterator[None]:
        """Compile code of another source text, with `outer` as its global names and `scope` as the current scope.

        After the body of the `with`, the previous ones are current again.
        """
        kept = self.source, self.outer, self.scope
        self.source, self.outer, self.scope = source, outer, scope
        try:
            yield
        finally:
            self.source, self.outer, self.scope = kept

    @contextmanager
    def entered(self, frame: Frame, names: Mapping[str, Known | Expr]) -> Iterator[None]:
        """Compile the function of `frame`, which the current function calls, in a new scope with the variables `names`.

        After the body of the `with`, the caller is current again. Its scope has the facts that hold after the call, but
        not the callee's variables.
        """
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
    """Return the line `first` quoted with its place, to precede a hint about `line`; empty if both are equal."""
    return quoted(first) if (first, first.file) != (line, line.file) else ""


def _kind_name(kind: Kind | None) -> str:
    return "a condition" if kind is None else str(kind)
