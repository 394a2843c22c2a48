"""Bloom filters with one row of bits for each hash: their false-positive rate and dimensions."""

from __future__ import annotations

import math

from midflight.errors import KernelError

__all__ = ["false_positives", "shape"]


def false_positives(rows: int, columns: int, items: int) -> float:
    """Return the false-positive rate (0 to 1) of a filter of `rows` times `columns` bits with `items` items in it.

    In each row the bit of an item is set with probability 1 - (1 - 1/columns)**items, and in all rows with that to the
    power of `rows`. This is the average for independent hashes.
    """
    return float(-math.expm1(items * math.log1p(-1 / columns)) if columns > 1 else items > 0) ** rows


def shape(items: int, rate: float) -> tuple[int, int]:
    """Return the (rows, columns) of the smallest filter with at most the false-positive rate `rate` for `items` items.

    `items` is at least 1 and `rate` between 0 and 1, exclusive; otherwise KernelError is raised. There are at most 16
    rows.
    """
    if items < 1 or not 0 < rate < 1:
        raise KernelError(
            f"a filter holds at least 1 item, with a false-positive rate between 0 and 1: not {items} items and {rate}"
        )
    shapes = []
    for rows in range(1, 17):
        fill = rate ** (1 / rows)
        columns = math.ceil(-1 / math.expm1(math.log1p(-fill) / items))
        shapes.append((rows * columns, rows, columns))
    _, rows, columns = min(shapes)
    return rows, columns
