"""Finds the `return` statements in Python's syntax tree of a function, and moves code so that each ends its branch."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from midflight.primitives.kernel.source import Source
from midflight.stackless import Walk, run

__all__ = ["always_returns", "no_return_in_a_loop", "returns", "tail_duplicated"]

# Statements that contain statements.
_NESTING = (ast.If, ast.For, ast.Match)


def tail_duplicated(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return an equivalent body in which every `return` is the last statement of its branch.

    The code after an `if` with a `return` is copied into the branches that do not return. `body` itself is not changed.
    """
    return run(_tail_duplicated(body, _Exits(body)))


def _tail_duplicated(body: list[ast.stmt], exits: _Exits) -> Walk[list[ast.stmt]]:
    for number, node in enumerate(body):
        if isinstance(node, ast.If) and exits.some(node):
            rest, sides = body[number + 1 :], []
            for side in (node.body, node.orelse):
                whole = side if exits.every(side) else [*side, *rest]
                nests = any(isinstance(each, ast.If) for each in whole)
                sides.append((yield _tail_duplicated(whole, exits)) if nests else whole)
            return [*body[:number], ast.copy_location(ast.If(node.test, *sides), node)]
    return body


def no_return_in_a_loop(body: list[ast.stmt], source: Source) -> None:
    """Raise KernelError if a helper's body has a `return` inside a `for` loop. `source` gives the error its place."""
    for each in body:
        for node in ast.walk(each):
            if isinstance(node, ast.For) and (inside := returns([node])):
                raise source.error(
                    inside[0],
                    "a helper cannot return from inside a loop",
                    "assign the value to a variable, and return it at the end",
                )


def returns(body: list[ast.stmt]) -> list[ast.Return]:
    """Return all `return` statements in a body, at any depth."""
    return [node for each in body for node in ast.walk(each) if isinstance(node, ast.Return)]


def always_returns(body: list[ast.stmt]) -> bool:
    """Return whether every path through a body ends in a `return`. A loop counts as one that may have no rounds."""
    return _Exits(body).every(body)


class _Exits:
    """The statements of a body that contain a `return`, and those that return on every path."""

    def __init__(self, body: list[ast.stmt]) -> None:
        self._some: set[int] = set()
        self._every: set[int] = set()
        run(self._look(body))

    def some(self, node: ast.stmt) -> bool:
        """Return whether some path through a statement returns."""
        return id(node) in self._some

    def every(self, body: list[ast.stmt]) -> bool:
        """Return whether every path through a body returns."""
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
                if any(isinstance(inner, _NESTING) for inner in side):
                    yield self._look(side)
                else:
                    found = [id(inner) for inner in side if isinstance(inner, ast.Return)]
                    self._some.update(found)
                    self._every.update(found)
                if any(id(inner) in self._some for inner in side):
                    self._some.add(id(each))
            if complete and all(self.every(side) for side in sides):
                self._every.add(id(each))
