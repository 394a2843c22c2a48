"""Fixed-point conversion: its error bound, absence of overflow, and rejected values."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from midflight.errors import WireError
from midflight.primitives.fixedpoint import (
    INT16_MAX,
    INT32_MAX,
    dequantise,
    error_bound,
    largest_exponent,
    quantise,
    scale_bits,
)

LIMITS = st.sampled_from((INT16_MAX, INT32_MAX))
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
# The sum of eight of these is within float32's range.
SUMMABLE = st.floats(-(2.0**124), 2.0**124, width=32)
MATRICES = arrays.arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 6)), elements=SUMMABLE)


@given(MATRICES, LIMITS)
def test_a_sum_is_within_the_stated_bound_and_never_overflows(matrix: NDArray[np.float32], limit: int) -> None:
    workers = len(matrix)
    bits = scale_bits(2.0 ** largest_exponent(matrix), workers, limit)
    integers = np.stack([quantise(each, bits, limit) for each in matrix]).astype(object).sum(axis=0)  # exact
    assert all(abs(each) <= limit for each in integers)
    for column, total in zip(matrix.T, integers, strict=True):
        true = sum(Fraction(float(each)) for each in column)
        assert abs(Fraction(total) * Fraction(2) ** -bits - true) <= Fraction(error_bound(bits, workers))
    values = dequantise(integers.astype(np.int32), bits)
    exact = np.array([float(Fraction(each) * Fraction(2) ** -bits) for each in integers])
    np.testing.assert_array_equal(values, exact.astype(np.float32))


HARD = {
    "subnormal": [[2.0**-149, 2.0**-126, -(2.0**-149)], [-3 * 2.0**-149, 2.0**-127, 5 * 2.0**-140]],
    "2**250 apart": [[2.0**124, 2.0**-126, -(2.0**-126)], [2.0**-126, 2.0**124, 2.0**-1], [1.0, -(2.0**123), 3.0]],
    "cancelling": [[1e8, 1e20, 1.0], [1.0, -1e20, 1e-8], [-1e8, 1e3, -1.0]],
    "cancelling to an odd bit": [[16777216.0, 3e38 / 8], [-16777215.0, -3e38 / 8], [0.5, 1e-30]],
    "all the same, at an edge": [[np.nextafter(np.float32(1), np.float32(2))] * 3] * 7,
    "all zero": [[0.0, -0.0]] * 2,
}


@pytest.mark.parametrize("rows", HARD.values(), ids=HARD)
@pytest.mark.parametrize("limit", [INT16_MAX, INT32_MAX])
def test_difficult_sums_are_within_the_bound_and_one_rounding(rows: list[list[float]], limit: int) -> None:
    matrix = np.array(rows, np.float32)
    workers = len(matrix)
    bits = scale_bits(2.0 ** largest_exponent(matrix), workers, limit)
    sums = np.stack([quantise(each, bits, limit) for each in matrix]).sum(axis=0, dtype=np.int64)
    assert np.abs(sums).max() <= limit
    back = dequantise(sums.astype(np.int32), bits)
    for column, value in zip(matrix.T, back, strict=True):
        true = sum((Fraction(float(each)) for each in column), Fraction(0))
        rounding = Fraction(float(np.spacing(np.abs(value)))) / 2
        assert abs(Fraction(float(value)) - true) <= Fraction(error_bound(bits, workers)) + rounding


@given(st.floats(min_value=1e-40, max_value=1e38), st.integers(1, INT16_MAX // 2), LIMITS)
def test_the_bound_is_relative_to_the_largest_magnitude(largest: float, workers: int, limit: int) -> None:
    bound = Fraction(workers) / 2 / Fraction(2) ** scale_bits(largest, workers, limit)
    assert error_bound(scale_bits(largest, workers, limit), workers) == float(bound)
    assert bound <= Fraction(largest) * workers**2 * Fraction(2, limit + 1)


@given(st.floats(min_value=1e-40, max_value=1e38), st.integers(1, 4096), LIMITS)
def test_the_scale_is_the_finest_without_overflow(largest: float, workers: int, limit: int) -> None:
    bits = scale_bits(largest, workers, limit)
    assert workers * round(Fraction(largest) * Fraction(2) ** bits) <= limit
    assert workers * round(Fraction(largest) * Fraction(2) ** (bits + 1)) > limit


@given(arrays.arrays(np.float32, st.integers(1, 20), elements=FLOATS))
def test_the_exponent_bounds_every_value_tightly(values: NDArray[np.float32]) -> None:
    exponent = largest_exponent(values)
    largest = max(abs(Fraction(float(each))) for each in values)
    assert largest < Fraction(2) ** exponent
    assert exponent == -125 or largest >= Fraction(2) ** (exponent - 1)


@given(st.integers(-INT32_MAX, INT32_MAX), st.integers(-90, 140))
def test_integers_become_the_nearest_float(integer: int, bits: int) -> None:
    [value] = dequantise(np.array([integer], np.int32), bits)
    assert value == np.float32(math.ldexp(integer, -bits))


def test_ties_go_to_even() -> None:
    halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)
    assert quantise(halves, 0).tolist() == [-2, -2, 0, 0, 2, 2]


def test_nothing_to_sum() -> None:
    empty = np.array([], np.float32)
    assert largest_exponent(empty) == -125
    assert quantise(empty, 3).shape == dequantise(quantise(empty, 3), 3).shape == (0,)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_without_fixed_point_form_are_rejected_with_their_position(bad: float) -> None:
    values = np.array([1, bad, 2], np.float32)
    with pytest.raises(WireError, match="position 1"):
        quantise(values, 4)
    with pytest.raises(WireError, match="position 1"):
        largest_exponent(values)


def test_values_beyond_the_scale_are_rejected_instead_of_wrapped() -> None:
    assert quantise(np.array([-INT32_MAX], np.float64), 0).tolist() == [-INT32_MAX]
    with pytest.raises(WireError, match="does not fit an int32 with 0 fraction bits"):
        quantise(np.array([2.0**31]), 0)
    with pytest.raises(WireError, match="does not fit an int32"):
        quantise(np.array([1.0]), 2000)
    with pytest.raises(WireError, match="does not fit a float32"):
        largest_exponent(np.array([1e300]))


def test_a_sum_beyond_float32_is_rejected_instead_of_infinite() -> None:
    with pytest.raises(WireError, match="does not fit a float32"):
        dequantise(np.array([INT32_MAX], np.int32), -98)


@pytest.mark.parametrize(("largest", "workers"), [(0.0, 1), (-1.0, 1), (math.inf, 1), (math.nan, 1), (1.0, 0)])
def test_a_scale_needs_a_magnitude_and_a_worker(largest: float, workers: int) -> None:
    with pytest.raises(WireError):
        scale_bits(largest, workers)


def test_too_many_workers_for_an_int32() -> None:
    with pytest.raises(WireError, match="cannot stay below the limit"):
        scale_bits(1.0, 2**31)
