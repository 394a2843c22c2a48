"""What a network does to the packets that hosts send: it loses some, doubles some and lets others overtake some."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from midflight.testbed.conformance.subject import Request

__all__ = ["LOST", "WEATHERS", "Fate", "brought", "weathered"]

Fate = tuple[int, ...]
"""What becomes of a packet: of each copy that arrives, how many of the packets sent later are there before it."""

LOST: Fate = ()
ON_TIME: Fate = (0,)

WEATHERS: tuple[tuple[Fate, ...], ...] = (
    (LOST, *[ON_TIME] * 59),
    (LOST, LOST, *[ON_TIME] * 24, (0, 0), (0, 3), (1,), (6,)),
    (*[LOST] * 3, *[ON_TIME] * 8, (0, 0), (0, 1), (0, 9), (0, 2, 4), (1,), (2,), (5,), (20,)),
)
"""Fates as likely as they stand here: where all is well, on a bad day, and in a storm."""


def brought(sent: Sequence[Request], fates: Sequence[Fate]) -> list[Request]:
    """Return what arrives, in order, of what is sent, with a fate for each packet; at least one packet does."""
    arriving = [
        (place + late, late > 0, request)
        for place, (request, fate) in enumerate(zip(sent, fates, strict=True))
        for late in fate
    ]
    return [request for _, _, request in sorted(arriving, key=lambda each: each[:2])] or [*sent[:1]]


def weathered(random: Random, sent: Sequence[Request]) -> list[Request]:
    """Return what arrives of what is sent, in one of the weathers."""
    return brought(sent, random.choices(random.choice(WEATHERS), k=len(sent)))
