"""The numeric functions of the kernel language as plain Python, for kernels that run as the reference."""

from __future__ import annotations

import zlib
from typing import Final

from midflight.errors import KernelError
from midflight.primitives.kernel.types import MAX_WIDTH, Kind, Number

__all__ = ["COUNT", "HASH", "add_overflows", "bits", "concat", "hash_", "popcount", "sat_add", "sat_sub", "scramble"]

HASH: Final = Kind(32)
"""The type of a hash."""
COUNT: Final = Kind(16)
"""The type of a population count."""


def _pair(left: int, right: int, what: str) -> tuple[Kind, int, int]:
    if isinstance(left, Number):
        return left.kind, int(left), left.other(right, what)
    if isinstance(right, Number):
        return right.kind, right.other(left, what), int(right)
    raise KernelError(f"{what} of two constants has no width: convert one with bit[n](...)")


def sat_add(left: int, right: int) -> int:
    """Return `left + right`, limited to the range of their type instead of wrapping (P4's `|+|`).

    One argument may be an int without a width, which takes the other's type. KernelError if both are, if their types
    differ, or if the int does not fit.
    """
    kind, one, other = _pair(left, right, "sat_add")
    return Number(kind, max(kind.low, min(kind.high, one + other)))


def sat_sub(left: int, right: int) -> int:
    """Return `left - right`, limited to the range of their type instead of wrapping (P4's `|-|`).

    One argument may be an int without a width, which takes the other's type. KernelError if both are, if their types
    differ, or if the int does not fit.
    """
    kind, one, other = _pair(left, right, "sat_sub")
    return Number(kind, max(kind.low, min(kind.high, one - other)))


def add_overflows(left: int, right: int) -> bool:
    """Return whether `left + right` exceeds the range of their type, so that the sum wraps.

    One argument may be an int without a width, which takes the other's type. KernelError if both are, if their types
    differ, or if the int does not fit.
    """
    kind, one, other = _pair(left, right, "add_overflows")
    return not kind.holds(one + other)


def bits(value: int, high: int, low: int) -> int:
    """Return the bits `high` to `low` of a number, both inclusive, as a bit[high - low + 1].

    Bit 0 is the least significant. KernelError if the number is an int without a width, or if it does not have these
    bits.
    """
    if not isinstance(value, Number):
        raise KernelError(f"bits: {value!r} has no width: convert it with bit[n](...)")
    if not 0 <= low <= high < value.kind.width:
        raise KernelError(f"a {value.kind} has bits {value.kind.width - 1} to 0, not {high} to {low}")
    return Number(Kind(high - low + 1), int(value) >> low)


def concat(*values: int) -> int:
    """Concatenate the bits of two or more numbers, the first as the highest, into one unsigned number.

    The widths add up to at most 2048 bits. KernelError if a number has no width, if there are more bits, or if there
    are fewer than two numbers.
    """
    result = width = 0
    for value in values:
        if not isinstance(value, Number):
            raise KernelError(f"concat: {value!r} has no width: convert it with bit[n](...)")
        result = result << value.kind.width | int(value) & ((1 << value.kind.width) - 1)
        width += value.kind.width
    if len(values) < 2 or width > MAX_WIDTH:
        raise KernelError(f"concat takes two or more numbers with at most {MAX_WIDTH} bits in total")
    return Number(Kind(width), result)


def popcount(value: int) -> int:
    """Return the number of 1 bits of a number in two's complement, as a bit[16].

    KernelError for an int without a width.
    """
    if not isinstance(value, Number):
        raise KernelError(f"popcount: {value!r} has no width: convert it with bit[n](...)")
    return Number(COUNT, (int(value) & ((1 << value.kind.width) - 1)).bit_count())


def hash_(*values: int, seed: int = 0, range: int | None = None) -> int:
    """Hash numbers to a bit[32], or to 0 to `range` - 1.

    Each value is padded with leading zero bits to whole bytes. MurmurHash3's finaliser mixes the CRC-32 (IEEE 802.3) of
    the bytes with `seed` (0 to 2**32 - 1). A `range` (1 to 2**32) scales the hash (Lemire, 2016), or keeps its low bits
    if it is a power of two. Seed and range are constants. Hashes with different seeds are independent, except that
    values with equal CRCs have equal hashes for every seed.

    KernelError if a value has no width, if there is none, or if seed or range is out of these limits.
    """
    data = b""
    for value in values:
        if not isinstance(value, Number):
            raise KernelError(f"hash_: {value!r} has no width: convert it with bit[n](...)")
        width = value.kind.width
        data += (int(value) & ((1 << width) - 1)).to_bytes(-(-width // 8), "big")
    if not values or not 0 <= seed <= HASH.high:
        raise KernelError(f"hash_ takes at least one value and a seed of 0 to 2**32 - 1, not {seed}")
    if range is not None and not 1 <= range <= 1 << 32:
        raise KernelError(f"hash_: the range must be 1 to 2**32, not {range}")
    number = scramble(zlib.crc32(data), seed)
    if range is None:
        return Number(HASH, number)
    return Number(HASH, number & (range - 1) if range & (range - 1) == 0 else number * range >> 32)


def scramble(checksum: int, seed: int) -> int:
    """Return a 32-bit checksum mixed with a 32-bit seed by the finaliser of MurmurHash3.

    A CRC alone would not do: it is linear, so values that collide with one seed would collide with every other.
    """
    h = checksum ^ seed * 0x9E3779B1 & 0xFFFFFFFF
    h = (h ^ h >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    h = (h ^ h >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return h ^ h >> 16
