"""Methods of frozen dataclasses that nest as deep as a user's program: `==`, `hash` and `repr` without recursion.

A class or its base class assigns them, and no decorator replaces them:

    @dataclass(frozen=True, slots=True, eq=False, repr=False)
    class Sum:
        left: Expression
        right: Expression
        __eq__, __hash__, __repr__ = equal, hashed, shown
"""

from __future__ import annotations

from collections import deque
from dataclasses import Field, fields
from typing import Any

__all__ = ["equal", "hashed", "shown"]

_HASHED = 50
"""How many values a hash covers. Trees that differ only beyond them have the same hash."""
_SHOWN = 20_000
"""How many values and brackets `repr` shows. Parts that several nodes share can make a text exponentially long."""


def shown(tree: Any) -> str:
    """Return the usual `repr` of a dataclass. A very long text ends with "..."."""
    texts: list[str] = []
    waiting: list[tuple[bool, Any]] = [(False, tree)]  # texts (True), and values whose texts are still to be made
    while waiting:
        ready, each = waiting.pop()
        if ready:
            texts.append(each)
        elif _method(each, "__repr__") is shown:
            parts = [(f"{it.name}=", getattr(each, it.name)) for it in _fields(each) if it.repr]
            waiting += _bracketed(f"{type(each).__qualname__}(", parts, ")")
        elif type(each) is tuple:
            waiting += _bracketed("(", [("", it) for it in each], ",)" if len(each) == 1 else ")")
        else:
            texts.append(repr(each))
        if len(texts) > _SHOWN:
            return "".join(texts) + "..."
    return "".join(texts)


def equal(tree: Any, other: object) -> bool:
    """Return whether two dataclasses of the same class have equal fields, in the usual way."""
    if type(tree) is not type(other):
        return NotImplemented  # type: ignore[no-any-return]
    pairs: list[tuple[Any, Any]] = [(tree, other)]
    compared: set[tuple[int, int]] = set()  # shared parts are compared once
    while pairs:
        one, two = pairs.pop()
        if one is two:
            continue
        if type(one) is type(two) and _has_parts(one):
            if (id(one), id(two)) in compared:
                continue
            compared.add((id(one), id(two)))
            parts, others = _parts(one), _parts(two)
            if len(parts) != len(others):
                return False
            pairs += zip(parts, others, strict=True)
        elif one != two:
            return False
    return True


def hashed(tree: Any) -> int:
    """Return the hash of the first 50 values in a dataclass, in breadth-first order."""
    values: list[object] = []
    waiting: deque[Any] = deque([tree])
    while waiting and len(values) < _HASHED:
        each = waiting.popleft()
        if _has_parts(each):
            values.append(type(each))
            waiting += _parts(each)
        else:
            values.append(each)
    return hash(tuple(values))


def _has_parts(value: Any) -> bool:
    return type(value) is tuple or _method(value, "__eq__") is equal


def _method(value: Any, name: str) -> Any:
    return getattr(type(value), name)


def _parts(value: Any) -> tuple[Any, ...]:
    if type(value) is tuple:
        return value
    return tuple(getattr(value, each.name) for each in _fields(value) if each.compare)


def _fields(value: Any) -> tuple[Field[Any], ...]:
    return fields(value)


def _bracketed(start: str, parts: list[tuple[str, Any]], end: str) -> list[tuple[bool, Any]]:
    """Return what to show next, in reverse order: the parts with their names, between two texts."""
    found: list[tuple[bool, Any]] = [(True, end)]
    for number, (name, value) in reversed([*enumerate(parts)]):
        found += [(False, value), (True, f"{', ' if number else ''}{name}")]
    return [*found, (True, start)]
