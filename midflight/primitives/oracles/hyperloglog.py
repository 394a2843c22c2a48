"""The oracle of HyperLogLog: the ranks of items, from the binary digits of their hashes."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.primitives.oracles.hashes import hashes

__all__ = ["ranks", "records"]


def ranks(items: Sequence[int], *, precision: int, item_bits: int) -> list[tuple[int, int]]:
    """Return (register, rank) of each item, as the parameters of `HyperLogLog` determine them.

    The register is the number in the last `precision` binary digits of the item's hash, the rank the position from 1 of
    the first 1 in the remaining digits, or their number + 1 if all are 0.
    """
    found = []
    for each in hashes(items, item_bits, 0).tolist():
        digits = f"{each:032b}"
        found.append((int(digits[-precision:], 2), f"{digits[:-precision]}1".index("1") + 1))
    return found


def records(items: Sequence[int], *, precision: int, item_bits: int) -> list[tuple[int, int] | None]:
    """Return (register, rank) for each item whose rank is the highest so far in its register, otherwise None."""
    highest: dict[int, int] = {}
    found: list[tuple[int, int] | None] = []
    for register, rank in ranks(items, precision=precision, item_bits=item_bits):
        found.append((register, rank) if rank > highest.get(register, 0) else None)
        highest[register] = max(rank, highest.get(register, 0))
    return found
