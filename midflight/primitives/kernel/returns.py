"""Returns put last: a function's text such that each `return` is the last statement of its branch."""

from __future__ import annotations

import ast

from midflight.primitives.kernel.frame import Frame
from midflight.primitives.kernel.matches import turned

__all__ = ["leaves", "returns", "straightened"]


def straightened(body: list[ast.stmt], frame: Frame) -> list[ast.stmt]:
    """Move what follows an `if` with a `return` into the branches that go on.

    Raises KernelError for lines that are never reached, and for a `return` inside a loop.
    """
    done: list[ast.stmt] = []
    source, matches = frame.source, _Matches(frame)
    body = [each for node in body for each in _listed(matches.visit(node))]
    for number, node in enumerate(body):
        rest = body[number + 1 :]
        if isinstance(node, ast.If) and returns([node]):
            if leaves([node]) and rest:
                raise source.error(rest[0], "this line is never reached", "remove it, or a `return` before it")
            yes, no = (side if leaves(side) else [*side, *rest] for side in (node.body, node.orelse))
            split = ast.If(node.test, straightened(yes, frame), straightened(no, frame))
            return [*done, ast.copy_location(split, node)]
        if isinstance(node, ast.For) and (inside := returns([node])):
            raise source.error(
                inside[0],
                "a helper cannot return from inside a loop",
                "put the value into a variable, return it at the end",
            )
        done.append(node)
        if isinstance(node, ast.Return):
            if rest:
                raise source.error(rest[0], "this line is never reached", "remove it, or the `return` before it")
            break
    return done


def returns(body: list[ast.stmt]) -> list[ast.Return]:
    """Return the `return`s of some statements."""
    return [node for each in body for node in ast.walk(each) if isinstance(node, ast.Return)]


def leaves(body: list[ast.stmt]) -> bool:
    """Tell whether every path through some statements ends in a `return`."""
    for each in body:
        match each:
            case ast.Return():
                return True
            case ast.If(body=yes, orelse=no) if leaves(yes) and leaves(no):
                return True
            case ast.Match(cases=[*cases, ast.match_case(pattern=ast.MatchAs(pattern=None), guard=None) as last]):
                if all(leaves(case.body) for case in (*cases, last)):
                    return True
    return False


class _Matches(ast.NodeTransformer):
    """Turns each `match` into ifs."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame

    def visit_Match(self, node: ast.Match) -> list[ast.stmt]:
        """Turn what is inside first."""
        self.generic_visit(node)
        return turned(node, self.frame)


def _listed(nodes: ast.stmt | list[ast.stmt]) -> list[ast.stmt]:
    return nodes if isinstance(nodes, list) else [nodes]
