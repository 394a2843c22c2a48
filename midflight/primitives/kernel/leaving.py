"""The `return`s of a helper, which is written out in the midst of a kernel, taken out of its statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from midflight.primitives.kernel.typed import Assign, If, Local, Not, Return, Statement, Truth
from midflight.stackless import Walk, run

__all__ = ["without_returns"]


def without_returns(statements: Sequence[Statement], variable: Callable[[], Local]) -> list[Statement]:
    """Return statements that do the same and end at their end.

    What follows an `if` one side of which returns on every path goes into the other side. Where that is not enough, a
    new variable tells whether the helper has returned, and what follows is under an `if` that asks it. So nothing is
    there twice. Loops have no `return`.
    """
    leaves = _Leaves(statements)
    flag: Local | None = None

    def rest_of(body: Sequence[Statement], followed: bool) -> Walk[list[Statement]]:
        """Rewrite some statements; `followed` tells that something behind them asks the variable."""
        nonlocal flag
        done: list[Statement] = []
        for number, each in enumerate(body):
            rest = body[number + 1 :] if isinstance(each, If) and leaves.some(each) else ()
            match each:
                case Return(line=line):
                    if followed:
                        assert flag is not None
                        done.append(Assign(flag, Truth(True), line))
                    return done
                case If(yes=yes, no=no) if leaves.every(yes) or leaves.every(no):
                    first: list[Statement] = yield rest_of(yes if leaves.every(yes) else [*yes, *rest], followed)
                    second: list[Statement] = yield rest_of(no if leaves.every(no) else [*no, *rest], followed)
                    return [*done, replace(each, yes=tuple(first), no=tuple(second))]
                case If(yes=yes, no=no, line=line) if leaves.some(each):
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


class _Leaves:
    """Which statements have a `return` in them, and which end in one on every path."""

    def __init__(self, body: Sequence[Statement]) -> None:
        self._some: set[int] = set()
        self._every: set[int] = set()
        run(self._look(body))

    def some(self, statement: Statement) -> bool:
        """Tell whether some path through a statement returns."""
        return id(statement) in self._some

    def every(self, body: Sequence[Statement]) -> bool:
        """Tell whether every path through some statements returns."""
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
