"""Queues and delays of a path from in-band stamps: what `Telemetry` packets collect in each switch on their way.

Every difference of times is of one switch's own clock, so clocks need not agree. The delay of links is not in the
stamps; round trips have it (`stamp.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from midflight.errors import WireError
from midflight.runtime.steering.metrics import MEASUREMENT_WINDOW, RawMetric, Statistics, Window

__all__ = ["Hop", "PathStamps", "hops"]

_MICROSECOND = 1e-6
_CLOCK = 1 << 48  # the switches' clocks in microseconds wrap


@dataclass(frozen=True, slots=True)
class Hop:
    """The stamps of one switch for a packet: the switch's number, and the packets in the queue (`depth`).

    `queued` and `inside` are the seconds that the packet spent in the queue and in the switch.
    """

    switch: int
    depth: int
    queued: float
    inside: float


def hops(fields: Mapping[str, Any]) -> tuple[Hop, ...]:
    """Return the hops in the fields of a `Telemetry` packet, in the order of the path.

    Switches beyond the room in the packet are missing. WireError if a field that a hop needs is missing or malformed.
    """
    try:
        room = len(fields["switch"])
        return tuple(
            Hop(
                int(fields["switch"][hop]),
                int(fields["depth"][hop]),
                int(fields["delay"][hop]) * _MICROSECOND,
                (int(fields["departure"][hop]) - int(fields["arrival"][hop])) % _CLOCK * _MICROSECOND,
            )
            for hop in range(min(room, int(fields["count"])))
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise WireError(f"these are not the stamps of Telemetry: {error!r}") from None


class PathStamps:
    """The queues and delays of one path in a measurement window of `window` nanoseconds.

    A packet that took another route than the one before clears the window, as its queues are others. MidflightError if
    the window is not positive.
    """

    def __init__(self, window: int = MEASUREMENT_WINDOW) -> None:
        self._length = window
        self._clear()
        self.route: tuple[int, ...] = ()
        """The numbers of the switches that the last packet passed."""
        self.truncated = 0
        """Packets that passed more switches than they have room for; the stamps of the others count."""

    def add(self, fields: Mapping[str, Any], now: int) -> None:
        """Measure with the fields of a `Telemetry` packet that arrived at `now`. WireError if they are not stamps."""
        found: Sequence[Hop] = hops(fields)
        self.truncated += int(fields["count"]) > len(found)
        route = tuple(each.switch for each in found)
        if route != self.route:
            self._clear()
            self.route = route
        if found:
            self._depth.add(max(each.depth for each in found), now)
            self._queued.add(sum(each.queued for each in found), now)
            self._inside.add(sum(each.inside for each in found), now)

    def metrics(self, now: int) -> tuple[RawMetric, ...]:
        """Return the means of the window: packets in the fullest queue, and seconds in queues and in switches.

        Empty if no packet has arrived in the window.
        """
        found = (each.metric(Statistics.MEAN, now) for each in (self._depth, self._queued, self._inside))
        return tuple(each for each in found if each is not None)

    def _clear(self) -> None:
        self._depth = Window("network_queue_depth", self._length)
        self._queued = Window("network_queue_delay", self._length)
        self._inside = Window("network_switch_delay", self._length)
