"""The oracle of SafetyStop: a cell as the record of all its events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Cell"]

Reason = Literal["passed", "outside", "stale", "stopped"]


@dataclass(slots=True)
class Cell:
    """The oracle of `SafetyStop`: one cell of a machine, which is disarmed at first.

    A command is safe if it is `low` to `high`, and if the time of the latest sensor reading differs from the command's
    by at most `patience`, in units of the clock.
    """

    low: int
    high: int
    patience: int
    _readings: list[int] = field(default_factory=list)
    _events: list[str] = field(default_factory=list)

    def reading(self, time: int) -> None:
        """Record a sensor reading with its time on a 32-bit clock; ignored if it is older than an earlier one."""
        if not self._readings or _ahead(time, self._readings[-1]) >= 0:
            self._readings.append(time)

    def rearm(self) -> None:
        """Arm the cell, so that safe commands pass."""
        self._events.append("armed")

    def command(self, time: int, value: int) -> tuple[Reason, bool]:
        """Process a command to the actuator, sent at `time` on a 32-bit clock.

        Return the outcome (why it passes or not), and whether it stops the cell, that is, whether it is unsafe and the
        cell was armed.
        """
        wrong: Reason = "passed"
        if not self.low <= value <= self.high:
            wrong = "outside"
        elif not self._readings or abs(_ahead(time, self._readings[-1])) > self.patience:
            wrong = "stale"
        armed = bool(self._events) and self._events[-1] == "armed"
        if wrong != "passed":
            self._events.append("stopped")
        return (wrong if armed else "stopped"), armed and wrong != "passed"


def _ahead(time: int, other: int) -> int:
    """Return how far a time is ahead of another on a 32-bit clock, negative if it is behind."""
    distance = (time - other) % 2**32
    return distance if distance < 2**31 else distance - 2**32
