"""Count-Min sketches at the hosts: estimates from the counters, how far off they are, and how large to make them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from midflight.errors import KernelError
from midflight.primitives.kernel.arithmetic import hash_
from midflight.primitives.kernel.types import bit

__all__ = ["bound", "estimates", "shape"]


def estimates(counts: npt.NDArray[np.unsignedinteger], items: Sequence[int], item_bits: int) -> npt.NDArray[np.uint64]:
    """Return what each item has had at most, from a switch's counters as `state.counts.read()` gives them.

    That is in the shape (columns, rows). Those of several switches may be added up before, as uint64, as long as no
    counter has reached its limit.
    """
    columns, rows = counts.shape
    kind = bit[item_bits]
    places = np.array(
        [[int(hash_(kind(item), seed=row, range=columns)) for row in range(rows)] for item in items], dtype=np.int64
    )
    least: npt.NDArray[np.uint64] = np.take_along_axis(counts, places, axis=0).min(axis=1).astype(np.uint64)
    return least


def bound(rows: int, columns: int, total: int) -> tuple[float, float]:
    """Return (error, probability): an estimate is too large by more than `error` at most with that probability.

    `total` is the sum of all amounts, and the error in its unit: e / columns * total, with probability e**-rows.
    """
    return math.e / columns * total, math.exp(-rows)


def shape(error: float, probability: float) -> tuple[int, int]:
    """Return the (rows, columns) for an error of at most this share of the total, but with this probability.

    Both are between 0 and 1; KernelError where they are not.
    """
    if not (0 < error < 1 and 0 < probability < 1):
        raise KernelError(f"no sketch has an error of {error} with a probability of {probability}: between 0 and 1")
    return math.ceil(-math.log(probability)), math.ceil(math.e / error)
