"""Requests per second of applications, from samples of the switches' counters."""

from __future__ import annotations

import time
from collections.abc import Callable

from midflight.runtime.controller.observe.metrics import Reading

__all__ = ["Rates"]

_SHORTEST = 1.0


class Rates:
    """The rates at which requests arrive for applications at switches, between two samples of the switches' counters.

    `read` takes a sample. The first one is taken at once. `clock` returns the time in seconds.
    """

    def __init__(self, read: Callable[[], Reading], clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock = read, clock
        self._time, self._counts = clock(), _counts(read())
        self._rates: dict[tuple[str, str], float] = {}

    def latest(self) -> dict[tuple[str, str], float]:
        """Return the requests per second since the previous sample, by application and switch.

        Takes another sample if the previous one is at least a second old, and returns the same rates as before
        otherwise. A pair without a count in both samples has no rate, nor has one whose count was set to zero in
        between. Raises what `read` raises.
        """
        now = self._clock()
        if now - self._time >= _SHORTEST:
            counts, before, seconds = _counts(self._read()), self._counts, now - self._time
            self._time, self._counts = now, counts
            self._rates = {
                pair: (count - before[pair]) / seconds
                for pair, count in counts.items()
                if pair in before and count >= before[pair]
            }
        return self._rates


def _counts(reading: Reading) -> dict[tuple[str, str], int]:
    """Return the requests that have arrived for each application at each switch, at all ports."""
    counts: dict[tuple[str, str], int] = {}
    for switch, each in reading.switches.items():
        for (application, _), packets in (each.packets or {}).items():
            counts[application, switch] = counts.get((application, switch), 0) + packets
    return counts
