"""Returns put last: a function's text such that each `return` is the last statement of its branch."""

from __future__ import annotations

import ast

from midflight.primitives.kernel.source import Source

__all__ = ["leaves", "returns", "straightened"]


def straightened(body: list[ast.stmt], source: Source) -> list[ast.stmt]:
    """Move what follows an `if` with a `return` into the branches that go on.

    Raises KernelError for lines that are never reached, and for a `return` inside a loop.
    """
    done: list[ast.stmt] = []
    for number, node in enumerate(body):
        rest = body[number + 1 :]
        if isinstance(node, ast.If) and returns([node]):
            if leaves([node]) and rest:
                raise source.error(rest[0], "this line is never reached", "remove it, or a `return` before it")
            yes, no = (side if leaves(side) else [*side, *rest] for side in (node.body, node.orelse))
            turned = ast.If(node.test, straightened(yes, source), straightened(no, source))
            return [*done, ast.copy_location(turned, node)]
        if isinstance(node, (ast.For, ast.Match)) and (inside := returns([node])):
            what = "loop" if isinstance(node, ast.For) else "`match`"
            raise source.error(
                inside[0],
                f"a helper cannot return from inside a {what}",
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
    return any(
        isinstance(each, ast.Return) or (isinstance(each, ast.If) and leaves(each.body) and leaves(each.orelse))
        for each in body
    )
