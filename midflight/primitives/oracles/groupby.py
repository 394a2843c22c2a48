"""The oracle of GroupBy: cells as dicts, and a record of the pairs that left with each packet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from midflight.primitives.oracles.hashes import positions
from midflight.primitives.oracles.serial import is_older

__all__ = ["Pair", "Switch"]

Pair = tuple[int, int]
INT32 = range(-(2**31), 2**31)


@dataclass(slots=True)
class Switch:
    """The switch's side: the pairs in its cells, and the latest packet of each worker and window place.

    Pairs are held by lane and cell. With each packet the pairs that left with it are kept, to answer a retransmission.
    """

    operation: Literal["sum", "min", "max", "count"]
    cells: int
    window: int
    _held: dict[tuple[int, int], Pair] = field(default_factory=dict)
    _flights: dict[tuple[int, int], tuple[int, list[Pair | None]]] = field(default_factory=dict)

    def put(self, worker: int, number: int, pairs: Sequence[Pair | None]) -> list[Pair | None] | None:
        """Process a packet's pairs, by lane, with None for absent ones. Return the pairs that leave with it, by lane.

        `number` is the packet's job * 2**32 + sequence. A pair leaves its cell when one with another key takes the
        cell, or when the combined value would exceed 32 bits. A repeated packet gets the pairs of the first time, and
        is not counted again. Return None if a newer packet of the worker has the same place in the window.
        """
        return self._once(worker, number, lambda: [self._put(lane, pair) for lane, pair in enumerate(pairs)])

    def flush(self, worker: int, number: int, cell: int, lanes: int) -> list[Pair | None] | None:
        """Empty the cell number `cell` in each of `lanes` lanes. Return its pairs by lane, with None for empty cells.

        `number` is the packet's job * 2**32 + sequence, and repeated or replaced packets are handled as in `put`.
        """
        return self._once(worker, number, lambda: [self._held.pop((lane, cell), None) for lane in range(lanes)])

    def _once(self, worker: int, number: int, act: Callable[[], list[Pair | None]]) -> list[Pair | None] | None:
        flight = (worker, number % 2**32 % self.window)
        if flight in self._flights:
            latest, took = self._flights[flight]
            if number == latest:
                return took
            if is_older(number, latest, bits=48):
                return None
        took = act()
        self._flights[flight] = (number, took)
        return took

    def _put(self, lane: int, pair: Pair | None) -> Pair | None:
        if pair is None:
            return None
        key, value = pair
        value = 1 if self.operation == "count" else value
        place = (lane, positions([key], 64, 0, self.cells)[0])
        old = self._held.get(place)
        if old is not None and old[0] == key:
            choose: dict[str, Callable[[Sequence[int]], int]] = {"min": min, "max": max, "sum": sum, "count": sum}
            combined = choose[self.operation]([old[1], value])
            if combined in INT32:
                self._held[place] = (key, combined)
                return None
        self._held[place] = (key, value)
        return old
