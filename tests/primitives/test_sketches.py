"""Sketches: estimates within the documented bounds, and invalid parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from midflight.errors import KernelError
from midflight.p4.frontend import check
from midflight.primitives import (
    REQUEST,
    Bloom,
    CountMin,
    HeavyHitter,
    HyperLogLog,
    Message,
    Primitive,
    Sample,
    Verdict,
    bit,
    hash_,
)
from midflight.primitives.estimators import count_min, hyperloglog
from midflight.primitives.estimators.bloom import false_positives, shape
from midflight.primitives.oracles.hyperloglog import ranks
from midflight.runtime.footprint import footprint
from tests.primitives.sketches import SKETCHES


@pytest.mark.parametrize(
    ("make", "reported"),
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
        (lambda: HeavyHitter("h", above=0, window=9), "above must be 1 to 4294967295, not 0"),
        (lambda: HeavyHitter("h", above=1, window=2**31), "window must be 1 to 2147483647, not 2147483648"),
        (lambda: HeavyHitter("h", above=1, window=9, rows=17), "rows must be 1 to 16, not 17"),
        (lambda: HeavyHitter("h", above=1, window=9, columns=0), "columns must be 1 to 1048576, not 0"),
        (lambda: HeavyHitter("h", above=1, window=9, slots=0), "slots must be 1 to 1048576, not 0"),
        (lambda: Sample("s", one_in=0), "one_in must be 1 to 2147483648, not 0"),
        (lambda: Sample("s", one_in=2, by="luck"), "by must be count, packet or flow, not 'luck'"),  # type: ignore[arg-type]
        (lambda: Sample("s", one_in=2, others="?"), "others must be forward or drop, not '?'"),  # type: ignore[arg-type]
        (lambda: Sample("s", one_in=2, item_bits=0), "item_bits must be 8 to 128, not 0"),
        (lambda: HyperLogLog("u", precision=3), "precision must be 4 to 16, not 3"),
        (lambda: HyperLogLog("u", precision=17), "precision must be 4 to 16, not 17"),
        (lambda: HyperLogLog("u", item_bits=129), "item_bits must be 8 to 128, not 129"),
    ],
)
def test_parameters_out_of_range_are_rejected(make: Callable[[], Primitive], reported: str) -> None:
    with pytest.raises(KernelError, match=reported):
        make()


@pytest.mark.parametrize("name", SKETCHES)
def test_each_sketch_needs_few_stages(name: str) -> None:
    asked = footprint(check(SKETCHES[name]().p4(), f"{name}.p4")).total
    assert asked.most_accesses <= 1
    assert asked.circles == ()
    assert asked.stages_on() <= 5  # two of them for admission and membership


def drawn(seed: int, count: int) -> list[int]:
    """Return different items of 64 bits."""
    return [int(each) for each in np.unique(np.random.default_rng(seed).integers(0, 2**63, 2 * count))[:count]]


@pytest.mark.parametrize(("rows", "columns"), [(1, 600), (2, 512), (4, 400)])
def test_a_bloom_filter_has_no_false_negatives_and_the_documented_false_positives(rows: int, columns: int) -> None:
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
    with pytest.raises(KernelError, match="between 0 and 1: not 3 items and 1"):
        shape(3, 1)


@pytest.mark.parametrize(("rows", "columns"), [(1, 64), (3, 64), (4, 40)])
def test_counts_are_never_too_small_and_rarely_too_large(rows: int, columns: int) -> None:
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
    counts = np.array([[register[row].written.get(each, 0) for row in range(rows)] for each in range(columns)])
    found = count_min.estimates(counts.astype(np.uint32), items, 64)
    assert (found >= truth).all()
    error, probability = count_min.bound(rows, columns, int(truth.sum()))
    too_large = (found - truth > error).mean()
    assert too_large <= probability
    assert (found - truth > error / 10).any(), "the bound is not trivial"


def test_the_shape_of_a_count_min_sketch_keeps_its_bound() -> None:
    rows, columns = count_min.shape(0.001, 0.01)
    assert (rows, columns) == (5, 2719)
    error, probability = count_min.bound(rows, columns, 10**6)
    assert error <= 1000
    assert probability <= 0.01
    with pytest.raises(KernelError, match="between 0 and 1, not 0"):
        count_min.shape(0, 0.1)


def test_every_heavy_item_is_reported_once_per_window() -> None:
    random = np.random.default_rng(4)
    window, above = 500, 20
    items, ranks = drawn(3, 300), random.zipf(1.3, 6 * window) % 300
    amounts = random.integers(1, 5, 6 * window)
    primitive = HeavyHitter("app", above=above, window=window, rows=3, columns=256, slots=512)
    elephants = primitive.reference()
    reported: list[list[int]] = [[] for _ in range(6)]
    for place, (rank, amount) in enumerate(zip(ranks.tolist(), amounts.tolist(), strict=True)):
        fields = {"item": items[rank], "amount": amount}
        for item, estimate in elephants.process(Message(REQUEST, "app", 0, fields)).alerts:
            assert estimate >= above
            reported[place // window].append(items.index(item))
    for each, names in enumerate(reported):
        here = slice(each * window, (each + 1) * window)
        had = np.bincount(ranks[here], amounts[here], minlength=300)
        heavy = set(np.flatnonzero(had >= above).tolist())
        assert len(heavy) > 4
        assert heavy <= set(names)
        assert len(names) == len(set(names))
        error, probability = count_min.bound(3, 256, int(had.sum()))
        assert sum(had[name] < above - error for name in names) <= probability * 300


def seen(precision: int, items: list[int]) -> np.ndarray:
    """Return the registers after these items, from the oracle's hash."""
    registers = np.zeros(2**precision, dtype=np.uint8)
    for register, rank in ranks(items, precision=precision, item_bits=64):
        registers[register] = max(registers[register], rank)
    return registers


def test_the_alerts_of_a_hyperloglog_are_its_registers() -> None:
    items = drawn(5, 400)
    users = HyperLogLog("app", precision=6).reference()
    alerts = [alert for item in items for alert in users.process(Message(REQUEST, "app", 0, {"item": item})).alerts]
    registers = hyperloglog.registers(alerts[::-1], 6)
    assert registers.tolist() == [users.registers["ranks"].written.get(each, 0) for each in range(64)]
    assert registers.tolist() == seen(6, items).tolist()
    assert len(alerts) < 64 * np.log2(400)


@pytest.mark.parametrize("count", [1, 10, 100, 600, 1000, 3000, 20000])
def test_distinct_items_are_estimated_within_the_standard_error(count: int) -> None:
    off = np.array([hyperloglog.estimate(seen(8, drawn(seed, count))) / count - 1 for seed in range(20)])
    error = hyperloglog.standard_error(8)
    assert np.sqrt((off**2).mean()) < 1.4 * error
    assert abs(off.mean()) < 3 * error / np.sqrt(len(off))


@pytest.mark.parametrize("count", [10**6, 10**9, 4 * 10**9, 10**10])
def test_the_estimate_is_unbiased_with_hash_collisions(count: int) -> None:
    """Draw registers as after `count` items, which are too many to hash individually."""
    random = np.random.default_rng(9)
    precision, share = 10, -(2.0**32) * np.expm1(-count / 2**32) / 2**10
    uniform = random.random((10, 2**precision))
    registers = np.ones(uniform.shape, dtype=np.int64)
    for rank in range(1, 33 - precision):
        registers[uniform > np.exp(share * np.log1p(-(2.0**-rank)))] = rank + 1
    off = np.array([hyperloglog.estimate(each) / count - 1 for each in registers])
    assert abs(off.mean()) < (4 if count > 10**9 else 1.5) * hyperloglog.standard_error(precision)


def test_extreme_states_of_a_hyperloglog() -> None:
    assert hyperloglog.estimate(np.zeros(16, dtype=np.uint8)) == 0
    assert hyperloglog.estimate(np.full(16, 29)) == np.inf
    for wrong in (np.zeros(15, dtype=np.uint8), np.full(16, 30)):
        with pytest.raises(KernelError, match="cannot be those of a HyperLogLog"):
            hyperloglog.estimate(wrong)


def test_sketches_of_several_switches_are_merged() -> None:
    items = drawn(6, 1500)
    united = np.maximum(seen(8, items[:1000]), seen(8, items[500:]))
    assert united.tolist() == seen(8, items).tolist()


def sampled(sample: Sample, packets: list[tuple[int, int]]) -> list[bool]:
    """Return for each packet (item, sequence) whether a sample that drops others forwards it."""
    watch = sample.reference()
    outcomes = [watch.process(Message(REQUEST, "app", sequence, {"item": item})) for item, sequence in packets]
    return [each.verdict == Verdict.FORWARD for each in outcomes]


@pytest.mark.parametrize("one_in", [8, 10])
def test_samples_are_representative(one_in: int) -> None:
    items = drawn(8, 4000)
    each = [(item, number) for number, item in enumerate(items)]
    counted = sampled(Sample("app", one_in=one_in, by="count", others="drop"), each)
    assert counted == [number % one_in == 0 for number in range(4000)]
    one_flow = [(items[0], number) for number in range(4000)]
    by_packet = Sample("app", one_in=one_in, by="packet", others="drop")
    for samples in (sampled(by_packet, each), sampled(by_packet, one_flow)):
        assert abs(sum(samples) * one_in - 4000) < 4 * 4000 / np.sqrt(sum(samples))
    assert sampled(by_packet, one_flow) == sampled(by_packet, one_flow)
    by_flow = Sample("app", one_in=one_in, by="flow", others="drop")
    assert len(set(sampled(by_flow, one_flow))) == 1
    flows = sampled(by_flow, each)
    assert abs(sum(flows) * one_in - 4000) < 4 * 4000 / np.sqrt(sum(flows))


def test_a_sketch_after_a_sample_of_flows_uses_all_columns() -> None:
    items = drawn(9, 6000)
    chosen = sampled(Sample("app", one_in=20, by="flow", others="drop"), [(item, 0) for item in items])
    columns = [int(hash_(bit[64](item), seed=0, range=16)) for item, stays in zip(items, chosen, strict=True) if stays]
    counts = np.bincount(columns, minlength=16)
    expected = len(columns) / 16
    assert ((counts - expected) ** 2 / expected).sum() < 45  # chi-squared with 15 degrees of freedom: p < 1e-4
