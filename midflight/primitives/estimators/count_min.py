"""Count-Min sketches on hosts: estimates from the counters, their error bounds, and dimensions."""

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
    """Return an upper bound of each item's total amount, from counters as `state.counts.read()` returns them.

    `counts` has the shape (columns, rows), and the result (items,). `item_bits` is the parameter of `CountMin`; of a
    wider item only the low bits count. Counters of several switches may be added first, as uint64. The bounds hold only
    if no counter has reached its limit.
    """
    columns, rows = counts.shape
    kind = bit[item_bits]
    places = np.array(
        [[int(hash_(kind(item), seed=row, range=columns)) for row in range(rows)] for item in items], dtype=np.int64
    )
    least: npt.NDArray[np.uint64] = np.take_along_axis(counts, places, axis=0).min(axis=1).astype(np.uint64)
    return least


def bound(rows: int, columns: int, total: int) -> tuple[float, float]:
    """Return (error, probability) of an estimate: it exceeds the true amount by more than `error` with that
    probability.

    The probability, e**-rows, is an upper bound. `total` is the sum of all amounts; the error, in the same unit, is e /
    columns * total.
    """
    return math.e / columns * total, math.exp(-rows)


def shape(error: float, probability: float) -> tuple[int, int]:
    """Return the (rows, columns) of a sketch whose estimates rarely exceed the true amount by `error` * total.

    That happens with a probability of at most `probability`. Both are between 0 and 1, exclusive; otherwise KernelError
    is raised.
    """
    if not (0 < error < 1 and 0 < probability < 1):
        raise KernelError(f"the error and its probability must be between 0 and 1, not {error} and {probability}")
    return math.ceil(-math.log(probability)), math.ceil(math.e / error)
