"""Arithmetic compared with Python's integers, for each width and sign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.p4 import ir
from midflight.p4.frontend import check
from midflight.runtime.engine import Engine
from tests.engine.build import compute, engine, field, run, source

WIDTHS = [1, 3, 8, 16, 33, 64, 65, 128, 256]


def wrap(value: int, width: int) -> int:
    return value & ((1 << width) - 1)


def signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) else value


def saturate(value: int, width: int, is_signed: bool) -> int:
    low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if is_signed else (0, (1 << width) - 1)
    return max(low, min(high, value))


BINARY: dict[str, Callable[[int, int, int, bool], int]] = {
    "+": lambda a, b, w, s: a + b,
    "-": lambda a, b, w, s: a - b,
    "*": lambda a, b, w, s: a * b,
    "|+|": lambda a, b, w, s: saturate(a + b, w, s),
    "|-|": lambda a, b, w, s: saturate(a - b, w, s),
    "&": lambda a, b, w, s: a & b,
    "|": lambda a, b, w, s: a | b,
    "^": lambda a, b, w, s: a ^ b,
}

COMPARE: dict[str, Callable[[int, int], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def numbers(width: int) -> st.SearchStrategy[int]:
    """Draw values at the limits as often as all other values."""
    edges = {0, 1, (1 << width) - 1, 1 << (width - 1), (1 << (width - 1)) - 1}
    return st.one_of(
        st.sampled_from(sorted(each & ((1 << width) - 1) for each in edges)), st.integers(0, (1 << width) - 1)
    )


def rows_of(*widths: int) -> st.SearchStrategy[list[tuple[int, ...]]]:
    """Draw many rows at once, which one batch of packets tests."""
    return st.lists(st.tuples(*map(numbers, widths)), min_size=1, max_size=40)


@pytest.mark.parametrize("is_signed", [False, True], ids=["bit", "int"])
@pytest.mark.parametrize("width", WIDTHS)
@settings(max_examples=12)
@given(data=st.data())
def test_operators_agree_with_pythons_integers(width: int, is_signed: bool, data: st.DataObject) -> None:
    kind = f"{'int' if is_signed else 'bit'}<{width}>"
    rows = data.draw(rows_of(width, width))
    results = [(kind, f"$a {operator} $b") for operator in BINARY]
    results += [("bit<8>", f"($a {operator} $b) ? 8w1 : 8w0") for operator in COMPARE]
    results += [(kind, "-$a"), (kind, "~$a")]
    for (a, b), found in zip(rows, compute((kind, kind), rows, *results), strict=True):
        x, y = (signed(a, width), signed(b, width)) if is_signed else (a, b)
        expected = [wrap(model(x, y, width, is_signed), width) for model in BINARY.values()]
        expected += [int(compare(x, y)) for compare in COMPARE.values()]
        expected += [wrap(-x, width), wrap(~x, width)]
        assert found == tuple(expected)


@pytest.mark.parametrize("is_signed", [False, True], ids=["bit", "int"])
@pytest.mark.parametrize("width", [1, 8, 33, 100])
@settings(max_examples=12)
@given(data=st.data())
def test_shifts_drop_bits_beyond_the_width(width: int, is_signed: bool, data: st.DataObject) -> None:
    kind = f"{'int' if is_signed else 'bit'}<{width}>"
    rows = data.draw(rows_of(width, 8))
    fixed = [0, 1, width - 1, width, width + 9]
    results = [(kind, f"$a {operator} $b") for operator in ("<<", ">>")]
    results += [(kind, f"$a {operator} {amount}") for amount in fixed for operator in ("<<", ">>")]
    for (a, b), found in zip(rows, compute((kind, "bit<8>"), rows, *results), strict=True):
        x = signed(a, width) if is_signed else a
        assert found == tuple(wrap(each, width) for amount in (b, *fixed) for each in (x << amount, x >> amount))


@pytest.mark.parametrize(("source", "target"), [(16, 8), (9, 64), (64, 65), (128, 3)])
@settings(max_examples=12)
@given(data=st.data())
def test_casts_truncate_or_extend_by_sign(source: int, target: int, data: st.DataObject) -> None:
    rows = data.draw(rows_of(source))
    results = [(f"bit<{target}>", f"(bit<{target}>)$a"), (f"int<{target}>", f"(int<{target}>)(int<{source}>)$a")]
    expected = [(wrap(a, target), wrap(signed(a, source), target)) for (a,) in rows]
    assert compute((f"bit<{source}>",), rows, *results) == expected


@settings(max_examples=12)
@given(rows=rows_of(48, 17))
def test_slices_and_concatenation_are_bit_strings(rows: list[tuple[int, ...]]) -> None:
    results = [("bit<65>", "$a ++ $b"), ("bit<13>", "$a[29:17]"), ("bit<18>", "$b[16:16] ++ $b")]
    expected = [(a << 17 | b, a >> 17 & 0x1FFF, (b >> 16) << 17 | b) for a, b in rows]
    assert compute(("bit<48>", "bit<17>"), rows, *results) == expected


@settings(max_examples=12)
@given(rows=rows_of(16, 4))
def test_assignment_to_a_slice_leaves_the_other_bits(rows: list[tuple[int, ...]]) -> None:
    switch = slicer()
    out = run(switch, *(a.to_bytes(2, "big") + bytes([b]) for a, b in rows))
    assert [int.from_bytes(data[:2], "big") for _, data in out] == [a & ~0x3C0 | b << 6 for a, b in rows]


@lru_cache
def slicer() -> Engine:
    return engine(header="bit<16> a; bit<4> pad; bit<4> b;", ingress="hdr.h.a[9:6] = hdr.h.b;")


@pytest.mark.parametrize("is_signed", [False, True], ids=["bit", "int"])
@pytest.mark.parametrize("width", [8, 20, 64, 128])
@settings(max_examples=12)
@given(data=st.data())
def test_division_truncates_and_never_traps(width: int, is_signed: bool, data: st.DataObject) -> None:
    """The typed program is built by hand, because P4 permits / and % only for constants."""
    rows = data.draw(rows_of(width, width))
    switch = divider(width, is_signed)
    size = -(-width // 8)
    out = run(switch, *(a.to_bytes(size, "big") + b.to_bytes(size, "big") + bytes(2 * size) for a, b in rows))
    for (a, b), (_, data_) in zip(rows, out, strict=True):
        x, y = (signed(a, width), signed(b, width)) if is_signed else (a, b)
        quotient = 0 if y == 0 else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
        remainder = 0 if y == 0 else x - y * quotient
        found = [int.from_bytes(data_[at : at + size], "big") for at in (2 * size, 3 * size)]
        assert [each & ((1 << width) - 1) for each in found] == [wrap(quotient, width), wrap(remainder, width)]


@lru_cache
def divider(width: int, is_signed: bool) -> Engine:
    """Compile two copies of `a * b` in which `/` and `%` replace `*`."""
    kind = f"{'int' if is_signed else 'bit'}<{width}>"
    header = " ".join(field(kind, name) for name in ("a", "b", "q", "r"))
    program = check(source(header=header, ingress="hdr.h.q = hdr.h.a * hdr.h.b; hdr.h.r = hdr.h.a * hdr.h.b;"))
    body = []
    for statement, operator in zip(program.ingress.body.body, "/%", strict=True):
        assert isinstance(statement, ir.Assign)
        assert isinstance(statement.value, ir.Binary)
        body.append(replace(statement, value=replace(statement.value, operator=operator)))
    return Engine(replace(program, ingress=replace(program.ingress, body=ir.Block(tuple(body)))))
