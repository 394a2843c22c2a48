"""Bloom filters with a row of bits for each hash: how often they are wrong, and how large they must be."""

from __future__ import annotations

import math

from midflight.errors import KernelError

__all__ = ["false_positives", "shape"]


def false_positives(rows: int, columns: int, items: int) -> float:
    """Return the share of items never inserted that a filter with `items` distinct ones in it takes for members.

    In each row an item's bit is set with probability 1 - (1 - 1/columns)**items, in all rows with that to the power
    of `rows`: what independent hashes give on average, 0 to 1.
    """
    return float(-math.expm1(items * math.log1p(-1 / columns)) if columns > 1 else items > 0) ** rows


def shape(items: int, rate: float) -> tuple[int, int]:
    """Return the (rows, columns) of the smallest filter that with `items` items is wrong at most at this rate.

    `items` is at least 1, `rate` between 0 and 1. At most 16 rows; KernelError where `rate` is not a rate.
    """
    if items < 1 or not 0 < rate < 1:
        raise KernelError(f"no filter has {items} items and a false-positive rate of {rate}")
    shapes = []
    for rows in range(1, 17):
        fill = rate ** (1 / rows)
        columns = math.ceil(-1 / math.expm1(math.log1p(-fill) / items))
        shapes.append((rows * columns, rows, columns))
    _, rows, columns = min(shapes)
    return rows, columns
