"""The numbers of executed kernels: they wrap like hardware, and reject operations with another result on hardware."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.errors import KernelError
from midflight.primitives import Register, add_overflows, bit, bits, concat, int_, sat_add, sat_sub
from midflight.primitives.kernel.types import Kind

DTYPES: dict[Kind, type[np.integer[Any]]] = {
    bit[8]: np.uint8,
    int_[8]: np.int8,
    bit[32]: np.uint32,
    int_[32]: np.int32,
    int_[64]: np.int64,
}
KINDS = st.sampled_from(list(DTYPES))
OPERATORS: tuple[Callable[[int, int], int], ...] = (
    operator.add, operator.sub, operator.mul, operator.and_, operator.or_, operator.xor,
)  # fmt: skip


@given(data=st.data(), kind=KINDS, function=st.sampled_from(OPERATORS))
def test_arithmetic_wraps_like_numpys(data: st.DataObject, kind: Kind, function: Callable[[int, int], int]) -> None:
    left, right = (data.draw(st.integers(kind.low, kind.high)) for _ in range(2))
    dtype = DTYPES[kind]
    with np.errstate(over="ignore"):
        expected = int(function(dtype(left), dtype(right)))  # type: ignore[arg-type]
    assert function(kind(left), kind(right)) == expected
    assert function(kind(left), right) == expected
    assert function(left, kind(right)) == expected


@given(left=st.integers(-128, 127), right=st.integers(-128, 127))
def test_saturating_arithmetic_stops_at_the_limits(left: int, right: int) -> None:
    assert sat_add(int_[8](left), right) == max(-128, min(127, left + right))
    assert sat_sub(left, int_[8](right)) == max(-128, min(127, left - right))
    assert add_overflows(int_[8](left), int_[8](right)) == (not -128 <= left + right <= 127)


@given(value=st.integers(-(2**31), 2**31 - 1), ends=st.tuples(st.integers(0, 31), st.integers(0, 31)))
def test_bits_of_a_number(value: int, ends: tuple[int, int]) -> None:
    low, high = sorted(ends)
    text = f"{value % 2**32:032b}"[31 - high : 32 - low]
    assert bits(int_[32](value), high, low) == bit[high - low + 1](int(text, 2))
    with pytest.raises(KernelError, match="has bits 31 to 0"):
        bits(int_[32](value), 32, low)


@given(values=st.lists(st.tuples(st.integers(1, 70), st.booleans(), st.integers(0)), min_size=2, max_size=5))
def test_concatenation_of_numbers(values: list[tuple[int, bool, int]]) -> None:
    numbers = [(int_ if signed and width > 1 else bit)[width](value) for width, signed, value in values]
    text = "".join(f"{value % 2**width:0{width}b}" for width, _, value in values)
    assert concat(*numbers) == bit[len(text)](int(text, 2))
    with pytest.raises(KernelError, match="has no width"):
        concat(numbers[0], 3)


@given(value=st.integers(-(2**40), 2**40))
def test_conversion_keeps_the_low_bits(value: int) -> None:
    assert bit[16](value) == value % 2**16
    assert int_[16](value) == (value + 2**15) % 2**16 - 2**15


@given(value=st.integers(0, 255), amount=st.integers(0, 70000))
def test_shifts_by_any_amount(value: int, amount: int) -> None:
    by = bit[32](amount)
    assert bit[8](value) << by == (value << min(amount, 8)) % 256
    assert bit[8](value) >> by == value >> min(amount, 8)
    assert int_[8](value) >> by == int(int_[8](value)) >> min(amount, 8)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: bit[8](1) + bit[16](1),
        lambda: bit[8](1) == int_[8](1),
        lambda: bit[8](1) + 256,
        lambda: bit[8](1) < -1,
        lambda: bit[8](6) // 3,
        lambda: bit[8](6) % bit[8](2),
        lambda: 1 << bit[8](3),
        lambda: bit[8](1) << int_[8](-1),
        lambda: bit[8](4) / 2,
        lambda: bit[8](4) + True,
        lambda: sat_add(1, 2),
        lambda: 5 // bit[8](4),
    ],
)
def test_operations_with_another_meaning_on_a_switch_are_rejected(mistake: Callable[[], object]) -> None:
    with pytest.raises(KernelError):
        mistake()


def test_an_index_outside_a_register_reads_as_initial_and_writes_nothing() -> None:
    register = Register(bit[8], 4, initial=7)
    assert register.update(9, lambda old: old + 1) == 7
    assert register.update(9, lambda old: old + 1) == 7
    assert register.update_fetch(3, lambda old: old + 1) == 8
    assert register.read(3) == 8
