"""Fixed point: float32 numbers as int32 or int16, for switches that compute only with integers.

A value x is sent as `rint(x * 2**bits)`. The factor is a power of two, so the multiplication is exact in float64. The
only error of quantising is that of rounding, at most half a step, 2**-(bits + 1), per value. A sum over w workers is
therefore within `error_bound(bits, w)` of the true sum; conversion to float32 rounds it once more. `scale_bits` chooses
`bits` so that w values cannot overflow: a block of floats shares one exponent, as in block floating point. For a
minimum or maximum instead of a sum, the bound is that of one worker.

`limit` is the largest number on the wire, `INT32_MAX` or `INT16_MAX`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from midflight.errors import WireError

__all__ = ["INT16_MAX", "INT32_MAX", "dequantise", "error_bound", "largest_exponent", "quantise", "scale_bits"]

INT32_MAX = 2**31 - 1
"""The largest int32, 2**31 - 1."""

INT16_MAX = 2**15 - 1
"""The largest int16, 2**15 - 1."""

# The range of `largest_exponent`: normal float32 numbers are below 2**128 and at least 2**-126.
_LOWEST_EXPONENT = -125
_HIGHEST_EXPONENT = 128


def largest_exponent(values: NDArray[np.floating]) -> int:
    """Return the smallest integer e from -125 to 128 with |value| < 2**e for all values.

    It is -125 for empty arrays and arrays of zeros. Raises WireError for NaN, infinity, and magnitudes of at least
    2**128, which no float32 has.
    """
    if values.size == 0:
        return _LOWEST_EXPONENT
    largest = float(np.abs(values).max())  # NumPy's max propagates NaN
    if not math.isfinite(largest):
        raise _not_finite(values)
    exponent = math.frexp(largest)[1] if largest else _LOWEST_EXPONENT
    if exponent > _HIGHEST_EXPONENT:
        raise WireError(f"the value {largest:g} does not fit a float32", hint="scale the array down before summing it")
    return max(_LOWEST_EXPONENT, exponent)


def scale_bits(largest: float, workers: int, limit: int = INT32_MAX) -> int:
    """Return the largest number of fraction bits with which a sum of one value per worker cannot exceed `limit`.

    `largest` bounds the magnitude of the values, and `limit` is the largest number on the wire. The result may be
    negative: values are then multiples of 2**-bits. Raises WireError unless `largest` is positive and finite, and
    `workers` is 1 to `limit`.
    """
    if not (math.isfinite(largest) and largest > 0):
        raise WireError(f"the largest magnitude must be positive and finite, not {largest}")
    if workers < 1:
        raise WireError(f"a sum needs at least one worker, not {workers}")
    share = limit // workers  # the maximum of each worker's rounded value
    if share < 1:
        raise WireError(f"the sum of {workers} workers cannot stay below the limit {limit}")
    mantissa, exponent = math.frexp(largest)  # largest == mantissa * 2**exponent, mantissa in [0.5, 1)
    bits = share.bit_length() - exponent
    while _rounded(mantissa, exponent + bits) > share:
        bits -= 1
    return bits


def quantise(values: NDArray[np.floating], bits: int, limit: int = INT32_MAX) -> NDArray[np.int32]:
    """Return `rint(values * 2**bits)` as a new int32 array of the same shape; halves are rounded to even.

    `bits` is the number of fraction bits and may be negative. Raises WireError for NaN and infinity, and if the
    magnitude of a result exceeds `limit`, which is at most `INT32_MAX`.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # both are reported below
        scaled = np.rint(np.ldexp(values.astype(np.float64), bits))
    if scaled.size:
        largest = float(np.abs(scaled).max())
        if not math.isfinite(largest) and not np.isfinite(values).all():
            raise _not_finite(values)
        if largest > limit:
            raise WireError(
                f"a value of magnitude {np.abs(values).max():g} does not fit an int{limit.bit_length() + 1} "
                f"with {bits} fraction bits",
                hint="choose the fraction bits with scale_bits(largest magnitude, workers)",
            )
    return scaled.astype(np.int32)


def dequantise(sums: NDArray[np.signedinteger], bits: int) -> NDArray[np.float32]:
    """Return the float32 nearest to `sum * 2**-bits` for each sum: the inverse of `quantise`, except for rounding.

    The magnitudes of sums are at most 2**53. The result is a new array of the same shape. Raises WireError if a result
    exceeds the range of float32.
    """
    exact = np.ldexp(sums.astype(np.float64), -bits)
    if exact.size and np.abs(exact).max() > np.finfo(np.float32).max:
        raise WireError("a sum does not fit a float32", hint="scale the arrays down before summing them")
    return exact.astype(np.float32)


def error_bound(bits: int, workers: int) -> float:
    """Return the maximum absolute error of a sum of `workers` values quantised with `bits` fraction bits.

    The unit is that of the values. Rounding the result to float32 adds its own error.
    """
    return math.ldexp(workers, -(bits + 1))


def _rounded(mantissa: float, exponent: int) -> int:
    return round(math.ldexp(mantissa, exponent))


def _not_finite(values: NDArray[np.floating]) -> WireError:
    position = int(np.flatnonzero(~np.isfinite(values))[0])
    return WireError(
        f"the value at position {position} is {values.flat[position]}, which cannot be quantised",
        hint="look for a division by zero or a diverging loss upstream",
    )
