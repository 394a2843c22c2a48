"""The assignment of operations to the fewest stages (Jose et al., Compiling Packet Programs to Reconfigurable Switches,
NSDI 2015), within what a stage has.

A lower bound follows from the longest chains and from sums of resources. List scheduling gives an upper bound. Where
they differ, a mixed-integer program decides (HiGHS, in scipy).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil

from midflight.runtime.fit.graph import Node

__all__ = ["Allocation", "allocate", "critical_path", "lower_bound"]

_MEMORY = ("sram", "tcam")


@dataclass(frozen=True, slots=True)
class Allocation:
    """Operations in stages, counted from 0. `blocks` has, by position of a node, its memory blocks in each stage.

    `spans` are the first and last stage of each node. With `optimal`, no assignment needs fewer stages.
    """

    stages: int
    spans: tuple[tuple[int, int], ...]
    blocks: tuple[Mapping[int, Mapping[str, int]], ...]
    optimal: bool


def allocate(nodes: Sequence[Node], room: Mapping[str, int], patience: float = 4.0) -> Allocation:
    """Return an assignment of nodes to the fewest stages that have `room`, by the names of `RESOURCES`.

    The number of stages is not limited. `patience` limits the search, in seconds; what it did not prove is not
    `optimal`. A node that takes more than a stage has is placed as if it took all of it, unless its memory can be
    divided among several stages. Never raises.
    """
    heads, tails = _levels(nodes)
    bound = lower_bound(nodes, room)
    rules = (
        lambda n: (-tails[n], n),
        lambda n: (-tails[n], -sum(nodes[n].takes.values()), n),
        lambda n: (heads[n], -sum(nodes[n].takes.values()), n),
    )
    best = min((_listed(nodes, room, sorted(range(len(nodes)), key=rule)) for rule in rules), key=lambda it: it.stages)
    if best.stages <= bound:
        return Allocation(best.stages, best.spans, best.blocks, True)
    if find_spec("scipy") is None:
        return best
    from midflight.runtime.fit.exact import solve

    deadline = time.monotonic() + patience
    low = bound
    while low < best.stages:
        left = deadline - time.monotonic()
        if left <= 0:
            return best
        found, proven = solve(nodes, room, low, heads, tails, left)
        if found is not None:
            return Allocation(low, *found, True)
        if not proven:
            return best
        low += 1
    return Allocation(best.stages, best.spans, best.blocks, True)


def critical_path(nodes: Sequence[Node]) -> tuple[int, ...]:
    """Return the positions of the nodes on a longest chain of dependencies, from first to last; empty without nodes."""
    heads, _ = _levels(nodes)
    if not nodes:
        return ()
    path = [max(range(len(nodes)), key=lambda n: (heads[n], -n))]
    while True:
        node = nodes[path[-1]]
        before = [n for n in sorted(node.needs) if heads[n] == heads[node.index] - 1]
        level = [n for n in sorted(node.follows) if heads[n] == heads[node.index]]
        if not before and not level:
            return tuple(reversed(path))
        path.append((before or level)[0])


def lower_bound(nodes: Sequence[Node], room: Mapping[str, int]) -> int:
    """Return a number of stages that no assignment undercuts.

    For each resource and every h and t: the nodes with at least h nodes before and t after them in a chain of needs
    together take a number of stages, to which h and t are added.
    """
    heads, tails = _levels(nodes)
    bound = max((head + tail + 1 for head, tail in zip(heads, tails, strict=True)), default=0)
    for resource, size in room.items():
        if resource == "table":  # actions share tables, so this is not a sum
            continue
        users = [(heads[n], tails[n], _whole(each, resource, room)) for n, each in enumerate(nodes)]
        users = [each for each in users if each[2]]
        if not users or not size:
            continue
        for head in sorted({each[0] for each in users}):
            for tail in sorted({each[1] for each in users}):
                total = sum(amount for h, t, amount in users if h >= head and t >= tail)
                if total:
                    bound = max(bound, head + ceil(total / size) + tail)
    return bound


def _whole(node: Node, resource: str, room: Mapping[str, int]) -> int:
    amount = node.takes.get(resource, 0)
    return amount if node.split and resource in _MEMORY else min(amount, room[resource])


def _levels(nodes: Sequence[Node]) -> tuple[list[int], list[int]]:
    """Return for each node the lengths of the longest chains of needs before and after it."""
    heads, tails = [0] * len(nodes), [0] * len(nodes)
    for n, node in enumerate(nodes):
        heads[n] = max([heads[m] + 1 for m in sorted(node.needs)] + [heads[m] for m in sorted(node.follows)], default=0)
    for n in reversed(range(len(nodes))):
        for m in sorted(nodes[n].needs):
            tails[m] = max(tails[m], tails[n] + 1)
        for m in sorted(nodes[n].follows):
            tails[m] = max(tails[m], tails[n])
    return heads, tails


class _Stage:
    """What is taken of a stage."""

    def __init__(self, room: Mapping[str, int]) -> None:
        self.room = room
        self.taken: defaultdict[str, int] = defaultdict(int)
        self.blocks: set[tuple[str, int]] = set()

    def table(self, node: Node) -> int:
        """Return the tables that a node adds: an action none, if another of its block is here."""
        return node.takes.get("table", 0) or int(node.kind in ("action", "hash") and node.block not in self.blocks)

    def fits(self, node: Node, memory: Mapping[str, int]) -> bool:
        for key, amount in {**node.takes, **memory, "table": self.table(node)}.items():
            if key in self.room:
                splits = node.split and key in _MEMORY and self.room[key] > 0
                if self.taken[key] + (amount if splits else min(amount, self.room[key])) > self.room[key]:
                    return False
        return True

    def put(self, node: Node, memory: Mapping[str, int]) -> None:
        for key, amount in {**node.takes, **memory, "table": self.table(node)}.items():
            self.taken[key] += amount
        if node.kind in ("action", "hash"):
            self.blocks.add(node.block)

    def free(self, kind: str) -> int:
        return max(0, self.room[kind] - self.taken[kind]) if kind in self.room else 1 << 62


def _listed(nodes: Sequence[Node], room: Mapping[str, int], order: Sequence[int]) -> Allocation:
    """Place nodes stage by stage, each stage in the given order, as far as they fit.

    Only a node whose memory exceeds a whole stage spans several.
    """
    stages: list[_Stage] = []
    spans: dict[int, tuple[int, int]] = {}
    blocks: list[dict[int, dict[str, int]]] = [{} for _ in nodes]
    # Memory that no stage has cannot be divided among stages.
    rest = {
        n: {kind: amount for kind, amount in each.memory.items() if room.get(kind, 1)} for n, each in enumerate(nodes)
    }
    started: dict[int, int] = {}
    waiting = list(order)
    while waiting:
        at = len(stages)
        stage = _Stage(room)
        stages.append(stage)
        progress = True
        while progress:
            progress = False
            for n in list(waiting):
                node = nodes[n]
                if at in blocks[n]:
                    continue
                if any(m not in spans or spans[m][1] >= at for m in node.needs):
                    continue
                if any(m not in spans or spans[m][1] > at for m in node.follows):
                    continue
                part = dict(rest[n])
                if node.split and not stage.fits(node, part):
                    if n not in started and not _spans(rest[n], room):
                        continue
                    part = {kind: min(amount, stage.free(kind)) for kind, amount in part.items()}
                    if not any(part.values()):
                        continue
                if not stage.fits(node, part):
                    continue
                stage.put(node, part)
                blocks[n][at] = part
                started.setdefault(n, at)
                rest[n] = {kind: amount - part[kind] for kind, amount in rest[n].items()}
                if not any(rest[n].values()):
                    spans[n] = started[n], at
                    waiting.remove(n)
                progress = True
    return Allocation(len(stages), tuple(spans[n] for n in range(len(nodes))), tuple(blocks), False)


def _spans(memory: Mapping[str, int], room: Mapping[str, int]) -> bool:
    return any(amount > room.get(kind, amount) for kind, amount in memory.items())
