"""The assignment of operations to a given number of stages as a mixed-integer program, solved by HiGHS in scipy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from midflight.runtime.fit.graph import Node
from midflight.runtime.milp import Model

__all__ = ["solve"]

Found = tuple[tuple[tuple[int, int], ...], tuple[Mapping[int, Mapping[str, int]], ...]]


def solve(
    nodes: Sequence[Node],
    room: Mapping[str, int],
    stages: int,
    heads: Sequence[int],
    tails: Sequence[int],
    patience: float,
) -> tuple[Found | None, bool]:
    """Return the spans of nodes and their memory blocks in each of exactly `stages` stages, or None if none is found.

    `heads` and `tails` are the lengths of the chains before and after each node. The second result is whether None is
    proven. `patience` is in seconds. Never raises.
    """
    model = Model()
    begun: list[list[int]] = []  # whether a node begins in a stage or before
    ended: list[list[int]] = []  # whether it ends in a stage or before
    for n, node in enumerate(nodes):
        first, last = heads[n], stages - 1 - tails[n]
        if first > last:
            return None, True
        begun.append([model.variable(float(s >= last), float(s >= first)) for s in range(stages)])
        both = begun[n] if not node.split else None
        ended.append(both or [model.variable(float(s >= last), float(s >= first)) for s in range(stages)])
    for n, node in enumerate(nodes):
        for s in range(stages):
            if s:
                model.constrain([(begun[n][s], 1), (begun[n][s - 1], -1)], 0, 1)
                if node.split:
                    model.constrain([(ended[n][s], 1), (ended[n][s - 1], -1)], 0, 1)
            if node.split:
                model.constrain([(begun[n][s], 1), (ended[n][s], -1)], 0, 1)
            for m in sorted(node.needs):
                if s:
                    model.constrain([(ended[m][s - 1], 1), (begun[n][s], -1)], 0, 1)
            for m in sorted(node.follows):
                model.constrain([(ended[m][s], 1), (begun[n][s], -1)], 0, 1)
    memory = _resources(model, nodes, room, stages, begun, ended)
    solved = model.solve(patience)
    if solved.values is None:
        return None, solved.proven
    spans, blocks = [], []
    for n, node in enumerate(nodes):
        first = next(s for s in range(stages) if solved.chosen(begun[n][s]))
        last = next(s for s in range(stages) if solved.chosen(ended[n][s]))
        spans.append((first, last))
        blocks.append(
            {
                s: {
                    kind: solved.whole(memory[n, kind, s]) if node.split else amount
                    for kind, amount in node.memory.items()
                }
                for s in range(first, last + 1)
            }
        )
    return (tuple(spans), tuple(blocks)), True


def _resources(
    model: Model,
    nodes: Sequence[Node],
    room: Mapping[str, int],
    stages: int,
    begun: Sequence[Sequence[int]],
    ended: Sequence[Sequence[int]],
) -> dict[tuple[int, str, int], int]:
    """Limit what nodes take of each stage. Return the variables of memory blocks by node, kind and stage."""
    memory: dict[tuple[int, str, int], int] = {}

    def present(n: int, s: int, amount: float) -> list[tuple[int, float]]:
        terms = [(begun[n][s], amount)]
        return [*terms, (ended[n][s - 1], -amount)] if s else terms

    for n, node in enumerate(nodes):
        if node.split:
            for kind, amount in node.memory.items():
                most = min(amount, room.get(kind, amount))
                for s in range(stages):
                    memory[n, kind, s] = model.variable(0, most)
                    model.constrain([(memory[n, kind, s], 1), *present(n, s, -most)], -inf, 0)
                model.constrain([(memory[n, kind, s], 1) for s in range(stages)], amount, amount)
    shared: dict[tuple[str, int], list[int]] = {}
    for n, node in enumerate(nodes):
        if node.kind in ("action", "hash") and not node.takes.get("table"):
            shared.setdefault(node.block, []).append(n)
    for s in range(stages):
        for resource, size in room.items():
            terms: list[tuple[int, float]] = []
            for n, node in enumerate(nodes):
                if node.split and resource in node.memory:
                    terms.append((memory[n, resource, s], 1))
                elif amount := min(node.takes.get(resource, 0), size):
                    terms += present(n, s, amount)
            if resource == "table":
                for members in shared.values():
                    used = model.variable(0, 1)
                    for n in members:
                        model.constrain([*present(n, s, 1), (used, -1)], -inf, 0)
                    terms.append((used, 1))
            if terms:
                model.constrain(terms, -inf, size)
    return memory
