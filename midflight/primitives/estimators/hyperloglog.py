"""The number of distinct items that a HyperLogLog has seen, from its registers.

Follows Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (arXiv:1702.01284), algorithm 6, which is
unbiased from zero up to as many items as there are hashes, with a correction for items that share a 32-bit hash.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from midflight.errors import KernelError

__all__ = ["estimate", "registers", "standard_error"]

HASH_BITS = 32
MOST = 2.0**HASH_BITS

Ranks = npt.NDArray[np.integer]


def registers(alerts: Iterable[tuple[int, ...]], precision: int) -> npt.NDArray[np.uint8]:
    """Return the registers of a sketch from a switch's alerts (register, rank), in any order.

    The result has the shape (2**precision,), with 0 for registers without an alert. It is correct if no alert was lost.
    """
    ranks = np.zeros(1 << precision, dtype=np.uint8)
    for register, rank in alerts:
        ranks[register] = max(int(ranks[register]), rank)
    return ranks


def standard_error(precision: int) -> float:
    """Return the standard deviation of an estimate relative to the true number: 1.04 / sqrt(2**precision)."""
    return 1.04 / math.sqrt(1 << precision)


def estimate(ranks: Ranks) -> float:
    """Return the estimated number of distinct items.

    It is infinity if the registers are so full that the estimate reaches 2**32 different hashes. `ranks` holds the
    registers, whose number is a power of two. KernelError if they cannot come from such a sketch.
    """
    size = len(ranks)
    if not size:
        raise KernelError("a HyperLogLog has at least one register")
    precision = size.bit_length() - 1
    last = HASH_BITS + 1 - precision
    if size != 1 << precision or ranks.min() < 0 or ranks.max() > last:
        raise KernelError(
            f"these {size} registers, {ranks.min()} to {ranks.max()}, cannot be those of a HyperLogLog with "
            f"{HASH_BITS}-bit hashes"
        )
    counts = np.bincount(ranks.astype(np.int64), minlength=last + 1) / size
    total = _tau(1 - counts[last])
    for rank in range(last - 1, 0, -1):
        total = (total + counts[rank]) / 2
    total += _sigma(counts[0])
    hashes = size / (2 * math.log(2) * total) if total else math.inf
    # n items have 2**32 * (1 - exp(-n / 2**32)) different hashes on average.
    return -MOST * math.log1p(-hashes / MOST) if hashes < MOST else math.inf


def _sigma(x: float) -> float:
    """Return x + sum of x**(2**k) * 2**(k-1) for k = 1, 2, ..."""
    if x == 1:
        return math.inf
    total, weight = x, 1.0
    while True:
        x *= x
        before, total = total, total + x * weight
        weight *= 2
        if total == before:
            return total


def _tau(x: float) -> float:
    """Return (1 - x - sum of (1 - x**(2**-k))**2 * 2**-k for k = 1, 2, ...) / 3."""
    if x in (0, 1):
        return 0.0
    total, weight = 1 - x, 1.0
    while True:
        x = math.sqrt(x)
        weight /= 2
        before, total = total, total - (1 - x) ** 2 * weight
        if total == before:
            return total / 3
