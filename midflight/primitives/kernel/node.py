"""The base class of typed expressions: hashes, equality and sizes without recursion."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

from midflight.trees import shown

__all__ = ["Node"]


@cache
def _compared(kind: Any) -> tuple[str, ...]:
    """Return the names of the attributes that equality of a class compares."""
    return tuple(each.name for each in fields(kind) if each.compare)


def _contents(node: Any) -> tuple[Any, ...]:
    """Return the attributes of an expression that comparisons use: its subexpressions and constants, in field order."""
    return tuple(getattr(node, name) for name in _compared(type(node)))  # type: ignore[arg-type]


class Node:
    """Base class of expressions: a hash computed once from those of its parts, and equality without recursion.

    Expressions may be as deep as a user's sum is long. Some have `bare`, the range of the plain int, which does not
    wrap, that Python may compute for them; None means that Python always computes a `Number`.
    """

    __slots__ = ("_hash", "parts", "size")
    _hash: int
    parts: tuple[Any, ...]
    """The direct subexpressions, from left to right."""
    size: int
    """The number of nodes of the expression as a tree: a shared part counts each time."""

    __repr__ = shown

    def __post_init__(self) -> None:
        held = _contents(self)
        parts = tuple(each for each in held if isinstance(each, Node))
        object.__setattr__(self, "_hash", hash((type(self), held)))
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "size", 1 + sum(each.size for each in parts))

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
                pairs += zip(_contents(one), _contents(two), strict=True)
        return True
