"""Buckets: shares by weight, stability of flows on changes, and second choices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random

import pytest

from midflight.errors import MidflightError
from midflight.primitives.steering import bucket_of
from midflight.runtime.steering.buckets import moved, rebalance, second_choices, shares, spread

SIZE = 1024
EVEN = dict.fromkeys(range(1, 11), 1.0)
CHANGES: Mapping[str, Mapping[int, float]] = {
    "one leaves": {each: 1.0 for each in EVEN if each != 4},
    "one joins": {**EVEN, 11: 1.0},
    "one is drained": {**EVEN, 7: 0.0},
    "one gets twice as much": {**EVEN, 2: 2.0},
    "all change": {each: 1.0 + each / 10 for each in EVEN},
}


def flows(count: int) -> list[tuple[int, int]]:
    random = Random(1)
    return [(random.randrange(2**32), random.randrange(2**16)) for _ in range(count)]


def test_shares_add_up_also_if_the_weights_do_not() -> None:
    assert shares({1: 1.7e308, 2: 1.7e308, 3: 0.0}, 8) == {1: 4, 2: 4, 3: 0}


@pytest.mark.parametrize("name", CHANGES)
def test_flows_stay_where_they_can(name: str) -> None:
    """Of 10,000 flows, those that move exceed the theoretical minimum by at most 10 %."""
    before, weights = spread(EVEN, SIZE), CHANGES[name]
    after = rebalance(before, weights)
    some = flows(10_000)
    places = [bucket_of(source, port, 80, SIZE) for source, port in some]
    gone = sum(before[each] != after[each] for each in places)
    total_before, total_after = sum(EVEN.values()), sum(weights.values())
    least = sum(max(0.0, each / total_before - weights.get(it, 0) / total_after) for it, each in EVEN.items())
    assert gone <= 1.1 * least * len(some)
    assert Counter(after) == Counter({each: count for each, count in shares(weights, SIZE).items() if count})


def test_a_change_moves_exactly_the_buckets_above_the_shares() -> None:
    before = spread(EVEN, SIZE)
    for weights in CHANGES.values():
        surplus = Counter(before) - Counter(shares(weights, SIZE))
        assert moved(before, rebalance(before, weights)) == sum(surplus.values())


def test_most_flows_return_with_the_weights() -> None:
    before = spread(EVEN, SIZE)
    back = rebalance(rebalance(before, CHANGES["one is drained"]), EVEN)
    assert moved(before, back) < 0.03 * SIZE
    assert rebalance(before, EVEN) == before


def test_flows_are_spread_evenly() -> None:
    counts = Counter(bucket_of(source, port, 80, 64) for source, port in flows(64_000))
    assert len(counts) == 64
    assert 800 < min(counts.values()) <= max(counts.values()) < 1200


def test_shares_add_up() -> None:
    assert shares({1: 1, 2: 1, 3: 1}, 256) == {1: 86, 2: 85, 3: 85}
    assert shares({1: 1e-9, 2: 3, 3: 0}, 8) == {1: 0, 2: 8, 3: 0}
    assert shares({1: 0, 2: 0}, 8) == {1: 0, 2: 0}
    assert spread({1: 0.0}, 4) == (0, 0, 0, 0)
    assert spread({}, 2) == (0, 0)
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(MidflightError, match="a weight is finite and at least 0"):
            shares({1: weight}, 8)


def test_second_choices_differ_from_the_first_and_follow_the_weights() -> None:
    weights = {1: 1.0, 2: 1.0, 3: 4.0, 4: 0.0}
    table = spread(weights, SIZE)
    second = second_choices(table, weights)
    assert all(one != other for one, other in zip(table, second, strict=True))
    among = Counter(other for one, other in zip(table, second, strict=True) if one == 1)
    assert 4 not in among
    assert among[3] > 2 * among[2] > 0
    assert second_choices((1, 1), {1: 1.0}) == (0, 0)


@pytest.mark.parametrize("name", CHANGES)
def test_an_action_selector_would_move_several_times_as_many_flows(name: str) -> None:
    """Why buckets are a table: a selector takes the member at the hash modulo their number, in BMv2 and here.

    A member of weight w counts w times (P4Runtime), so a change of a weight shifts the others.
    """

    def members(weights: Mapping[int, float]) -> list[int]:
        return [each for each, weight in weights.items() for _ in range(round(10 * weight))]

    before, after = members(EVEN), members(CHANGES[name])
    hashes = [bucket_of(source, port, 80, 1 << 16) for source, port in flows(10_000)]
    selected = sum(before[each % len(before)] != after[each % len(after)] for each in hashes)
    tables = spread(EVEN, SIZE), rebalance(spread(EVEN, SIZE), CHANGES[name])
    places = [bucket_of(source, port, 80, SIZE) for source, port in flows(10_000)]
    gone = sum(tables[0][each] != tables[1][each] for each in places)
    assert selected > 4 * gone
