"""The hashes that place items in rows and samples, computed from their definition for many items at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["hashes", "positions"]

Words = npt.NDArray[np.uint32]


def hashes(items: Sequence[int], bits: int, seed: int) -> Words:
    """Return the 32-bit hash of each item, as `hash_` defines it: CRC-32, then MurmurHash3's finaliser with a seed.

    The CRC is that of the item's bytes, most significant first; `bits` is the width of an item.
    """
    h = _crc32(items, -(-bits // 8)) ^ np.uint32(seed * 0x9E3779B1 % 2**32)
    with np.errstate(over="ignore"):
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
        h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def positions(items: Sequence[int], bits: int, seed: int, size: int) -> list[int]:
    """Return each item's place (0 to `size` - 1) in a row, by its hash with this seed.

    The place is the low bits of the hash if `size` is a power of two, otherwise the hash scaled to it. `bits` is the
    width of an item.
    """
    h = hashes(items, bits, seed).astype(np.uint64)
    fallen = h % np.uint64(size) if size.bit_count() == 1 else h * np.uint64(size) >> np.uint64(32)
    return [int(each) for each in fallen]


def _crc32(items: Sequence[int], length: int) -> Words:
    """CRC-32 of IEEE 802.3, bit by bit: reflected, with an initial value of all ones, and inverted at the end."""
    data = np.frombuffer(b"".join(item.to_bytes(length, "big") for item in items), dtype=np.uint8)
    remainder = np.full(len(items), 0xFFFFFFFF, dtype=np.uint32)
    for byte in data.reshape(len(items), length).T:
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder >> np.uint32(1)) ^ (remainder & np.uint32(1)) * np.uint32(0xEDB88320)
    return ~remainder
