"""Packets for random primitives."""

from __future__ import annotations

from random import Random
from typing import Any

from midflight.primitives import Primitive
from midflight.primitives.kernel.types import Kind

__all__ = ["requests"]


def requests(random: Random, primitive: Primitive) -> dict[str, Any]:
    """Return random fields of a header, preferring small numbers and limits."""

    def value(kind: Kind) -> int:
        near = random.randint(0, min(9, kind.high))
        edge = random.choice((kind.low, kind.high, kind.high - kind.holds(kind.high - 1), kind.high // 2))
        return random.choice((near, near, edge, random.randint(kind.low, kind.high)))

    fields: dict[str, Any] = {
        each.name: value(each.kind) if each.count is None else [value(each.kind) for _ in range(each.count)]
        for each in primitive.layout
    }
    items = primitive.layout.items
    if items is not None:
        count = fields[items.counted.name] = random.randint(0, min(len(items), items.counted.kind.high))
        for group in items.groups[count:]:
            fields |= {each.name: 0 if each.count is None else [0] * each.count for each in group.fields()}
    return fields
