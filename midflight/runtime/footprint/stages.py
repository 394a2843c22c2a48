"""The assignment of operations (tables and register arrays) to pipeline stages, each to the earliest possible one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from midflight.runtime.footprint.operations import Operation

__all__ = ["circles", "stages"]


def stages(operations: Sequence[Operation], per_stage: Mapping[str, int] | None = None) -> int:
    """Return a number of stages that is sufficient for the operations.

    `per_stage` limits the operations of a kind (`register`, `table`) in one stage; other kinds are unlimited. Without
    limits, the result is the length of the longest chain of needs. With limits, operations are placed greedily, each in
    the first stage that is late enough and has room. Operations with cyclic dependencies are treated as one; see
    `circles`.
    """
    limits = per_stage or {}
    merged = {name: min(circle) for circle in circles(operations) for name in circle}
    names = {each.name for each in operations}
    waiting = {each.name: each for each in operations}
    placed: dict[str, int] = {}
    room: Counter[tuple[str, int]] = Counter()

    def group(name: str) -> str:
        return merged.get(name, name)

    while waiting:
        for each in list(waiting.values()):
            mates = [other for other in waiting.values() if group(other.name) == group(each.name)]
            inner = {other.name for other in mates}
            needs = frozenset[str]().union(*(other.needs for other in mates)) & names - inner
            follows = frozenset[str]().union(*(other.follows for other in mates)) & names - inner
            if needs | follows <= placed.keys():
                break
        stage = max({placed[name] + 1 for name in needs} | {placed[name] for name in follows}, default=1)
        for mate in mates:
            at = stage
            while mate.kind in limits and room[mate.kind, at] >= limits[mate.kind]:
                at += 1
            room[mate.kind, at] += 1
            placed[mate.name] = at
            del waiting[mate.name]
    return max(placed.values(), default=0)


def circles(operations: Iterable[Operation]) -> tuple[tuple[str, ...], ...]:
    """Return the sets of operations with cyclic dependencies, which no pipeline can order. Names and sets are
    sorted.
    """
    follow = {each.name: each.needs | each.follows for each in operations}

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        queue = [start]
        while queue:
            fresh = follow[queue.pop()] & follow.keys() - seen
            seen |= fresh
            queue += sorted(fresh)
        return seen

    reached = {name: reach(name) for name in follow}
    found = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in follow
        if name in reached[name]
    }
    return tuple(sorted(found))
