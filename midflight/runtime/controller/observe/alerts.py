"""The alert log of a deployment: receives alerts continuously, keeps the latest, and streams them to followers."""

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

_MAX_ALERTS = 10_000
_POLL_INTERVAL = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class TimedAlert:
    """An alert, and the time at which the controller received it: seconds since 1970 in UTC."""

    alert: Alert
    time: float

    def document(self) -> dict[str, Any]:
        """Return the alert as a JSON object: time (ISO 8601, UTC), switch, application and values by field."""
        clock = datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {
            "time": clock,
            "switch": self.alert.switch,
            "application": self.alert.application,
            "values": dict(self.alert.fields),
        }


class AlertLog:
    """Receives a controller's alerts in a thread of its own, and keeps the latest 10,000. A context manager.

    It starts at once and receives alerts even if nobody follows them, so that they do not pile up in sessions and
    switches. `count` is called in that thread with the switch and the application of each alert.
    """

    def __init__(self, alerts: Alerts, count: Callable[[str, str], None]) -> None:
        self._alerts = alerts
        self._count = count
        self._log: deque[TimedAlert] = deque(maxlen=_MAX_ALERTS)
        self._total = 0
        self._arrived = threading.Condition()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._receive, name="alerts", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop receiving, and wait until the thread has ended. Idempotent."""
        self._end.set()
        self._thread.join()

    def __enter__(self) -> AlertLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def latest(self, count: int, application: str = "") -> list[TimedAlert]:
        """Return up to the last `count` alerts, oldest first: those of one application, or of all if `application` is
        empty. A `count` of 0 or less gives none.
        """
        with self._arrived:
            found = [each for each in self._log if application in ("", each.alert.application)]
        return found[-count:] if count > 0 else []

    def follow(self, listening: Callable[[], bool], application: str = "") -> Iterator[TimedAlert]:
        """Yield alerts as they arrive from now on: those of one application, or of all if `application` is empty.

        Ends when `listening` returns False. It is called after each arrival and at least every half second.
        """
        with self._arrived:
            seen = self._total
        while listening():
            with self._arrived:
                self._arrived.wait_for(lambda: self._total > seen, 0.5)  # noqa: B023 - called at once
                new = min(self._total - seen, len(self._log))
                fresh = [*self._log][len(self._log) - new :]
                seen = self._total
            yield from (each for each in fresh if application in ("", each.alert.application))

    def _receive(self) -> None:
        for alert in self._alerts.follow(let=self._pause):
            self._count(alert.switch, alert.application)
            with self._arrived:
                self._log.append(TimedAlert(alert, time.time()))
                self._total += 1
                self._arrived.notify_all()

    def _pause(self, _: float) -> float:
        """Wait, and return the seconds waited, or 0 once the log is closed."""
        return 0.0 if self._end.wait(_POLL_INTERVAL) else _POLL_INTERVAL
