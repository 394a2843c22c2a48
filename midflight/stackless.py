"""Recursion on a stack of our own, so that the depth of a user's program is no limit.

A walk over a tree is a generator function. It yields the walk of a child and gets its result back:

    def depth(node: Node) -> Walk[int]:
        deepest = 0
        for child in node.children:
            deepest = max(deepest, (yield depth(child)))
        return deepest + 1

    run(depth(root))

Python's own stack grows by two frames, whatever the depth of the tree.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, TypeAlias, TypeVar

__all__ = ["Walk", "in_turn", "run"]

T = TypeVar("T")

Walk: TypeAlias = Generator["Walk[Any]", Any, T]


def run(walk: Walk[T]) -> T:
    """Return what a walk returns. What a walk raises passes through those that wait for it, as from a call."""
    waiting: list[Walk[Any]] = [walk]
    value: Any = None
    error: BaseException | None = None
    while waiting:
        current = waiting[-1]
        try:
            child = current.send(value) if error is None else current.throw(error)
        except StopIteration as stop:
            waiting.pop()
            value, error = stop.value, None
        except BaseException as raised:
            waiting.pop()
            value, error = None, raised
        else:
            waiting.append(child)
            value = error = None
    if error is not None:
        raise error
    result: T = value
    return result


def in_turn(walks: Iterable[Walk[T]]) -> Walk[list[T]]:
    """Return what the walks return, one after another."""
    results: list[T] = []
    for each in walks:
        results.append((yield each))
    return results
