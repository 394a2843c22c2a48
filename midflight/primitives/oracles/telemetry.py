"""The oracle of Telemetry: the switches on a path, in a list with limited room."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["passed"]


def passed(count: int, switches: Sequence[int], number: int) -> tuple[int, list[int]]:
    """Return the count and the switches in a packet after another switch, given those before it.

    `count` switches have seen it, at most 255, of which the first ones are in `switches`. `number` is that of the
    next one.
    """
    seen = [*switches[:count], number, *switches[count + 1 :]]
    return min(255, count + 1), seen[: len(switches)]
