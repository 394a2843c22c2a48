"""The assignment of operations to stages: as few as an exhaustive search finds, and within every limit."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence

import pytest

from midflight.runtime.fit.allocate import Allocation, allocate, critical_path, lower_bound
from midflight.runtime.fit.graph import Node


def node(
    index: int, takes: Mapping[str, int], needs: Sequence[int] = (), follows: Sequence[int] = (), split: bool = False
) -> Node:
    kind = "table" if split else "register"
    return Node(index, f"n{index}", kind, "", takes, frozenset(needs), frozenset(follows), ("", index), split)


def some(rng: random.Random) -> tuple[list[Node], dict[str, int]]:
    """Return a small random problem."""
    room = {"register": rng.randint(1, 2), "sram": rng.randint(3, 6), "table": 3}
    nodes = []
    for index in range(rng.randint(1, 6)):
        before = range(index)
        needs = [n for n in before if rng.random() < 0.25]
        follows = [n for n in before if n not in needs and rng.random() < 0.15]
        takes = {"table": 1, "sram": rng.randint(1, room["sram"])}
        if rng.random() < 0.6:
            takes["register"] = 1
        nodes.append(node(index, takes, needs, follows))
    return nodes, room


def search(nodes: Sequence[Node], room: Mapping[str, int]) -> int:
    """Return the fewest stages, by trying all assignments."""
    for count in itertools.count(1):
        for stages in itertools.product(range(count), repeat=len(nodes)):
            if all(stages[m] < stages[each.index] for each in nodes for m in each.needs) and all(
                stages[m] <= stages[each.index] for each in nodes for m in each.follows
            ):
                sums = [
                    sum(each.takes.get(key, 0) for each in nodes if stages[each.index] == stage) <= limit
                    for stage in range(count)
                    for key, limit in room.items()
                ]
                if all(sums):
                    return count
    raise AssertionError


def check(nodes: Sequence[Node], room: Mapping[str, int], made: Allocation) -> None:
    """Assert that an assignment respects order and limits, and places all memory."""
    for each in nodes:
        first, last = made.spans[each.index]
        assert 0 <= first <= last < made.stages
        assert all(made.spans[m][1] < first for m in each.needs)
        assert all(made.spans[m][1] <= first for m in each.follows)
        for kind, amount in each.memory.items():
            assert sum(blocks.get(kind, 0) for blocks in made.blocks[each.index].values()) == amount
    for stage in range(made.stages):
        for key, limit in room.items():
            present = [each for each in nodes if made.spans[each.index][0] <= stage <= made.spans[each.index][1]]
            amounts = [
                made.blocks[each.index].get(stage, {}).get(key, 0) if key in each.memory else each.takes.get(key, 0)
                for each in present
            ]
            assert sum(amounts) <= limit


@pytest.mark.parametrize("seed", range(40))
def test_as_few_stages_as_an_exhaustive_search_finds(seed: int) -> None:
    nodes, room = some(random.Random(seed))
    made = allocate(nodes, room, patience=300)
    check(nodes, room, made)
    assert made.optimal
    assert lower_bound(nodes, room) <= made.stages == search(nodes, room)


def test_the_exact_search_improves_on_the_list() -> None:
    # In order of size, 4 goes with 3 and 3 with 2, and 2 is left over; 4 + 2 + 2 and 3 + 3 fill two stages of 8.
    sizes = [3, 3, 4, 2, 2, 2]
    nodes = [node(n, {"sram": size}) for n, size in enumerate(sizes)]
    made = allocate(nodes, {"sram": 8}, patience=300)
    check(nodes, {"sram": 8}, made)
    assert (made.stages, made.optimal) == (2, True)


def test_a_table_spans_stages_and_its_users_wait_for_the_last() -> None:
    nodes = [
        node(0, {"table": 1, "sram": 3}),
        node(1, {"table": 1, "sram": 14}, split=True),
        node(2, {"table": 1, "sram": 1}, needs=[1]),
    ]
    room = {"sram": 8, "table": 4}
    made = allocate(nodes, room, patience=300)
    check(nodes, room, made)
    assert made.optimal
    assert made.stages == 4 if made.spans[1] == (1, 2) else made.stages == 3


def test_the_critical_path_is_a_longest_chain_in_order() -> None:
    nodes = [node(0, {}), node(1, {}, [0]), node(2, {}, [0]), node(3, {}, [], [2]), node(4, {}, [3])]
    assert critical_path(nodes) == (0, 2, 3, 4)
    assert critical_path([]) == ()


def test_an_operation_larger_than_a_stage_is_placed_alone() -> None:
    nodes = [node(0, {"sram": 20}), node(1, {"sram": 2})]
    made = allocate(nodes, {"sram": 8})
    assert made.stages == 2
