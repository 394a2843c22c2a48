"""Network faults in cases: packets are lost, duplicated and delayed, and none are invented."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from midflight.testbed.conformance.faults import LOST, Fate, brought, weathered
from midflight.testbed.conformance.subject import Request

SENT = [Request(1, number, {}) for number in range(20)]


def numbers(requests: list[Request]) -> list[int]:
    return [each.sequence for each in requests]


@pytest.mark.parametrize(
    ("fates", "arrive"),
    [
        ([(0,), (0,), (0,)], [0, 1, 2]),
        ([(0,), LOST, (0,)], [0, 2]),
        ([(0,), (0, 0), (0,)], [0, 1, 1, 2]),
        ([(1,), (0,), (0,)], [1, 0, 2]),
        ([(0, 2), (0,), (0,)], [0, 1, 2, 0]),
        ([(9,), (1,), (0,)], [2, 1, 0]),
        ([LOST, LOST, LOST], [0]),
    ],
)
def test_packets_are_lost_duplicated_and_delayed_as_drawn(fates: list[Fate], arrive: list[int]) -> None:
    assert numbers(brought(SENT[:3], fates)) == arrive


def test_a_network_loses_duplicates_and_reorders() -> None:
    seen: Counter[str] = Counter()
    for seed in range(300):
        came = numbers(weathered(Random(seed), SENT))
        assert came
        assert set(came) <= set(numbers(SENT))
        seen["calm"] += came == numbers(SENT)
        seen["lost"] += len(set(came)) < len(SENT)
        seen["doubled"] += len(set(came)) < len(came)
        seen["overtaken"] += any(later < sooner for sooner, later in pairwise(came))
    assert min(seen.values()) > 50
    assert len(seen) == 4
