"""Alerts that kernels send to the controller with `packet.alert`, decoded by application and field.

A switch sends an application's alerts as a P4Runtime digest to each session that has subscribed to it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from midflight.errors import DeviceError, MidflightError, WireError
from midflight.primitives.wire import Schema
from midflight.runtime.p4runtime.client.session import Session

__all__ = ["MOST", "QUIET", "Alert", "Alerts", "Wanted"]

MOST: Final = 1 << 16
"""The number of alerts that are kept. When more arrive, the oldest are dropped and counted in `Alerts.missed`."""

QUIET: Final = 1.2
"""Seconds of silence after which a switch that buffers digests (BMv2) has sent all of its alerts."""

_POLL_INTERVAL = 0.02  # seconds


class HasSchema(Protocol):
    """An object with a wire schema, such as a `Program`: all that decoding alerts needs."""

    def schema(self) -> dict[str, Any]:
        """Return the program's wire schema, a JSON object with the headers and alert fields of each application."""


class Alert(tuple[int, ...]):
    """The numbers that a kernel passed to `packet.alert`, in order: a tuple that equals a plain tuple of them.

    `application` is the name of the application that raised the alert, and `switch` the name of its switch. The numbers
    are also attributes with the names in `fields`, such as `alert.value`; AttributeError for any other name.
    """

    application: str
    switch: str
    fields: Mapping[str, int]

    @classmethod
    def of(cls, application: str, switch: str, fields: Mapping[str, int]) -> Alert:
        """Return an alert of an application on a switch; `fields` maps the names of its numbers to the numbers, in
        order.
        """
        made = cls(fields.values())
        made.application, made.switch, made.fields = application, switch, dict(fields)
        return made

    def __getattr__(self, name: str) -> int:
        fields: Mapping[str, int] = self.__dict__.get("fields", {})
        if name not in fields:
            raise AttributeError(f"this alert has no {name!r}: it has {', '.join(fields)}")
        return fields[name]

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={value}" for name, value in self.fields.items())
        return f"Alert({self.application}: {numbers})"


Wanted = Callable[[Alert], bool]
"""A filter: it is called with an alert and returns whether to include it."""


class Alerts:
    """Receives the alerts of a program's applications from sessions with switches.

        with device.session() as session:
            session.load(...)
            alerts = Alerts(program, {"s1": session})
            alerts.subscribe("pressure")
            ...
            alerts.heard("pressure")        # [(7, 905)]

    `sessions` maps switch names to open sessions, and its contents may change later. `prompt` is called with a switch's
    name and returns whether that switch sends a packet's alerts before it finishes the packet; by default, all do. From
    the others, `collect` waits for `QUIET` seconds of silence. If other threads use the sessions, pass the `lock` that
    guards them. A switch that does not answer counts as silent.
    """

    def __init__(
        self,
        program: HasSchema,
        sessions: Mapping[str, Session],
        *,
        prompt: Callable[[str], bool] = lambda _: True,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._sessions = sessions
        self._prompt = prompt
        self._lock = lock or threading.RLock()
        self._digests: dict[str, tuple[str, Schema]] = {}  # by name: the application, and what decodes it
        self._log: deque[Alert] = deque(maxlen=MOST)
        self._heard = 0  # alerts received in total; the log holds the latest
        self.missed = 0
        """The number of alerts that were dropped since the start or the last `clear`, because more than `MOST` were
        kept.
        """
        self.adopt(program)

    def adopt(self, program: HasSchema) -> None:
        """Decode the alerts of this program, too. Those of earlier programs are still decoded, as some may be in
        flight.
        """
        described = program.schema()
        schema = Schema(described)
        with self._lock:
            for name, each in described["applications"].items():
                if each.get("alert"):
                    self._digests[each["alert"]["name"]] = name, schema

    def subscribe(self, application: str, switch: str = "") -> None:
        """Subscribe to an application's alerts on the switch of this name, or on all switches that run it if the name
        is empty.

        Does nothing if the kernel raises no alerts, or if there is no such application or switch. A controller
        subscribes when it admits an application. DeviceError if a switch refuses; those before it stay subscribed to.
        """
        digest = next((each for each, (name, _) in self._digests.items() if name == application), "")
        for name, session in self._sessions.items():
            if switch in ("", name) and any(each.preamble.name == digest for each in session.p4info.digests):
                session.subscribe(digest)

    def collect(self) -> None:
        """Receive all alerts of the packets that the switches have finished, and keep them for `heard`.

        Blocks until each switch that is not `prompt` (see the class) has sent nothing for `QUIET` seconds. Raises
        nothing if a switch does not answer.
        """
        with self._lock:
            self._poll_all()
            late = [
                (name, session)
                for name, session in self._sessions.items()
                if session.subscriptions and not self._prompt(name)
            ]
            end = time.monotonic() + QUIET
            while late and time.monotonic() < end:
                if any(self._poll(*each, _POLL_INTERVAL) for each in late):
                    end = time.monotonic() + QUIET

    def heard(self, application: str = "", wanted: Wanted | None = None) -> list[Alert]:
        """Return the alerts received so far, oldest first; calls `collect` before, which may block.

        `application` selects the alerts of the application of this name; empty means all. `wanted` selects those for
        which it returns True; None means all. The result includes every alert of the packets that the switches have
        finished, up to the latest `MOST` alerts.
        """
        self.collect()
        with self._lock:
            return [each for each in self._log if _matches(each, application, wanted)]

    def wait(
        self,
        count: int,
        application: str = "",
        wanted: Wanted | None = None,
        *,
        timeout: float = 5.0,
        let: Callable[[float], float] | None = None,
    ) -> list[Alert]:
        """Block until at least `count` alerts have arrived since the start or the last `clear`, and return them, oldest
        first.

        application, wanted: count and return only the alerts that `heard` would return with them.
        timeout: in seconds.
        let: a replacement for `time.sleep` on networks in virtual time; it gets the seconds to wait and returns the
            seconds that have passed, or 0 if nothing more will happen.

        MidflightError if fewer alerts arrive in time. Before that, `collect` is called, which may wait longer than
        `timeout` for switches that are not `prompt`.
        """
        left = timeout
        while True:
            with self._lock:
                self._poll_all()
                found = [each for each in self._log if _matches(each, application, wanted)]
            if len(found) >= count:
                return found
            passed = (let or _sleep)(min(_POLL_INTERVAL, left)) if left > 0 else 0.0
            left -= passed
            if passed <= 0:
                break
        found = self.heard(application, wanted)
        if len(found) >= count:
            return found
        of = f" of {application}" if application else ""
        raise MidflightError(
            f"expected {count} alerts{of} within {timeout:g} s, but {len(found)} arrived",
            hint="a kernel raises alerts with `packet.alert`, on switches where its application is admitted",
        )

    def follow(
        self,
        application: str = "",
        wanted: Wanted | None = None,
        *,
        timeout: float | None = None,
        let: Callable[[float], float] | None = None,
    ) -> Iterator[Alert]:
        """Yield alerts as they arrive from now on, until none has arrived for `timeout` seconds, or indefinitely if it
        is None.

        application, wanted: yield only the alerts that `heard` would return with them; others do not extend the wait.
        let: a replacement for `time.sleep`, as in `wait`; the iterator also ends when it returns 0.
        """
        with self._lock:
            self._poll_all()
            return self._follow_from(self._heard, application, wanted, timeout, let or _sleep)

    def _follow_from(
        self,
        seen: int,
        application: str,
        wanted: Wanted | None,
        timeout: float | None,
        let: Callable[[float], float],
    ) -> Iterator[Alert]:
        """Yield all alerts except the first `seen`, as they arrive."""
        left = timeout
        while True:
            with self._lock:
                self._poll_all()
                fresh = [*self._log][-min(self._heard - seen, len(self._log)) :] if self._heard > seen else []
                seen = self._heard
            found = [each for each in fresh if _matches(each, application, wanted)]
            if found:
                yield from found
                left = timeout
                continue
            passed = let(_POLL_INTERVAL if left is None else min(_POLL_INTERVAL, left))
            if left is not None:
                left -= passed
            if passed <= 0 or (left is not None and left <= 0):
                return

    def clear(self) -> None:
        """Receive all pending alerts, discard all alerts received so far, and set `missed` to 0.

        Blocks until each switch that may send alerts late (one that is not `prompt`) has sent nothing for `QUIET`
        seconds.
        """
        self.collect()
        with self._lock:
            self._log.clear()
            self.missed = 0

    def _poll_all(self) -> None:
        for name, session in [*self._sessions.items()]:
            self._poll(name, session, 0.0)

    def _poll(self, switch: str, session: Session, timeout: float) -> bool:
        """Log the alerts that a session has received. Return whether there were any.

        Wait up to `timeout` seconds for the first one.
        """
        try:
            digests = session.digests(timeout)
        except DeviceError:
            return False  # the switch is off or has died, which is for its owner to detect
        for each in digests:
            if each.name not in self._digests:  # not a digest of alerts
                continue
            application, schema = self._digests[each.name]
            try:
                values = schema.alert(each.name, each.values.values())
            except (WireError, ValueError):  # raised under another program
                values = tuple(each.values.values())
            self.missed += len(self._log) == MOST
            self._log.append(Alert.of(application, switch, dict(zip(each.values, values, strict=True))))
            self._heard += 1
        return bool(digests)


def _matches(alert: Alert, application: str, wanted: Wanted | None) -> bool:
    return application in ("", alert.application) and (wanted is None or wanted(alert))


def _sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
