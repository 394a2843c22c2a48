"""What the rules of statements share: the names that are taken, the accesses that have to come first, the text."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Mapping

from midflight.primitives.kernel.expressions import Expressions
from midflight.primitives.kernel.flow import Scope
from midflight.primitives.kernel.frame import Frame
from midflight.primitives.kernel.header import Layout
from midflight.primitives.kernel.packet import Verdict
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.source import Line, Source, quoted
from midflight.primitives.kernel.state import State
from midflight.primitives.kernel.typed import Expr, ForwardedRef, Local, Statement, Truth
from midflight.primitives.kernel.types import Kind
from midflight.primitives.kernel.values import Value

__all__ = ["Body"]


class Body:
    """A kernel's body under analysis. Its subclasses add the rules of accesses, outputs, statements and helpers."""

    def __init__(self, frame: Frame, layout: Layout, state: Mapping[str, State]) -> None:
        self.frame = self.kernel = frame
        self.expressions = Expressions(frame.source, layout, frame.outer, self)
        self.layout = layout
        self.locals: dict[str, Kind | None] = {}
        self.renamed: dict[tuple[tuple[int, ...], str], str] = {}
        """What the variables of helpers are called, by the calls that lead there and their own names."""
        self.frames: dict[object, Frame] = {}
        """The functions that have been read."""
        self.callers: tuple[Frame, ...] = ()
        """The functions that the one at hand is written out of."""
        self.whole: ast.expr | None = None
        """The expression that is all that the statement at hand assigns or returns."""
        self.before: list[Statement] = []
        """What the expression at hand needs done first: register accesses, checksums."""
        self.arrays: dict[int, tuple[str, int | None]] = {}
        self.verdicts: set[Verdict] = set()
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

    @property
    def source(self) -> Source:
        """The text of the function at hand."""
        return self.expressions.source

    @property
    def scope(self) -> Scope:
        """What is known at this point."""
        return self.expressions.scope

    def access(self, node: ast.Call | ast.Attribute, state: State, method: str) -> Expr:
        """Take an access to the state inside an expression."""
        raise NotImplementedError

    def forwarded(self) -> Expr:
        """Return whether the verdict so far is to forward the packet: known where there was no other before."""
        return ForwardedRef() if self.verdicts - {Verdict.FORWARD} else Truth(True)

    def ahead(self, statement: Statement) -> None:
        """Put a statement before the one at hand."""
        self.before.append(statement)

    def fresh(self, name: str, kind: Kind | None) -> Local:
        """Return a new variable, called `name` or much like it."""
        taken = self.locals.keys() | self.kernel.assignments.keys()
        names = (name if not number else f"{name}_{number}" for number in itertools.count())
        local = Local(next(each for each in names if each not in taken), kind)
        self.locals[local.name] = kind
        return local

    def local(self, name: str, kind: Kind | None, frame: Frame | None = None) -> Local:
        """Return the variable that a function, or the one at hand, calls `name`; a helper's are renamed apart."""
        frame = frame or self.frame
        if frame is self.kernel:
            return Local(name, kind)
        key = (frame.path, name)
        known = self.renamed.get(key)
        if known is None or self.locals[known] != kind:
            known = self.renamed[key] = self.fresh(name, kind).name
        return Local(known, kind)

    def inline(self, call: ast.Call, function: object) -> Value | None:
        """Take the call of a user's function inside an expression."""
        raise NotImplementedError

    @staticmethod
    def also(first: Line, line: Line) -> str:
        """Quote the line that one at hand clashes with, for a hint to follow; nothing where both are one."""
        return quoted(first) if (first, first.file) != (line, line.file) else ""

    def flush(self) -> list[Statement]:
        """Return the statements that must come before the one at hand."""
        done, self.before = self.before, []
        return done

    def declare(self, node: ast.AST, name: str, local: Local, line: Line) -> None:
        """Note that a variable, here called `name`, has a value from here on; its kind never changes."""
        frame = self.frame
        if name in frame.fixed:
            raise self.source.error(node, f"`{name}` is taken", "choose another name")
        if name in frame.kinds and frame.kinds[name] != local.kind:
            raise self.source.error(
                node,
                f"`{name}` is {_kind_name(frame.kinds[name])} since line {frame.lines[name]}, "
                f"here it would become {_kind_name(local.kind)}",
                "use another name, or convert the value",
            )
        self.locals[local.name] = local.kind
        frame.kinds[name] = local.kind
        frame.lines.setdefault(name, line)
        self.scope.assign(local, None)
        self.scope.names[name] = local
        self.scope.unset.pop(name, None)


def _kind_name(kind: Kind | None) -> str:
    return "a condition" if kind is None else str(kind)
