"""Removes the `return`s of an inlined helper from its typed statements: they get a single exit, at their end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from midflight.primitives.kernel.typed import Assign, If, Local, Not, Return, Statement, Truth
from midflight.stackless import Walk, run

__all__ = ["single_exit"]


def single_exit(statements: Sequence[Statement], variable: Callable[[], Local]) -> list[Statement]:
    """Return equivalent statements without `return`. No statement is copied. Loops must not contain `return`.

    The code after an `if` of which one side always returns moves into the other side. If neither side always returns, a
    condition that records whether the helper has returned guards the code that follows; `variable` creates it.
    """
    paths = _ReturnPaths(statements)
    flag: Local | None = None

    def rest_of(body: Sequence[Statement], followed: bool) -> Walk[list[Statement]]:
        """Rewrite a body; `followed` is whether later code reads the condition."""
        nonlocal flag
        done: list[Statement] = []
        for number, each in enumerate(body):
            rest = body[number + 1 :] if isinstance(each, If) and paths.some(each) else ()
            match each:
                case Return(line=line):
                    if followed:
                        assert flag is not None
                        done.append(Assign(flag, Truth(True), line))
                    return done
                case If(yes=yes, no=no) if paths.every(yes) or paths.every(no):
                    first: list[Statement] = yield rest_of(yes if paths.every(yes) else [*yes, *rest], followed)
                    second: list[Statement] = yield rest_of(no if paths.every(no) else [*no, *rest], followed)
                    return [*done, replace(each, yes=tuple(first), no=tuple(second))]
                case If(yes=yes, no=no, line=line) if paths.some(each):
                    if rest:
                        flag = flag or variable()
                    first = yield rest_of(yes, followed or bool(rest))
                    second = yield rest_of(no, followed or bool(rest))
                    done.append(replace(each, yes=tuple(first), no=tuple(second)))
                    if rest:
                        assert flag is not None
                        last: list[Statement] = yield rest_of(rest, followed)
                        done.append(If(Not(flag), tuple(last), (), line))
                    return done
                case _:
                    done.append(each)
        return done

    done = run(rest_of(statements, False))
    if flag is None:
        return done
    return [Assign(flag, Truth(False), statements[0].line), *done]


class _ReturnPaths:
    """The statements that contain a `return`, and those that return on every path."""

    def __init__(self, body: Sequence[Statement]) -> None:
        self._some: set[int] = set()
        self._every: set[int] = set()
        run(self._look(body))

    def some(self, statement: Statement) -> bool:
        """Return whether some path through a statement returns."""
        return id(statement) in self._some

    def every(self, body: Sequence[Statement]) -> bool:
        """Return whether every path through a body returns."""
        return any(id(each) in self._every for each in body)

    def _look(self, body: Sequence[Statement]) -> Walk[None]:
        for each in body:
            match each:
                case Return():
                    self._some.add(id(each))
                    self._every.add(id(each))
                case If(yes=yes, no=no):
                    yield self._look(yes)
                    yield self._look(no)
                    if any(id(inner) in self._some for inner in (*yes, *no)):
                        self._some.add(id(each))
                    if self.every(yes) and self.every(no):
                        self._every.add(id(each))
