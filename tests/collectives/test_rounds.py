"""Collectives as rounds of integers: against NumPy, with a reduction that is exactly the switch's."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from midflight.collectives.rounds import (
    DisagreementError,
    FixedSum,
    Round,
    agree,
    bitwise,
    gathered,
    greatest,
    least,
    sum_floats,
    sum_integers,
)
from midflight.primitives.fixedpoint import error_bound, quantise, scale_bits

Array = NDArray[Any]
REDUCTIONS: dict[str, Callable[[Array, Array], Array]] = {
    "sum": np.add, "min": np.minimum, "or": np.bitwise_or, "xor": np.bitwise_xor
}  # fmt: skip
INTEGERS = [np.int8, np.uint8, np.int16, np.int32, np.int64]


def play(ranks: Sequence[Generator[Round, Any, Any]]) -> list[Any]:
    """Run the collective of all ranks, and return what each of them returns."""
    rounds = [next(each) for each in ranks]
    while True:
        assert len({(each.operation, each.values.size) for each in rounds}) == 1, "the ranks disagree"
        assert all(each.values.dtype == np.int32 for each in rounds)
        total = reduce(REDUCTIONS[rounds[0].operation], [each.values for each in rounds])
        done, rounds = [], []
        for each in ranks:
            try:
                rounds.append(each.send(total.copy()))
            except StopIteration as end:
                done.append(end.value)
        if not rounds:
            return done
        assert not done, "some ranks go on alone"


def several(kind: Any, elements: Any = None) -> st.SearchStrategy[list[Array]]:
    """Arrays of equal size, of 2 to 9 ranks."""
    return st.tuples(st.integers(2, 9), st.integers(1, 20)).flatmap(
        lambda size: st.lists(arrays(kind, size[1], elements=elements), min_size=size[0], max_size=size[0])
    )


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=60)
@given(several(np.float32, FINITE))
def test_sums_of_floats_are_those_of_the_fixed_point_reference(inputs: list[Array]) -> None:
    ranks = len(inputs)
    largest = float(max(np.abs(each).max() for each in inputs))
    exponent = max(np.frexp(largest)[1], -125) if largest else -125
    bits = scale_bits(2.0**exponent, ranks)
    reference = np.sum([quantise(each, bits).astype(np.int64) for each in inputs], axis=0)
    exact = np.sum([each.astype(np.float64) for each in inputs], axis=0)
    found: list[FixedSum] = play([sum_floats(each, ranks) for each in inputs])
    for each in found:
        assert (each.bits, each.integers.tolist()) == (bits, reference.tolist())
        fixed = np.ldexp(reference.astype(np.float64), -bits)
        assert (np.abs(fixed - exact) <= error_bound(bits, ranks)).all()
        with np.errstate(over="ignore"):
            assert each.values().tolist() == fixed.astype(np.float32).tolist()


@given(st.integers(2, 64), st.integers(-125, 128))
def test_the_scale_is_as_fine_as_documented(ranks: int, exponent: int) -> None:
    assert scale_bits(2.0**exponent, ranks) >= 29 - exponent - np.log2(ranks)


@settings(max_examples=30)
@given(several(np.float32, FINITE), st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_what_is_not_finite_is_left_to_the_hosts_by_all_ranks(
    inputs: list[Array], strange: float, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(0, len(inputs) - 1))
    inputs[rank][data.draw(st.integers(0, inputs[rank].size - 1))] = strange
    assert play([sum_floats(each, len(inputs)) for each in inputs]) == [None] * len(inputs)


def test_averages_are_rounded_once_and_sums_may_be_infinite() -> None:
    assert (
        FixedSum(np.array([1, 3, -10], np.int32), 0).values(3).tolist()
        == np.array([1 / 3, 1, -10 / 3], np.float32).tolist()
    )
    huge = np.full(1, np.finfo(np.float32).max, np.float32)
    (one, _) = play([sum_floats(huge, 2), sum_floats(huge, 2)])
    assert one.values().tolist() == [np.inf]
    assert FixedSum(np.array([2**30], np.int32), -98).values(2).tolist() == [2.0**127]


@pytest.mark.parametrize("kind", INTEGERS)
def test_sums_of_integers_are_exact_modulo_their_size(kind: Any) -> None:
    @settings(max_examples=25)
    @given(several(kind))
    def check(inputs: list[Array]) -> None:
        with np.errstate(over="ignore"):
            expected = reduce(np.add, inputs)
        for each in play([sum_integers(each) for each in inputs]):
            assert each.dtype == kind
            assert each.tolist() == expected.tolist()

    check()


def test_sums_of_64_ranks_fit_the_parts() -> None:
    inputs = [np.array([-1, 2**63 - 1, -(2**63)], np.int64)] * 64
    assert play([sum_integers(each) for each in inputs])[0].tolist() == [-64, -64, 0]


@pytest.mark.parametrize("kind", [*INTEGERS, np.float32])
@pytest.mark.parametrize(("collective", "reference"), [(least, np.minimum), (greatest, np.maximum)])
def test_extremes_are_those_of_numpy(kind: Any, collective: Any, reference: Any) -> None:
    @settings(max_examples=25)
    @given(several(kind))
    def check(inputs: list[Array]) -> None:
        expected = reduce(reference, inputs)
        for each in play([collective(each) for each in inputs]):
            assert each.dtype == kind
            np.testing.assert_array_equal(each, expected)

    check()


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize(
    ("operation", "reference"), [("and", np.bitwise_and), ("or", np.bitwise_or), ("xor", np.bitwise_xor)]
)
def test_bitwise_operations_are_those_of_numpy(kind: Any, operation: str, reference: Any) -> None:
    @settings(max_examples=25)
    @given(several(kind))
    def check(inputs: list[Array]) -> None:
        strided = [np.repeat(each, 2)[::2] for each in inputs]
        for each in play([bitwise(operation, each) for each in strided]):
            assert each.dtype == kind
            assert each.tolist() == reduce(reference, inputs).tolist()

    check()


@given(several(np.uint8))
def test_bytes_are_gathered_from_all_ranks(inputs: list[Array]) -> None:
    for each in play([gathered(each, rank, len(inputs)) for rank, each in enumerate(inputs)]):
        np.testing.assert_array_equal(each, np.stack(inputs))


MARKS = st.integers(-(2**31), 2**31 - 1)


@given(st.lists(MARKS, min_size=2, max_size=5), MARKS)
def test_ranks_that_call_different_collectives_find_out(marks: list[int], other: int) -> None:
    assert play([agree(other) for _ in marks]) == [None] * len(marks)
    values = np.ones(3, np.float32)
    if len(dict.fromkeys(marks)) > 1:
        with pytest.raises(DisagreementError):
            play([agree(each) for each in marks])
        with pytest.raises(DisagreementError):
            play([sum_floats(values, len(marks), each) for each in marks])
    else:
        assert play([sum_floats(values, len(marks), each) for each in marks])[0] is not None
