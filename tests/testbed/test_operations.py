"""The operations of a group of workers other than sums of floats."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from midflight.errors import MidflightError
from midflight.primitives import Aggregate, Program
from midflight.primitives.fixedpoint import INT16_MAX, INT32_MAX, error_bound, largest_exponent, scale_bits
from midflight.primitives.library.aggregate import Number, Operation
from midflight.testbed import Star
from midflight.testbed.group import Group

WORKERS = 3
RANDOM = np.random.default_rng(7)
FLOATS = [RANDOM.normal(0, 3, (5, 7)).astype(np.float32) for _ in range(WORKERS)]
INTEGERS = [RANDOM.integers(-5000, 5000, 40) for _ in range(WORKERS)]
INTEGERS[1][::4] = 0
LONG = [RANDOM.integers(-5000, 5000, 4000) for _ in range(WORKERS)]
LIMITS: dict[Number, int] = {"int32": INT32_MAX, "int16": INT16_MAX}

Work = Callable[[Group], Any]

EXACT: dict[Operation, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "sum": lambda rows: rows.sum(axis=0),
    "count": lambda rows: (rows != 0).sum(axis=0),
    "mean": lambda rows: rows.mean(axis=0),
    "min": lambda rows: rows.min(axis=0),
    "max": lambda rows: rows.max(axis=0),
    "and": lambda rows: np.bitwise_and.reduce(rows, axis=0),
    "or": lambda rows: np.bitwise_or.reduce(rows, axis=0),
    "xor": lambda rows: np.bitwise_xor.reduce(rows, axis=0),
}


def done(work: Work, *, loss: float = 0.1, **parameters: Any) -> Any:
    """Return the result of an operation of three workers over lossy links."""
    program = Program(Aggregate("gradients", workers=WORKERS, lanes=8, slots=4, **parameters))
    with Star(hosts=WORKERS + 1, program=program, loss=loss) as net:
        return work(net.group("gradients", net.hosts[:WORKERS]))


@pytest.mark.parametrize("number", LIMITS)
@pytest.mark.parametrize("operation", ["sum", "mean", "min", "max"])
def test_errors_of_floats_are_within_the_bound(operation: Operation, number: Number) -> None:
    exact = np.stack(FLOATS).astype(np.float64)
    truth = EXACT[operation](exact)
    results = done(lambda group: group.allreduce(FLOATS), operation=operation, number=number)
    terms = WORKERS if operation in ("sum", "mean") else 1
    largest = float(np.abs(exact).max())
    bits = scale_bits(2.0 ** np.ceil(np.log2(largest)), terms, LIMITS[number])
    bound = error_bound(bits, terms) / (WORKERS if operation == "mean" else 1)
    rounding = np.abs(truth) * 2.0**-24
    assert len(results) == WORKERS
    for result in results:
        assert result.dtype == np.float32
        assert (np.abs(result - truth) <= bound + rounding).all()


HARD = {
    "subnormal": [[2.0**-149, -(2.0**-127)], [2.0**-140, 3 * 2.0**-149], [0, 2.0**-126]],
    "2**250 apart": [[2.0**124, 2.0**-126], [1, 2.0**124], [-(2.0**-126), 5]],
    "cancelling": [[1e20, 16777216], [-1e20, -16777215], [1, 0.5]],
}


@pytest.mark.parametrize("number", LIMITS)
@pytest.mark.parametrize("rows", HARD.values(), ids=HARD)
def test_errors_of_difficult_floats_are_within_the_documented_bound(rows: list[list[float]], number: Number) -> None:
    """The bound is relative to the largest magnitude, which an all-reduce rounds up to a power of two."""
    arrays = [np.array(row, np.float32) for row in rows]
    above = Fraction(2) ** largest_exponent(np.stack(arrays))
    for result in done(lambda group: group.allreduce(arrays), number=number):
        for column, value in zip(np.stack(arrays).T, result, strict=True):
            true = sum((Fraction(float(each)) for each in column), Fraction(0))
            rounding = Fraction(float(np.spacing(np.abs(value)))) / 2
            bound = above * WORKERS**2 * Fraction(2, LIMITS[number] + 1)
            assert abs(Fraction(float(value)) - true) <= bound + rounding


@pytest.mark.parametrize("operation", EXACT)
def test_integers_are_exact(operation: Operation) -> None:
    results = done(lambda group: group.allreduce(INTEGERS), operation=operation, number="int16")
    for result in results:
        np.testing.assert_array_equal(result, EXACT[operation](np.stack(INTEGERS)))


@pytest.mark.parametrize("operation", ["min", "xor"])
def test_workers_compute_operations_without_a_switch(operation: Operation) -> None:
    program = Program(Aggregate("gradients", workers=WORKERS, lanes=8, slots=4, operation=operation))
    with Star(hosts=WORKERS, program=program) as net:
        group = net.group("gradients", net.hosts)
        net.after(50_000, net.give_up, "s1")
        results = group.allreduce(LONG)
        assert all(each.stuck > 200 for each in group.statistics)
    for result in results:
        np.testing.assert_array_equal(result, EXACT[operation](np.stack(LONG)))


def test_overflow_follows_the_parameter() -> None:
    large = [np.array([30_000, -30_000], np.int16)] * WORKERS
    assert done(lambda group: group.allreduce(large), number="int16")[0].tolist() == [32767, -32768]
    wrapped = done(lambda group: group.allreduce(large), number="int16", overflow="wrap")[2]
    assert wrapped.tolist() == [90_000 - 65_536, 65_536 - 90_000]
    found = done(lambda group: group.allreduce(large), number="int16", overflow="detect")[1]
    assert found.tolist() == [90_000, -90_000]


def test_a_reduction_returns_its_result_at_the_root() -> None:
    result = done(lambda group: group.reduce(INTEGERS, root=2))
    np.testing.assert_array_equal(result, np.stack(INTEGERS).sum(axis=0))


@pytest.mark.parametrize(
    ("operation", "number"), [*((each, "int32") for each in EXACT), ("sum", "int16"), ("and", "int16")]
)
def test_a_broadcast_is_bit_for_bit_identical(operation: Operation, number: Number) -> None:
    sent = np.array([[1.5, -0.0, np.nan], [np.inf, 1e-300, -7]], np.float64)[:, :: 1 if number == "int32" else 2]
    results = done(lambda group: group.broadcast(sent, root=1), operation=operation, number=number)
    assert [(each.dtype, each.shape, each.tobytes()) for each in results] == [
        (sent.dtype, sent.shape, sent.tobytes())
    ] * WORKERS


def test_one_group_can_perform_several_operations() -> None:
    def work(group: Group) -> list[Any]:
        return [
            group.allreduce(FLOATS)[0],
            group.broadcast(np.arange(5, dtype=np.uint8), root=0)[2],
            group.allreduce(INTEGERS)[1],
            group.reduce(FLOATS, root=1),
        ]

    first, second, third, fourth = done(work)
    np.testing.assert_array_equal(first, fourth)
    assert second.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(third, np.stack(INTEGERS).sum(axis=0))


@pytest.mark.parametrize(
    ("work", "parameters", "reported"),
    [
        (
            lambda group: group.allreduce(FLOATS),
            {"operation": "xor"},
            "gradients computes xor",
        ),
        (lambda group: group.allreduce([*INTEGERS[:2], FLOATS[0].reshape(-1)[:40]]), {}, "shape"),
        (lambda group: group.allreduce([*INTEGERS[:2], np.ones(40)]), {}, "some arrays are of floats"),
        (lambda group: group.allreduce([np.full(3, 40_000)] * 3), {"number": "int16"}, "40000 does not fit an int16"),
        (lambda group: group.allreduce([np.full(3, -(2**31) - 1)] * 3), {}, "-2147483649 does not fit an int32"),
        (lambda group: group.reduce(INTEGERS, root=3), {}, "gradients has no worker 3"),
        (lambda group: group.broadcast(INTEGERS[0], root=-1), {}, "gradients has no worker -1"),
    ],
)
def test_values_that_do_not_fit_are_rejected(work: Work, parameters: dict[str, Any], reported: str) -> None:
    with pytest.raises(MidflightError, match=reported):
        done(work, loss=0, **parameters)


def test_each_block_of_floats_has_its_own_exponent() -> None:
    """Small numbers keep their precision next to numbers 10**12 times as large, as these are in another block."""
    small = [RANDOM.normal(0, 1e-6, 8) for _ in range(WORKERS)]
    arrays = [
        np.concatenate((each, RANDOM.normal(0, 1e6, 8), each[:4])).astype(np.float32).reshape(4, 5) for each in small
    ]
    results, together = done(lambda group: (group.allreduce(arrays, block=8), group.allreduce(arrays)), number="int16")
    truth = np.sum([each.astype(np.float64) for each in arrays], axis=0)
    for block in (slice(0, 8), slice(8, 16), slice(16, 20)):
        largest = max(float(np.abs(each.reshape(-1)[block]).max()) for each in arrays)
        bits = scale_bits(2.0 ** np.ceil(np.log2(largest)), WORKERS, INT16_MAX)
        rounding = np.abs(truth.reshape(-1)[block]) * 2.0**-24
        for each in results:
            assert each.shape == (4, 5)
            error = np.abs(each.astype(np.float64) - truth).reshape(-1)[block]
            assert (error <= error_bound(bits, WORKERS) + rounding).all()
    assert not together[0].reshape(-1)[:8].any(), "with a common exponent, the small ones become zero"
    with pytest.raises(MidflightError, match="a block must have at least one number, not 0"):
        done(lambda group: group.allreduce(arrays, block=0))
