"""Recursion on an explicit stack, so that the depth of users' programs is not limited by Python's.

A walk over a tree is a generator function. It yields the walk of a child and gets its result back:

    def depth(node: Node) -> Walk[int]:
        deepest = 0
        for child in node.children:
            deepest = max(deepest, (yield depth(child)))
        return deepest + 1

    run(depth(root))

Python's own stack grows by two frames, independently of the depth of the tree.

Most nodes of a tree are leaves, which need no walk. A function that starts walks may therefore return a `Step`: either
a walk or, for a leaf, the result itself. Yield both in the same way.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from types import GeneratorType
from typing import Any, TypeAlias, TypeVar

__all__ = ["Step", "Walk", "in_turn", "run"]

T = TypeVar("T")

Walk: TypeAlias = Generator[Any, Any, T]

Step: TypeAlias = Walk[T] | T
"""A walk, or a result that needs no walk. Results must not be generators."""


def run(walk: Walk[T]) -> T:
    """Run a walk (a generator that yields the walks of its children) to its end and return its result.

    Exceptions propagate through the waiting walks, as through callers.
    """
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
            error = None
            if type(child) is GeneratorType:
                waiting.append(child)
                value = None
            else:
                value = child
    if error is not None:
        raise error
    result: T = value
    return result


def in_turn(steps: Iterable[Step[Any]]) -> Walk[list[Any]]:
    """Return a walk that runs these walks one after another and returns the list of their results.

    A step may also be a result that needs no walk.
    """
    results: list[Any] = []
    for each in steps:
        results.append((yield each))
    return results
