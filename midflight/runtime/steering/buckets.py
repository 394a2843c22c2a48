"""The instances of a pool's buckets: spread by weight, and changed so that as few flows as possible move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from midflight.errors import MidflightError
from midflight.primitives.kernel.map import Key

__all__ = ["balance_maps", "moved", "rebalance", "second_choices", "shares", "spread"]


def shares(weights: Mapping[int, float], size: int) -> dict[int, int]:
    """Return how many of `size` buckets each instance gets: in proportion to its weight, rounded by largest remainder.

    `weights` are by the instance's number, finite and at least 0. Instances of equal remainder go by number. The shares
    add up to `size`, or are all 0 if all weights are. MidflightError for another weight.
    """
    for instance, weight in weights.items():
        if not 0 <= weight < float("inf"):
            raise MidflightError(f"the weight of instance {instance} is {weight}; a weight is finite and at least 0")
    total = sum(weights.values())
    if total == 0:
        return dict.fromkeys(weights, 0)
    if total == float("inf"):  # which the sum of finite weights may be
        return shares({instance: weight / len(weights) for instance, weight in weights.items()}, size)
    exact = {instance: size * (weight / total) for instance, weight in weights.items()}
    found = {instance: int(each) for instance, each in exact.items()}
    by_remainder = sorted(exact, key=lambda instance: (found[instance] - exact[instance], instance))
    for instance in [each for each in by_remainder if weights[each]][: size - sum(found.values())]:
        found[instance] += 1
    return found


def spread(weights: Mapping[int, float], size: int) -> tuple[int, ...]:
    """Return the instance of each of `size` buckets, as every controller computes it from the same weights.

    Each bucket prefers instances in an order of its own (rendezvous hashing), within their `shares`. A bucket has
    instance 0, which is none, if all weights are 0. MidflightError if a weight is negative or not finite.
    """
    return rebalance((0,) * size, weights)


def rebalance(before: Sequence[int], weights: Mapping[int, float]) -> tuple[int, ...]:
    """Return the instances of the buckets for other weights; `before` are those until now, 0 for none.

    An instance above its share gives up the buckets that rather prefer an instance below its share, and only those
    change. So the least possible number of buckets moves, and if the weights return, most of these buckets do, too.
    MidflightError if a weight is negative or not finite.
    """
    target = shares(weights, len(before))
    table = np.array(before, dtype=np.int64)
    missing = {instance: share - int((table == instance).sum()) for instance, share in target.items()}
    takers = np.array([instance for instance, count in missing.items() if count > 0], dtype=np.int64)
    for instance in dict.fromkeys(before):
        held = np.flatnonzero(table == instance)
        surplus = len(held) - target.get(instance, 0)
        if instance and surplus > 0:
            wanted = _preferences(held, takers).max(axis=1, initial=0)
            gains = wanted - _preferences(held, np.array([instance]))[:, 0]
            table[held[np.argsort(-gains, kind="stable")[:surplus]]] = 0
    # The strongest preferences choose first.
    free = np.flatnonzero(table == 0)
    wishes = np.argsort(-_preferences(free, takers), axis=None, kind="stable")
    for wish in wishes.tolist():
        bucket, taker = free[wish // len(takers)], int(takers[wish % len(takers)])
        if table[bucket] == 0 and missing[taker] > 0:
            table[bucket] = taker
            missing[taker] -= 1
    return tuple(table.tolist())


def second_choices(table: Sequence[int], weights: Mapping[int, float]) -> tuple[int, ...]:
    """Return another instance for each bucket of a table, for the power of two choices; 0 if there is no other.

    Instances are chosen in proportion to their weights, which are finite and at least 0, and independently of the first
    choice.
    """
    able = np.array([each for each, weight in weights.items() if weight > 0], dtype=np.int64)
    if not len(able):
        return (0,) * len(table)
    # The largest u ** (1 / weight) for uniform u wins with a probability in proportion to the weight.
    uniform = (_preferences(np.arange(len(table)), able, seed=1) + 0.5) / 2**32
    scores = np.log(uniform) / np.array([weights[each] for each in able.tolist()])
    scores[np.array(table)[:, None] == able] = -np.inf
    best = scores.argmax(axis=1)
    return tuple(np.where(np.isneginf(scores.max(axis=1)), 0, able[best]).tolist())


def balance_maps(table: Sequence[int], weights: Mapping[int, float]) -> dict[str, dict[Key, int]]:
    """Return the entries of the maps of a `Balance` by the map's name, for a table as `spread` returns it.

    The primitive's `buckets` must be the table's length. All instances that have a weight are up, also with weight 0:
    flows that echo them stay.
    """
    firsts: dict[Key, int] = {bucket: instance for bucket, instance in enumerate(table) if instance}
    seconds = second_choices(table, weights)
    return {
        "first": firsts,
        "second": {bucket: instance for bucket, instance in enumerate(seconds) if instance},
        "up": dict.fromkeys(weights, 1),
    }


def moved(before: Sequence[int], after: Sequence[int]) -> int:
    """Return how many buckets get another instance. Buckets that had none (0) before do not count.

    `before` and `after` are the instances of all buckets, and of equal length; ValueError if not.
    """
    return sum(one not in (0, other) for one, other in zip(before, after, strict=True))


def _preferences(buckets: NDArray[np.int64], instances: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """Return how much each bucket prefers each instance, 0 to 2**32 - 1: a hash of both, as in rendezvous hashing."""
    rows = _scramble(buckets.astype(np.uint32) + np.uint32(seed * 0x9E3779B1 % 2**32))
    columns = _scramble(instances.astype(np.uint32) ^ np.uint32(0x4855_5257))
    return _scramble(rows[:, None] ^ columns[None, :]).astype(np.int64)


def _scramble(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the finaliser of MurmurHash3 of each word."""
    words = (words ^ (words >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    words = (words ^ (words >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return words ^ (words >> np.uint32(16))
