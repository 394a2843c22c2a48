"""The `return`s of a function: where they are, and a text in which each is the last statement of its branch."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from midflight.primitives.kernel.source import Source
from midflight.stackless import Walk, run

__all__ = ["leaves", "no_return_in_a_loop", "returns", "straightened"]


def straightened(body: list[ast.stmt]) -> list[ast.stmt]:
    """Move what follows an `if` with a `return` into the branches that go on, into both where both do."""
    return run(_straightened(body, _Exits(body)))


def _straightened(body: list[ast.stmt], exits: _Exits) -> Walk[list[ast.stmt]]:
    for number, node in enumerate(body):
        if isinstance(node, ast.If) and exits.some(node):
            rest, sides = body[number + 1 :], []
            for side in (node.body, node.orelse):
                sides.append((yield _straightened(side if exits.every(side) else [*side, *rest], exits)))
            return [*body[:number], ast.copy_location(ast.If(node.test, *sides), node)]
    return body


def no_return_in_a_loop(body: list[ast.stmt], source: Source) -> None:
    """Raise KernelError where a helper returns from inside a loop."""
    for each in body:
        for node in ast.walk(each):
            if isinstance(node, ast.For) and (inside := returns([node])):
                raise source.error(
                    inside[0],
                    "a helper cannot return from inside a loop",
                    "put the value into a variable, return it at the end",
                )


def returns(body: list[ast.stmt]) -> list[ast.Return]:
    """Return the `return`s of some statements."""
    return [node for each in body for node in ast.walk(each) if isinstance(node, ast.Return)]


def leaves(body: list[ast.stmt]) -> bool:
    """Tell whether every path through some statements ends in a `return`."""
    return _Exits(body).every(body)


class _Exits:
    """Which statements have a `return` in them, and which end in one on every path: found once for a whole body."""

    def __init__(self, body: list[ast.stmt]) -> None:
        self._some: set[int] = set()
        self._every: set[int] = set()
        run(self._look(body))

    def some(self, node: ast.stmt) -> bool:
        """Tell whether there is a `return` on some path through a statement."""
        return id(node) in self._some

    def every(self, body: list[ast.stmt]) -> bool:
        """Tell whether every path through some statements ends in a `return`."""
        return any(id(each) in self._every for each in body)

    def _look(self, body: list[ast.stmt]) -> Walk[None]:
        for each in body:
            sides: Sequence[list[ast.stmt]] = ()
            complete = False
            match each:
                case ast.Return():
                    self._some.add(id(each))
                    self._every.add(id(each))
                case ast.If(body=yes, orelse=no):
                    sides, complete = (yes, no), True
                case ast.For(body=inside):
                    sides = (inside,)
                case ast.Match(cases=cases):
                    sides = [case.body for case in cases]
                    last = cases[-1]
                    complete = isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None
                    complete = complete and last.guard is None
            for side in sides:
                yield self._look(side)
                if any(id(inner) in self._some for inner in side):
                    self._some.add(id(each))
            if complete and all(self.every(side) for side in sides):
                self._every.add(id(each))
