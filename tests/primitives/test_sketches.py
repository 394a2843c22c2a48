"""Sketches: what they estimate is within the bounds that they state, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from midflight.errors import KernelError
from midflight.primitives import REQUEST, Bloom, CountMin, Message, Primitive
from midflight.primitives.estimators import count_min
from midflight.primitives.estimators.bloom import false_positives, shape


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Bloom("b", rows=0), "rows must be 1 to 16, not 0"),
        (lambda: Bloom("b", rows=17), "rows must be 1 to 16, not 17"),
        (lambda: Bloom("b", columns=2**24 + 1), "columns must be 1 to 16777216"),
        (lambda: Bloom("b", capacity=2**32 - 1), "capacity must be 1 to 4294967294"),
        (lambda: Bloom("b", item_bits=129), "item_bits must be 8 to 128, not 129"),
        (lambda: CountMin("c", rows=17), "rows must be 1 to 16, not 17"),
        (lambda: CountMin("c", columns=0), "columns must be 1 to 16777216, not 0"),
        (lambda: CountMin("c", width=65), "width must be 8 to 64, not 65"),
        (lambda: CountMin("c", item_bits=7), "item_bits must be 8 to 128, not 7"),
    ],
)
def test_parameters_out_of_their_limits(make: Callable[[], Primitive], told: str) -> None:
    with pytest.raises(KernelError, match=told):
        make()


def drawn(seed: int, count: int) -> list[int]:
    """Return different items of 64 bits."""
    return [int(each) for each in np.unique(np.random.default_rng(seed).integers(0, 2**63, 2 * count))[:count]]


@pytest.mark.parametrize(("rows", "columns"), [(1, 600), (2, 512), (4, 400)])
def test_a_bloom_filter_denies_no_member_and_is_wrong_as_often_as_it_says(rows: int, columns: int) -> None:
    bloom = Bloom("app", rows=rows, columns=columns, capacity=200)
    seen = bloom.reference()

    def flags(operation: int, item: int) -> int:
        fields = {"operation": operation, "flags": 0, "item": item}
        answer = seen.process(Message(REQUEST, "app", 0, fields)).message.fields["flags"]
        assert isinstance(answer, int)
        return answer

    items = drawn(1, 2200)
    for item in items[:200]:
        assert flags(Bloom.INSERT, item) < 2
    assert {flags(Bloom.QUERY, item) for item in items[:200]} == {1}
    wrong = sum(flags(Bloom.QUERY, item) for item in items[200:])
    expected = 2000 * bloom.false_positives()
    assert abs(wrong - expected) < 5 * np.sqrt(expected) + 0.1 * expected


def test_the_shape_of_a_bloom_filter_keeps_its_rate() -> None:
    for items, rate in ((1, 0.5), (100, 0.01), (100000, 0.001)):
        rows, columns = shape(items, rate)
        assert false_positives(rows, columns, items) <= rate * (1 + 1e-9)
        assert rows * columns < 1.6 * items * -np.log2(rate) + 2  # 1.44 bits for each factor of two, by Bloom
    assert false_positives(2, 1, 0) == 0
    assert false_positives(2, 1, 3) == 1
    with pytest.raises(KernelError, match="no filter has 3 items and a false-positive rate of 1"):
        shape(3, 1)


@pytest.mark.parametrize(("rows", "columns"), [(1, 64), (3, 64), (4, 40)])
def test_a_count_is_never_too_small_and_seldom_too_large(rows: int, columns: int) -> None:
    random = np.random.default_rng(rows)
    items, ranks = drawn(2, 500), random.zipf(1.2, 4000) % 500
    amounts = random.integers(0, 1500, 4000)
    sketch = CountMin("app", rows=rows, columns=columns).reference()
    for rank, amount in zip(ranks.tolist(), amounts.tolist(), strict=True):
        fields = {"operation": 1, "flags": 0, "item": items[rank], "amount": amount, "estimate": 0, "total": 0}
        total = sketch.process(Message(REQUEST, "app", 0, fields)).message.fields["total"]
    truth = np.bincount(ranks, amounts, minlength=500)
    assert total == truth.sum()
    register = sketch.registers["counts"]
    counts = np.array([[register[row].written.get(each, 0) for each in range(columns)] for row in range(rows)])
    found = count_min.estimates(counts.astype(np.uint32), items, 64)
    assert (found >= truth).all()
    error, probability = count_min.bound(rows, columns, int(truth.sum()))
    too_large = (found - truth > error).mean()
    assert too_large <= probability
    assert (found - truth > error / 10).any(), "a bound that is never approached says little"


def test_the_shape_of_a_count_min_sketch_keeps_its_bound() -> None:
    rows, columns = count_min.shape(0.001, 0.01)
    assert (rows, columns) == (5, 2719)
    error, probability = count_min.bound(rows, columns, 10**6)
    assert error <= 1000
    assert probability <= 0.01
    with pytest.raises(KernelError, match="no sketch has an error of 0"):
        count_min.shape(0, 0.1)
