"""The oracle of CountMin: the sum of all amounts at the same place, minimised over the rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from midflight.primitives.oracles.hashes import positions

__all__ = ["answers"]


def answers(
    requests: Sequence[tuple[int, int, int]], *, rows: int, columns: int, width: int, item_bits: int
) -> list[tuple[int, int] | None]:
    """Return (estimate, total) for each request (operation, item, amount) in order; None for an unknown operation.

    Operation 0 is a query and 1 an update. The sketch is empty at first; the other parameters are those of `CountMin`.
    """
    items = [item for _, item, _ in requests]
    added = np.array([amount if operation == 1 else 0 for operation, _, amount in requests], dtype=object)
    least = np.full(len(requests), 2**width - 1, dtype=object)
    for row in range(rows):
        places = np.array(positions(items, item_bits, row, columns))
        # By packet, the packets up to it that have the same place: a lower triangle.
        together = np.tril(places[:, np.newaxis] == places)
        least = np.minimum(least, together.astype(object) @ added)
    totals = np.minimum(np.cumsum(added), 2**64 - 1)
    return [
        (int(estimate), int(total)) if operation in (0, 1) else None
        for (operation, _, _), estimate, total in zip(requests, least, totals, strict=True)
    ]
