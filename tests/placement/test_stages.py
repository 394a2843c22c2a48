"""Stages: operations are after those whose results they need, and no stage exceeds its capacity."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from midflight.runtime.footprint.operations import Operation
from midflight.runtime.footprint.stages import circles, stages


def operation(name: str, *needs: str, follows: tuple[str, ...] = (), kind: str = "register") -> Operation:
    return Operation(name, kind, frozenset(needs), frozenset(follows))


def test_the_longest_chain_determines_the_stages() -> None:
    assert stages([]) == 0
    assert stages([operation("a"), operation("b"), operation("c")]) == 1
    assert stages([operation("a"), operation("b", "a"), operation("c", "a"), operation("d", "b", "c")]) == 3


def test_depending_on_a_match_needs_no_separate_stage() -> None:
    assert stages([operation("t", kind="table"), operation("r", follows=("t",))]) == 1
    assert stages([operation("a"), operation("t", "a", kind="table"), operation("r", follows=("t",))]) == 2


def test_operations_beyond_a_full_stage_go_to_the_next() -> None:
    lanes = [operation(f"lane{n}", "slot") for n in range(32)]
    together = [operation("slot"), *lanes]
    assert stages(together) == 2
    assert stages(together, {"register": 4}) == 1 + 8
    assert stages(together, {"table": 1}) == 2


def test_needs_outside_the_list_are_ignored() -> None:
    assert stages([operation("a", "elsewhere")]) == 1


def test_a_cycle_is_found_and_counts_as_one_operation() -> None:
    ring = [operation("a", "c"), operation("b", "a"), operation("c", "b"), operation("d", "c")]
    assert circles(ring) == (("a", "b", "c"),)
    assert stages(ring) == 2
    assert not circles([operation("a"), operation("b", "a")])


@given(st.lists(st.tuples(st.sets(st.integers(0, 11)), st.sets(st.integers(0, 11))), max_size=12), st.integers(1, 4))
def test_stages_agree_with_a_simple_count(edges: list[tuple[set[int], set[int]]], room: int) -> None:
    made = [
        operation(f"o{n}", *(f"o{m}" for m in needs if m < n), follows=tuple(f"o{m}" for m in follows if m < n))
        for n, (needs, follows) in enumerate(edges)
    ]
    depth: list[int] = []
    for n, (needs, follows) in enumerate(edges):
        depth.append(max([1, *(depth[m] + 1 for m in needs if m < n), *(depth[m] for m in follows if m < n)]))
    longest = max(depth, default=0)
    assert stages(made) == longest
    assert max(longest, -(-len(made) // room)) <= stages(made, {"register": room}) <= len(made)
