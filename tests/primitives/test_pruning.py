"""Pruning: the remaining rows give the same results as all rows, and most rows are dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from midflight.errors import KernelError
from midflight.primitives import REQUEST, Distinct, Message, Primitive, SemiJoin, Skyline, TopN, Verdict
from midflight.primitives.estimators import completion


@pytest.mark.parametrize(
    ("make", "reported"),
    [
        (lambda: Distinct("d", rows=0), "rows must be 1 to 1048576, not 0"),
        (lambda: Distinct("d", columns=17), "columns must be 1 to 16, not 17"),
        (lambda: Distinct("d", item_bits=129), "item_bits must be 8 to 128, not 129"),
        (lambda: Distinct("d", fingerprint=7), "fingerprint must be 0 or 8 to 32, not 7"),
        (lambda: Distinct("d", pruned="lost"), "pruned must be drop or reply, not 'lost'"),  # type: ignore[arg-type]
        (lambda: TopN("t", n=0), "n must be 1 to 65535, not 0"),
        (lambda: TopN("t", n=3, lowest=0), "lowest must be 1 to 4294967295, not 0"),
        (lambda: TopN("t", n=3, levels=33), "levels must be 1 to 32, not 33"),
        (lambda: TopN("t", n=3, queries=65537), "queries must be 1 to 65536, not 65537"),
        (lambda: TopN("t", n=3, lowest=2, levels=32), "the highest threshold would be 4294967296; use fewer levels"),
        (lambda: TopN("t", n=3, pruned=""), "pruned must be drop or reply, not ''"),  # type: ignore[arg-type]
        (lambda: Skyline("s", points=65), "points must be 1 to 64, not 65"),
        (lambda: Skyline("s", dimensions=1), "dimensions must be 2 to 8, not 1"),
        (lambda: Skyline("s", width=33), "width must be 4 to 32, not 33"),
        (lambda: SemiJoin("j", rows=17), "rows must be 1 to 16, not 17"),
        (lambda: SemiJoin("j", columns=0), "columns must be 1 to 16777216, not 0"),
        (lambda: SemiJoin("j", item_bits=4), "item_bits must be 8 to 128, not 4"),
        (lambda: SemiJoin("j", pruned="all"), "pruned must be drop or reply, not 'all'"),  # type: ignore[arg-type]
    ],
)
def test_parameters_out_of_range_are_rejected(make: Callable[[], Primitive], reported: str) -> None:
    with pytest.raises(KernelError, match=reported):
        make()


def left(primitive: Primitive, rows: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Return for each row whether it is forwarded."""
    switch = primitive.reference()
    outcomes = [switch.process(Message(REQUEST, primitive.name, 0, {"flags": 0, **row})) for row in rows]
    return [each.verdict == Verdict.FORWARD for each in outcomes]


@pytest.mark.parametrize("fingerprint", [0, 32])
def test_distinct_keeps_all_items(fingerprint: int) -> None:
    items = np.random.default_rng(1).zipf(1.2, 4000) % 1000
    distinct = Distinct("app", rows=64, columns=4, fingerprint=fingerprint)
    stay = left(distinct, [{"item": each} for each in items.tolist()])
    assert set(items[stay].tolist()) == set(items.tolist())
    assert np.mean(stay) < 0.35


def test_a_short_fingerprint_loses_items_within_the_documented_bound() -> None:
    items = list(range(0, 3000 * 7, 7))
    stay = left(Distinct("app", rows=16, columns=4, fingerprint=8), [{"item": each} for each in items])
    lost = len(items) - sum(stay)
    expected = len(items) * 4 * 2**-8
    assert 0 < lost < expected + 5 * np.sqrt(expected)


@pytest.mark.parametrize(("n", "levels"), [(1, 16), (10, 16), (50, 8), (3000, 4)])
def test_topn_keeps_the_largest_values(n: int, levels: int) -> None:
    random = np.random.default_rng(n)
    values = (random.pareto(1.5, 2000) * 50).astype(np.int64)
    topn = TopN("app", n=n, lowest=8, levels=levels)
    stay = left(topn, [{"query": 0, "value": each} for each in values.tolist()])
    assert completion.top(values[stay], n).tolist() == sorted(values.tolist(), reverse=True)[:n]
    if n < len(values) and levels == 16:
        late = values[1000:][stay[1000:]]
        least = completion.top(values[:1000], n)[-1]
        assert (late > least / 2).all()
        assert len(late) < 10 * n + 10


@pytest.mark.parametrize("dimensions", [2, 3, 5])
def test_skyline_keeps_the_skyline(dimensions: int) -> None:
    points = np.random.default_rng(dimensions).integers(0, 200, (1500, dimensions))
    skyline = Skyline("app", points=8, dimensions=dimensions, width=8)
    stay = left(skyline, [{"values": each} for each in points.tolist()])
    found = completion.skyline(points[stay])
    assert found.tolist() == completion.skyline(points).tolist()
    assert {tuple(each) for each in found.tolist()} == by_definition(points)
    assert np.mean(stay) < {2: 0.1, 3: 0.3, 5: 0.8}[dimensions]


def by_definition(points: np.ndarray) -> set[tuple[int, ...]]:
    """Return the skyline by comparing every point with every other."""
    different = np.unique(points, axis=0)
    beats = (different[:, np.newaxis] >= different).all(axis=2) & (different[:, np.newaxis] != different).any(axis=2)
    return {tuple(each) for each in different[~beats.any(axis=0)].tolist()}


def test_semijoin_keeps_all_rows_with_a_partner_and_few_others() -> None:
    random = np.random.default_rng(7)
    ours, theirs = random.integers(0, 2**63, 300), random.integers(0, 2**63, 2000)
    theirs[::10] = random.choice(ours, 200)
    join = SemiJoin("app", rows=2, columns=2048)
    rows = [(SemiJoin.BUILD, each) for each in ours.tolist()] + [(SemiJoin.PROBE, each) for each in theirs.tolist()]
    stay = np.array(left(join, [{"side": side, "epoch": 0, "item": item} for side, item in rows]))
    assert stay[:300].all()
    partner = np.isin(theirs, ours)
    assert stay[300:][partner].all()
    passing = stay[300:][~partner].sum()
    expected = join.false_positives(300) * (~partner).sum()
    assert abs(passing - expected) < 5 * np.sqrt(expected)


def test_a_switch_that_lost_its_keys_prunes_nothing() -> None:
    join = SemiJoin("app", columns=64)
    fields = {"flags": 0, "side": SemiJoin.BUILD, "epoch": 0, "item": 5}
    built = join.reference(epoch=8).process(Message(REQUEST, "app", 0, fields)).message.fields
    assert built == {**fields, "flags": 4, "epoch": 8}
    probe = Message(REQUEST, "app", 0, {**fields, "side": SemiJoin.PROBE, "epoch": built["epoch"], "item": 6})
    assert join.reference(epoch=8).process(probe).verdict == Verdict.DROP
    assert join.reference(epoch=9).process(probe).verdict == Verdict.FORWARD


def test_a_retransmitted_row_is_not_pruned() -> None:
    users = Distinct("app", pruned="reply").reference()

    def send(flags: int) -> tuple[str, object]:
        outcome = users.process(Message(REQUEST, "app", 0, {"flags": flags, "item": 5}))
        return outcome.verdict.name, outcome.message.fields["flags"]

    assert [send(0), send(1), send(0), send(1)] == [("FORWARD", 0), ("FORWARD", 1), ("REPLY", 2), ("FORWARD", 1)]


def test_completion_of_little() -> None:
    assert completion.top(np.array([3, 1, 2]), 5).tolist() == [3, 2, 1]
    assert completion.top(np.array([3, 1, 3]), 2).tolist() == [3, 3]
    assert completion.top(np.array([], dtype=np.int64), 2).tolist() == []
    assert completion.skyline(np.array([[1, 2], [1, 2], [0, 2], [2, 0]])).tolist() == [[1, 2], [2, 0]]
    assert completion.skyline(np.zeros((0, 3), dtype=np.int64)).tolist() == []
