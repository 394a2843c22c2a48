"""Virtual time: an event queue, and a running hash of all events on the links."""

from __future__ import annotations

import hashlib
import heapq
import random
import struct
from collections import deque
from collections.abc import Callable

__all__ = ["Simulator", "stream"]

_TRACED = struct.Struct("<QB")


def stream(seed: int, name: str) -> random.Random:
    """Return the generator of random numbers that this seed and name determine. Other names give independent
    numbers.
    """
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()
    return random.Random(int.from_bytes(digest, "big"))


class Simulator:
    """Runs events in order of virtual time, in nanoseconds from 0. Events at the same time run in order of scheduling.

    `now` is the current time. Random numbers come from streams that depend only on the seed and a name. So the same
    seed gives the same run, bit for bit, and adding a link does not change the draws of another one.
    """

    def __init__(self, seed: int = 0) -> None:
        self.now = 0
        self.seed = seed
        self.under_way = 0
        """Events that are scheduled and are not alarms: frames on links and in switches."""
        self._events: list[tuple[int, int, int, Callable[..., object], tuple[object, ...]]] = []
        self._scheduled = 0
        self._posted: deque[Callable[[], object]] = deque()
        self._trace = hashlib.blake2b(digest_size=16)

    def at(self, time: int, action: Callable[..., object], *arguments: object) -> None:
        """Schedule `action(*arguments)` for `time`, in nanoseconds of virtual time. It counts as `under_way` until it
        runs.

        ValueError if the time is in the past.
        """
        self.under_way += 1
        self._push(time, 1, action, arguments)

    def alarm(self, time: int, action: Callable[..., object], *arguments: object) -> None:
        """Schedule `action(*arguments)` for `time`, in nanoseconds of virtual time, without counting it as `under_way`.

        ValueError if the time is in the past.
        """
        self._push(time, 0, action, arguments)

    def post(self, action: Callable[[], object]) -> None:
        """Call `action()` before the next event, in the thread that runs the events. Thread-safe."""
        self._posted.append(action)

    def run(self, until: Callable[[], bool] | None = None, deadline: int | None = None) -> bool:
        """Run events until `until()` is true, and return whether it is. It is checked before the first and after each
        event.

        Without `until`, or if it never becomes true, run until no event is left, or until the virtual time `deadline`,
        in nanoseconds (None: no deadline), and return False. Events at the deadline still run. Afterwards `now` is the
        deadline if later events are left, and otherwise the time of the last event.
        """
        events, pop = self._events, heapq.heappop
        self._run_posted()
        if until is not None and until():
            return True
        while events and (deadline is None or events[0][0] <= deadline):
            self.now, _, weight, action, arguments = pop(events)
            self.under_way -= weight
            action(*arguments)
            if self._posted:
                self._run_posted()
            if until is not None and until():
                return True
        if events and deadline is not None:
            self.now = max(self.now, deadline)
        return False

    def _run_posted(self) -> None:
        while self._posted:
            self._posted.popleft()()

    def random(self, name: str) -> random.Random:
        """Return the generator of random numbers with this name. Calls with the same name start the same
        numbers again.
        """
        return stream(self.seed, name)

    def trace(self, channel: bytes, what: int, frame: bytes) -> None:
        """Add an event at the current time to the trace: the channel, the kind of event (a small integer) and the
        frame.
        """
        self._trace.update(_TRACED.pack(self.now, what) + channel + frame)

    def trace_hash(self) -> str:
        """Return the hash of all traced events so far, as 32 hexadecimal digits."""
        return self._trace.hexdigest()

    def _push(self, time: int, weight: int, action: Callable[..., object], arguments: tuple[object, ...]) -> None:
        if time < self.now:
            raise ValueError(f"an event at {time} ns was scheduled at {self.now} ns")
        self._scheduled += 1
        heapq.heappush(self._events, (time, self._scheduled, weight, action, arguments))
