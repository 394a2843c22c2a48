"""The oracle of Sample: which packets are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from midflight.primitives.oracles.hashes import positions

__all__ = ["chosen"]

_SEED = int.from_bytes(b"SAMP", "big")


def chosen(
    packets: Sequence[tuple[int, int]], *, one_in: int, by: Literal["count", "packet", "flow"], item_bits: int
) -> list[bool]:
    """Return for each packet, given as (item, sequence) in order of arrival, whether it is a sample.

    `one_in` and `by` are parameters of `Sample`; `item_bits` is the width of its field `item`.
    """
    if by == "count":
        return [number % one_in == 0 for number in range(len(packets))]
    if by == "flow":
        return [place == 0 for place in positions([item for item, _ in packets], item_bits, _SEED, one_in)]
    # The item in whole bytes, followed by the four bytes of the sequence number.
    words = [item << 32 | sequence for item, sequence in packets]
    return [place == 0 for place in positions(words, -(-item_bits // 8) * 8 + 32, _SEED, one_in)]
