"""Collectives as rounds of 32-bit integers, which is all that a switch reduces.

Each function here is a generator. It yields a `Round`, is sent the reduced integers, and returns the collective's
result, so it knows nothing of packets and switches. Every rank of a group runs the same generator on its own array; the
arrays must have equal sizes and types. Which rounds follow depends only on what all ranks know, so all yield the same.

Floats are reduced in fixed point. The ranks first agree on the largest exponent of any of them, e, and then add up
`rint(x * 2**bits)`, where `bits` is as large as possible without overflow (`midflight.primitives.fixedpoint`). So a sum
differs from the exact one by at most ranks * 2**-(bits + 1), where bits >= 29 - e - log2(ranks), before it is rounded
to float32. Everything else is exact.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midflight.errors import MidflightError
from midflight.primitives.fixedpoint import INT32_MAX, largest_exponent, quantise, scale_bits

__all__ = [
    "DisagreementError",
    "FixedSum",
    "Round",
    "Rounds",
    "agree",
    "bitwise",
    "gathered",
    "greatest",
    "least",
    "sum_floats",
    "sum_integers",
]

Array = NDArray[Any]

_NOT_FINITE = 1 << 10  # the exponent that a rank with infinities or NaN reports; true ones are at most 128
_PART = 22  # bits of a part of a 64-bit integer: 64 ranks' parts add up to less than 2**31
_PARTS = 3
_LANE = 4  # bytes of a switch's number


class DisagreementError(MidflightError):
    """The ranks have called different collectives, or the same one with other sizes or types."""


@dataclass(frozen=True, slots=True)
class Round:
    """One reduction by the switch: of `values`, int32 of shape (n,), with those of the other ranks.

    `operation` is "sum", "min", "or" or "xor". A sum is modulo 2**32.
    """

    operation: str
    values: NDArray[np.int32]


Rounds = Generator[Round, NDArray[np.int32], Array]
"""A collective: yields rounds, is sent the reduced values of each, and returns its result."""


@dataclass(frozen=True, slots=True)
class FixedSum:
    """A sum in fixed point: the exact values are `integers` (int32) times 2**-`bits`."""

    integers: NDArray[np.int32]
    bits: int

    def values(self, divisor: int = 1) -> NDArray[np.float32]:
        """Return the sums divided by `divisor`, rounded to float32 once; those beyond its range are infinite."""
        with np.errstate(over="ignore"):
            return (np.ldexp(self.integers.astype(np.float64), -self.bits) / divisor).astype(np.float32)


def agree(mark: int) -> Generator[Round, NDArray[np.int32], None]:
    """Raise DisagreementError, on all ranks, unless all have the same mark: an int32 that stands for what they call.

    Nothing else notices that ranks reduce arrays of different types or sizes, which would mix up their elements.
    """
    _check_marks((yield Round("min", np.array([mark, ~mark], np.int32))))


def sum_floats(
    values: NDArray[np.float32], ranks: int, mark: int = 0
) -> Generator[Round, NDArray[np.int32], FixedSum | None]:
    """Return the sum of the ranks' float32 arrays of shape (n,), or None if any rank has an infinity or NaN.

    None is returned to all ranks alike, without a sum. The first round also compares `mark` as `agree` does:
    DisagreementError if not all have the same.
    """
    finite = bool(np.isfinite(values).all())
    exponent = largest_exponent(values) if finite else _NOT_FINITE
    first = yield Round("min", np.array([mark, ~mark, -exponent], np.int32))
    _check_marks(first)
    highest = -int(first[2])
    if highest == _NOT_FINITE:
        return None
    bits = scale_bits(2.0**highest, ranks)
    return FixedSum((yield Round("sum", quantise(values, bits, INT32_MAX))), bits)


def sum_integers(values: Array) -> Rounds:
    """Return the sum of the ranks' integers of up to 64 bits, modulo 2**(their bits), in their type and shape (n,)."""
    if values.dtype.itemsize <= _LANE:
        return (yield Round("sum", values.astype(np.int32))).astype(values.dtype)
    whole = values.astype(np.uint64)
    parts = [whole >> np.uint64(_PART * number) & np.uint64((1 << _PART) - 1) for number in range(_PARTS)]
    sums = (yield Round("sum", np.concatenate(parts).astype(np.int32))).astype(np.uint64).reshape(_PARTS, -1)
    total = np.zeros(values.size, np.uint64)
    for number, each in enumerate(sums):
        total += each << np.uint64(_PART * number)  # modulo 2**64
    return total.astype(values.dtype)


def least(values: Array) -> Rounds:
    """Return the smallest of the ranks' values for each element, of shape (n,) and their type.

    Values are float32, signed integers of up to 64 bits, or unsigned ones of 8 or 16. A NaN of any rank gives NaN; 0.0
    counts as greater than -0.0.
    """
    return (yield from _ordered(values, 0))


def greatest(values: Array) -> Rounds:
    """Return the largest of the ranks' values for each element; see `least`."""
    return (yield from _ordered(values, -1))


def bitwise(operation: str, values: Array) -> Rounds:
    """Return the bitwise "and", "or" or "xor" of the ranks' integers, of shape (n,) and their type."""
    words = _words(np.ascontiguousarray(values).view(np.uint8))
    if operation == "and":  # the complement of the complements' "or"
        words = ~(yield Round("or", ~words))
    else:
        words = yield Round(operation, words)
    return words.view(np.uint8)[: values.nbytes].view(values.dtype)


def gathered(own: NDArray[np.uint8], rank: int, ranks: int) -> Rounds:
    """Return the bytes of all ranks, uint8 of shape (ranks, n). Each rank passes its own, of shape (n,).

    The others contribute zeros in its place, so the sum is exact.
    """
    words = _words(own)
    rows = np.zeros((ranks, words.size), np.int32)
    rows[rank] = words
    found = yield Round("sum", rows.reshape(-1))
    return found.reshape(ranks, -1).view(np.uint8)[:, : own.size]


def _check_marks(found: NDArray[np.int32]) -> None:
    if found[0] != ~found[1]:  # the least mark, and the complement of the greatest
        raise DisagreementError("the ranks do not call the same collective with the same sizes and types")


def _words(data: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return bytes as 32-bit words, with zeros at the end."""
    padded = np.zeros(-(-data.size // _LANE) * _LANE, np.uint8)
    padded[: data.size] = data
    return padded.view(np.int32)


def _ordered(values: Array, complement: int) -> Rounds:
    """Return the least of the values, or with `complement` -1 the greatest: the complement of the least complement."""
    if values.dtype == np.float32:
        order = _order(values) ^ np.int32(complement)
        order[np.isnan(values)] = np.iinfo(np.int32).min
        return _float((yield Round("min", order)) ^ np.int32(complement))
    if values.dtype.itemsize <= _LANE:
        found = (yield Round("min", values.astype(np.int32) ^ np.int32(complement))) ^ np.int32(complement)
        return found.astype(values.dtype)
    order64 = values ^ np.int64(complement)
    high = (order64 >> 32).astype(np.int32)
    low = (order64 & 0xFFFFFFFF).astype(np.uint32)
    highest = yield Round("min", high)
    # Whoever has a larger upper half is out: its lower half counts as the largest.
    low[high != highest] = 0xFFFFFFFF
    lowest = (yield Round("min", (low ^ np.uint32(1 << 31)).view(np.int32))).view(np.uint32) ^ np.uint32(1 << 31)
    return (highest.astype(np.int64) << 32 | lowest.astype(np.int64)) ^ np.int64(complement)


def _order(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return integers in the order of the floats (IEEE 754's totalOrder)."""
    bits = values.view(np.int32)
    return bits ^ (bits >> 31 & np.int32(INT32_MAX))


def _float(order: NDArray[np.int32]) -> NDArray[np.float32]:
    return (order ^ (order >> 31 & np.int32(INT32_MAX))).view(np.float32)
