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
    """Return the packets that arrive, in order, given a fate for each packet sent. At least one packet arrives."""
    arriving = [
        (place + late, late > 0, request)
        for place, (request, fate) in enumerate(zip(sent, fates, strict=True))
        for late in fate
    ]
    return [request for _, _, request in sorted(arriving, key=lambda each: each[:2])] or [*sent[:1]]


def weathered(random: Random, sent: Sequence[Request]) -> list[Request]:
    """Return the packets that arrive in one of the networks, drawn at random."""
    return brought(sent, random.choices(random.choice(WEATHERS), k=len(sent)))
