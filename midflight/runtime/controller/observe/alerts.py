"""The alerts of a deployment: taken from the switches all the time, kept for a while, and handed to who follows."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from midflight.runtime.controller.alerts import Alert, Alerts

__all__ = ["AlertLog", "TimedAlert"]

_KEPT = 10_000
_SLICE = 0.1  # seconds between two looks at the switches


@dataclass(frozen=True, slots=True)
class TimedAlert:
    """An alert, and when the controller had it, in seconds since 1970."""

    alert: Alert
    time: float

    def document(self) -> dict[str, Any]:
        """Return the alert as JSON has it."""
        clock = datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {
            "time": clock,
            "switch": self.alert.switch,
            "application": self.alert.application,
            "values": dict(self.alert.fields),
        }


class AlertLog:
    """Takes alerts as they come, in a thread of its own, and keeps the latest; a context manager.

    Whether or not anybody follows them, they are taken, so that switches and sessions have none to keep. `count` is
    called with the switch and the application of each.
    """

    def __init__(self, alerts: Alerts, count: Callable[[str, str], None]) -> None:
        self._alerts = alerts
        self._count = count
        self._log: deque[TimedAlert] = deque(maxlen=_KEPT)
        self._total = 0
        self._came = threading.Condition()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._take, name="alerts", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more. May be called more than once."""
        self._end.set()
        self._thread.join()

    def __enter__(self) -> AlertLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def latest(self, count: int, application: str = "") -> list[TimedAlert]:
        """Return the last alerts, of all applications or of one, the oldest first."""
        with self._came:
            return [each for each in self._log if application in ("", each.alert.application)][-count:]

    def follow(self, listening: Callable[[], bool], application: str = "") -> Iterator[TimedAlert]:
        """Yield alerts as they come from now on."""
        with self._came:
            seen = self._total
        while listening():
            with self._came:
                self._came.wait_for(lambda: self._total > seen, 0.5)  # noqa: B023 - called at once
                new = min(self._total - seen, len(self._log))
                fresh = [*self._log][len(self._log) - new :]
                seen = self._total
            yield from (each for each in fresh if application in ("", each.alert.application))

    def _take(self) -> None:
        for alert in self._alerts.follow(let=self._let):
            self._count(alert.switch, alert.application)
            with self._came:
                self._log.append(TimedAlert(alert, time.time()))
                self._total += 1
                self._came.notify_all()

    def _let(self, _: float) -> float:
        """Let a while pass, and return how much; 0 at the end."""
        return 0.0 if self._end.wait(_SLICE) else _SLICE
