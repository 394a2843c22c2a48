"""Network faults for the packets of hosts: loss, duplication and reordering."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from midflight.testbed.conformance.subject import Request

__all__ = ["LOST", "WEATHERS", "Fate", "brought", "weathered"]

Fate = tuple[int, ...]
"""The fate of a packet: for each copy that arrives, the number of later packets that arrive before it."""

LOST: Fate = ()
ON_TIME: Fate = (0,)

WEATHERS: tuple[tuple[Fate, ...], ...] = (
    (LOST, *[ON_TIME] * 59),
    (LOST, LOST, *[ON_TIME] * 24, (0, 0), (0, 3), (1,), (6,)),
    (*[LOST] * 3, *[ON_TIME] * 8, (0, 0), (0, 1), (0, 9), (0, 2, 4), (1,), (2,), (5,), (20,)),
)
"""Fates in three networks, to be drawn with equal weights: a good one, a bad one, and a very bad one."""


def brought(sent: Sequence[Request], fates: Sequence[Fate]) -> list[Request]:
    """Return the requests that arrive, in order, given the fate of each request that was sent. At least one arrives.

    `fates` are as many as `sent`. If all requests are lost, the first one arrives.
    """
    arriving = [
        (place + late, late > 0, request)
        for place, (request, fate) in enumerate(zip(sent, fates, strict=True))
        for late in fate
    ]
    return [request for _, _, request in sorted(arriving, key=lambda each: each[:2])] or [*sent[:1]]


def weathered(random: Random, sent: Sequence[Request]) -> list[Request]:
    """Return the requests that arrive, in order, when a network loses, duplicates and reorders those that were sent.

    `random` draws one of the three networks in `WEATHERS`, and a fate for each request.
    """
    return brought(sent, random.choices(random.choice(WEATHERS), k=len(sent)))
