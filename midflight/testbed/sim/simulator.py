"""Virtual time: a heap of events, and a running hash of everything that happened on the wire."""

from __future__ import annotations

import hashlib
import heapq
import random
import struct
from collections.abc import Callable

__all__ = ["Simulator", "stream"]

_TRACED = struct.Struct("<QB")


def stream(seed: int, name: str) -> random.Random:
    """Return the stream of random numbers that depends on this seed and this name."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()
    return random.Random(int.from_bytes(digest, "big"))


class Simulator:
    """Runs events in order of virtual time, which is in nanoseconds from 0; ties go in order of their scheduling.

    Everything random is drawn from streams that depend on the seed and a name only, so that the same seed gives the
    same run bit for bit, and one link's draws do not move when another link is added.
    """

    def __init__(self, seed: int = 0) -> None:
        self.now = 0
        self.seed = seed
        self.under_way = 0
        """Events that are scheduled and are not alarms: frames on links and in switches."""
        self._events: list[tuple[int, int, int, Callable[..., object], tuple[object, ...]]] = []
        self._scheduled = 0
        self._trace = hashlib.blake2b(digest_size=16)

    def at(self, time: int, action: Callable[..., object], *arguments: object) -> None:
        """Call `action(*arguments)` at a time which must not lie in the past."""
        self.under_way += 1
        self._push(time, 1, action, arguments)

    def alarm(self, time: int, action: Callable[..., object], *arguments: object) -> None:
        """Call `action(*arguments)` at a time, as `at` does, for somebody who waits for it: nothing is under way."""
        self._push(time, 0, action, arguments)

    def run(self, until: Callable[[], bool] | None = None, deadline: int | None = None) -> bool:
        """Run events until `until()` holds, asked after each of them; return whether it does.

        Without `until`, or where it never holds, run until nothing is left to happen, or until the time `deadline`.
        """
        events, pop = self._events, heapq.heappop
        if until is not None and until():
            return True
        while events and (deadline is None or events[0][0] <= deadline):
            self.now, _, weight, action, arguments = pop(events)
            self.under_way -= weight
            action(*arguments)
            if until is not None and until():
                return True
        if events and deadline is not None:
            self.now = max(self.now, deadline)
        return False

    def random(self, name: str) -> random.Random:
        """Return the stream of random numbers with this name."""
        return stream(self.seed, name)

    def trace(self, channel: bytes, what: int, frame: bytes) -> None:
        """Take an event on the wire into the trace: where, what (a small number) and the frame."""
        self._trace.update(_TRACED.pack(self.now, what) + channel + frame)

    def trace_hash(self) -> str:
        """Return the hash of everything traced so far, in hexadecimal."""
        return self._trace.hexdigest()

    def _push(self, time: int, weight: int, action: Callable[..., object], arguments: tuple[object, ...]) -> None:
        if time < self.now:
            raise ValueError(f"an event at {time} ns was scheduled at {self.now} ns")
        self._scheduled += 1
        heapq.heappush(self._events, (time, self._scheduled, weight, action, arguments))
