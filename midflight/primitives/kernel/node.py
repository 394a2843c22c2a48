"""The base of typed expressions: hashes, equality and sizes without recursion."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

__all__ = ["Node", "contents"]


@cache
def _compared(kind: Any) -> tuple[str, ...]:
    """Return the attributes that tell one expression of a class from another."""
    return tuple(each.name for each in fields(kind) if each.compare)


def contents(node: Any) -> tuple[Any, ...]:
    """Return what an expression consists of."""
    return tuple(getattr(node, name) for name in _compared(type(node)))  # type: ignore[arg-type]


class Node:
    """What every expression has: a hash that is made once, from those of its parts, and equality without recursion.

    An expression may be as deep as the user's sum is long. Some have `bare`: Python may compute a plain int there,
    which wraps at no width, and which lies between these two numbers. None says that it is a `Number` for sure.
    """

    __slots__ = ("_hash", "size")
    _hash: int
    size: int
    """How many expressions it is, written out: one that is in it twice counts twice."""

    def __post_init__(self) -> None:
        parts = contents(self)
        object.__setattr__(self, "_hash", hash((type(self), parts)))
        object.__setattr__(self, "size", 1 + sum(each.size for each in parts if isinstance(each, Node)))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        pairs: list[tuple[Any, Any]] = [(self, other)]
        while pairs:
            one, two = pairs.pop()
            if one is two:
                continue
            if not isinstance(one, Node):
                if one != two:
                    return False
            elif type(one) is not type(two) or one._hash != two._hash:
                return False
            else:
                pairs += zip(contents(one), contents(two), strict=True)
        return True
