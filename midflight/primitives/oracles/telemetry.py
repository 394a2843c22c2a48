"""The oracle of Telemetry: the switches on a path, in a list with limited room."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["passed"]


def passed(count: int, switches: Sequence[int], number: int) -> tuple[int, list[int]]:
    """Return the count and the list of switches in a packet after the switch with this number has processed it.

    `count` is the number of switches before it, at most 255. `switches` is the list in the packet, whose length does
    not change: a switch for which it has no place is only counted.
    """
    seen = [*switches[:count], number, *switches[count + 1 :]]
    return min(255, count + 1), seen[: len(switches)]
