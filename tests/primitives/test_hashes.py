"""Hashes: definition, uniformity, and independence of different seeds."""

from __future__ import annotations

import zlib
from random import Random

import numpy as np
import pytest

from midflight.errors import KernelError
from midflight.primitives import Program, bit, hash_, int_
from tests.primitives import kernels
from tests.primitives.agreement import agree, agree_on_bmv2
from tests.primitives.rig import Sent

KEYS = np.arange(1, 40001, dtype=np.uint32)


def finalised(checksums: np.ndarray, seed: int) -> np.ndarray:
    """Compute MurmurHash3's finaliser in NumPy, by its definition."""
    h = checksums.astype(np.uint32) ^ np.uint32(seed * 0x9E3779B1 & 0xFFFFFFFF)
    with np.errstate(over="ignore"):
        h = (h ^ h >> np.uint32(16)) * np.uint32(0x85EBCA6B)
        h = (h ^ h >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return h ^ h >> np.uint32(16)


def hashes(seed: int) -> np.ndarray:
    checksums = np.array([zlib.crc32(int(key).to_bytes(4, "big")) for key in KEYS], dtype=np.uint32)
    return finalised(checksums, seed)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_a_hash_is_a_finalised_checksum(seed: int) -> None:
    assert [hash_(bit[32](int(key)), seed=seed) for key in KEYS[:50]] == hashes(seed)[:50].tolist()


def test_values_are_padded_to_bytes() -> None:
    data = bytes((5, 0x0F, 0xFF, 0b11111, 0xFF, 0xFE))
    expected = int(finalised(np.array([zlib.crc32(data)]), 3)[0])
    assert hash_(bit[3](5), bit[12](0xFFF), int_[5](-1), int_[16](-2), seed=3) == expected
    assert hash_(bit[3](5), bit[12](0xFFF), int_[5](-1), int_[16](-2), seed=3, range=1 << 32) == expected


@pytest.mark.parametrize("size", [1, 2, 10, 64, 1000, 1 << 31])
def test_hashes_are_uniform_over_a_range(size: int) -> None:
    rows = [int(hash_(bit[32](int(key)), seed=5, range=size)) for key in KEYS]
    assert max(rows) < size
    groups = max(each for each in range(1, 11) if size % each == 0)
    counts = np.bincount(np.array(rows) * groups // size, minlength=groups)
    expected = len(KEYS) / groups
    assert ((counts - expected) ** 2 / expected).sum() < 40  # chi-squared with 9 degrees of freedom: p < 1e-5


@pytest.mark.parametrize("size", [64, 100])
@pytest.mark.parametrize("seeds", [(0, 1), (1, 2), (3, 2**32 - 1), (7, 8)])
def test_seeds_are_independent(seeds: tuple[int, int], size: int) -> None:
    one, other = (
        np.array([int(hash_(bit[32](int(key)), seed=seed, range=size)) for key in KEYS[:20000]]) for seed in seeds
    )
    together = np.bincount(one * size + other, minlength=size * size)
    expected = 20000 / size**2
    freedom = size * size - 1
    squares = ((together - expected) ** 2 / expected).sum()
    assert abs(squares - freedom) < 5 * np.sqrt(2 * freedom)
    # Keys that collide with one seed collide with the other no more often than other keys.
    pairs = Random(1)
    groups = [np.flatnonzero(one == each) for each in range(size)]
    drawn = [pairs.sample(group.tolist(), 2) for group in groups for _ in range(20000 // size)]
    both = sum(other[a] == other[b] for a, b in drawn)
    mean = len(drawn) / size
    assert abs(both - mean) < 5 * np.sqrt(mean)


def test_a_constant_without_a_width_cannot_be_hashed() -> None:
    with pytest.raises(KernelError, match="has no width"):
        hash_(3)
    with pytest.raises(KernelError, match="the range must be 1 to"):
        hash_(bit[8](3), range=0)
    with pytest.raises(KernelError, match="a seed of 0"):
        hash_(bit[8](3), seed=-1)


def rows_trace() -> tuple[Program, list[Sent]]:
    random = Random(11)
    trace = [
        Sent("rows", number, {
            "source": random.choice((random.getrandbits(32), 1, 2, 3)), "port": random.getrandbits(12),
            "delta": random.randint(-4096, 4095), "estimate": 0, "sampled": 0,
        })
        for number in range(300)
    ]  # fmt: skip
    return Program(kernels.Rows("rows")), trace


def test_switch_and_reference_compute_the_same_hashes() -> None:
    seen, _ = agree(*rows_trace())
    assert {each.verdict.name for each in seen} == {"FORWARD", "REPLY"}


@pytest.mark.bmv2
def test_bmv2_computes_the_same_hashes() -> None:
    agree_on_bmv2(*rows_trace())


def test_a_hash_with_the_registers_size_as_range_needs_no_check() -> None:
    assert "if (index < 1000)" not in Program(kernels.Rows("rows")).p4()


def test_checksums_of_unchanged_numbers_are_shared() -> None:
    text = Program(kernels.Rows("rows", rows=3)).p4()
    assert text.count("hash(") == 4  # three rows share one; `port` is written before the last
