"""The clocks of simulated switches."""

from __future__ import annotations

from dataclasses import dataclass

from midflight.errors import MidflightError

__all__ = ["SwitchClock"]

_BILLION = 1_000_000_000
_MOST_DRIFT = 100_000_000
_MOST_OFFSET = 10**17


@dataclass(frozen=True, slots=True)
class SwitchClock:
    """The clock of a switch, which its program and its queues see.

    offset: what it shows at the start of the simulation, in nanoseconds, 0 to 10**17 (three years)
    drift: how much faster it runs than the simulation, in parts per billion, -10**8 to 10**8 (10 %); negative if
        slower. Crystal oscillators are within 100,000 (100 ppm)

    MidflightError if a value is out of its range.
    """

    offset: int = 0
    drift: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.offset <= _MOST_OFFSET:
            raise MidflightError(f"a clock's offset is 0 to {_MOST_OFFSET} ns, not {self.offset}")
        if abs(self.drift) > _MOST_DRIFT:
            raise MidflightError(f"a clock's drift is at most {_MOST_DRIFT} parts per billion, not {self.drift}")

    def read(self, time: int) -> int:
        """Return what the clock shows at a time of the simulation. Both are in nanoseconds."""
        return self.offset + time + time * self.drift // _BILLION

    def when(self, shown: int) -> int:
        """Return the earliest time of the simulation, from 0, at which the clock shows this or more."""
        time = max(0, (shown - self.offset) * _BILLION // (_BILLION + self.drift) - 1)
        while self.read(time) < shown:
            time += 1
        return time
