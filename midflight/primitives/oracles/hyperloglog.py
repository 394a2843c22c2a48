"""The oracle of HyperLogLog: the ranks of items, from the binary digits of their hashes."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.primitives.oracles.hashes import hashes

__all__ = ["ranks", "records"]


def ranks(items: Sequence[int], *, precision: int, item_bits: int) -> list[tuple[int, int]]:
    """Return each item's register (the last digits of its hash) and rank (the position of the first 1 in the rest)."""
    found = []
    for each in hashes(items, item_bits, 0).tolist():
        digits = f"{each:032b}"
        found.append((int(digits[-precision:], 2), f"{digits[:-precision]}1".index("1") + 1))
    return found


def records(items: Sequence[int], *, precision: int, item_bits: int) -> list[tuple[int, int] | None]:
    """Return (register, rank) for each item with a higher rank than all before in its register, otherwise None."""
    highest: dict[int, int] = {}
    found: list[tuple[int, int] | None] = []
    for register, rank in ranks(items, precision=precision, item_bits=item_bits):
        found.append((register, rank) if rank > highest.get(register, 0) else None)
        highest[register] = max(rank, highest.get(register, 0))
    return found
