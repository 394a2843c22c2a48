"""Collectives of several ranks through a switch with UDP ports, without root."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from midflight.collectives.client import TimedOutError
from midflight.collectives.rounds import Round, bitwise, gathered, greatest, least, sum_floats, sum_integers
from midflight.errors import MidflightError
from midflight.primitives.fixedpoint import quantise
from tests.collectives.ranks import Ranks

COUNT = 3


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    with Ranks(COUNT) as made:
        yield made


def inputs(size: int, kind: Any, seed: int = 0) -> list[NDArray[Any]]:
    random = np.random.default_rng(seed)
    if kind is np.float32:
        return [random.normal(size=size).astype(np.float32) for _ in range(COUNT)]
    limits = np.iinfo(kind)
    return [random.integers(limits.min, limits.max, size, kind, endpoint=True) for _ in range(COUNT)]


@pytest.mark.parametrize("size", [1, 31, 32, 33, 5000])
def test_sums_of_floats_equal_the_fixed_point_reference_bit_for_bit(ranks: Ranks, size: int) -> None:
    given = inputs(size, np.float32, size)
    for each in ranks.run(lambda rank: sum_floats(given[rank], COUNT)):
        reference = np.sum([quantise(one, each.bits).astype(np.int64) for one in given], axis=0)
        assert each.integers.tolist() == reference.tolist()


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_sums_of_integers_are_exact_also_when_the_switch_overflows(ranks: Ranks, kind: Any) -> None:
    given = inputs(200, kind)
    before = ranks.endpoints[0]["sum"].statistics.overflowed
    for each in ranks.run(lambda rank: sum_integers(given[rank])):
        assert each.tolist() == (given[0] + given[1] + given[2]).tolist()
    assert (ranks.endpoints[0]["sum"].statistics.overflowed > before) == (kind == np.int32)


def test_the_other_reductions_are_those_of_numpy(ranks: Ranks) -> None:
    given = inputs(100, np.int64)
    a, b, c = given
    cases: list[tuple[Callable[[int], Any], NDArray[Any]]] = [
        (lambda rank: least(given[rank]), np.minimum(np.minimum(a, b), c)),
        (lambda rank: greatest(given[rank]), np.maximum(np.maximum(a, b), c)),
        (lambda rank: bitwise("and", given[rank]), a & b & c),
        (lambda rank: bitwise("or", given[rank]), a | b | c),
        (lambda rank: bitwise("xor", given[rank]), a ^ b ^ c),
        (lambda rank: gathered(given[rank].view(np.uint8), rank, COUNT), np.stack(given).view(np.uint8)),
    ]
    for collective, expected in cases:
        for each in ranks.run(collective):
            np.testing.assert_array_equal(each, expected)


def test_empty_arrays_take_no_packets(ranks: Ranks) -> None:
    before = ranks.endpoints[0]["sum"].statistics.rounds
    assert [each.size for each in ranks.run(lambda _: sum_integers(np.zeros(0, np.int32)))] == [0] * COUNT
    assert ranks.endpoints[0]["sum"].statistics.rounds == before


def test_collectives_are_carried_out_in_order(ranks: Ranks) -> None:
    pending = [
        [ranks.submit(rank, sum_integers(np.full(40, number * (rank + 1), np.int32))) for number in range(20)]
        for rank in range(COUNT)
    ]
    for row in pending:
        assert [each.wait()[0] for each in row] == [6 * number for number in range(20)]


def test_a_collective_may_wait_for_something_else(ranks: Ranks) -> None:
    class Other:
        def __init__(self) -> None:
            self.finished = threading.Event()
            self.wake: Callable[[], None] | None = None

        def done(self) -> bool:
            return self.finished.is_set()

        def notify(self, wake: Callable[[], None]) -> None:
            self.wake = wake
            threading.Thread(target=self.finish).start()

        def finish(self) -> None:
            assert self.wake is not None
            self.finished.set()
            self.wake()

    others = [Other() for _ in range(COUNT)]

    def collective(rank: int) -> Any:
        assert (yield others[rank]) is None
        total = yield Round("sum", np.array([rank], np.int32))
        return int(total[0])

    assert ranks.run(collective) == [3] * COUNT


def test_a_switch_that_is_killed_costs_time_and_no_sum(ranks: Ranks) -> None:
    given = inputs(100_000, np.float32)
    pid = ranks.switch.pid
    # Two ranks are in the middle of the collective, since the third has not begun it.
    pending = [ranks.submit(rank, sum_floats(given[rank], COUNT)) for rank in (1, 2)]
    os.kill(pid, signal.SIGKILL)
    assert ranks.switch.ended(60)
    pending.append(ranks.submit(0, sum_floats(given[0], COUNT)))
    ranks.switch.restart()
    assert ranks.switch.pid != pid
    for each in pending:
        found = each.wait()
        reference = np.sum([quantise(one, found.bits).astype(np.int64) for one in given], axis=0)
        assert found.integers.tolist() == reference.tolist()


def test_a_collective_that_cannot_complete_says_why() -> None:
    def one() -> Any:
        return sum_integers(np.ones(1, np.int32))

    with Ranks(3, timeout=2.0) as ranks:
        for each in ranks.watches:
            each.behind = "rank 2 has not begun it"
        ranks.watches[1].dead = "rank 2 (process 7) has ended"
        pending = [ranks.submit(rank, one(), "all_reduce of 1 int32") for rank in (0, 1)]
        reason = r"collective 1 \(all_reduce of 1 int32\) did not complete within 2 s: rank 2 has not begun it"
        with pytest.raises(TimedOutError, match=reason):
            pending[0].wait()
        with pytest.raises(MidflightError, match=r"cannot complete: rank 2 \(process 7\) has ended"):
            pending[1].wait()
        with pytest.raises(TimedOutError, match=reason):  # as all later ones
            ranks.submit(0, one()).wait()

        pending = [ranks.submit(2, one()) for _ in range(2)]
        assert pending[0].wait().tolist() == [3]  # the others had contributed
        ranks.clients[2].close()
        for late in (pending[1], ranks.submit(2, one())):
            with pytest.raises(MidflightError, match="has been destroyed"):
                late.wait()
