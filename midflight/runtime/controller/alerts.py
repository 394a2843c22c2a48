"""Alerts: what kernels tell the controller (`packet.alert`), from every switch, by application and field.

A switch sends an application's alerts as messages of a digest, to sessions that have subscribed to it.
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
"""So many alerts are kept, the latest."""

QUIET: Final = 1.2
"""Seconds after which a switch has sent all alerts that it has, where it does not send each at once (BMv2)."""

_SLICE = 0.02  # seconds between two looks at several switches


class Schemed(Protocol):
    """What is needed of a program."""

    def schema(self) -> dict[str, Any]:
        """Return the wire schema."""


class Alert(tuple[int, ...]):
    """The numbers that a kernel told, in order; equal to a plain tuple of them.

    `application` raised it on `switch`. Its numbers are attributes, too, by the names in `fields`: `alert.value`.
    """

    application: str
    switch: str
    fields: Mapping[str, int]

    @classmethod
    def of(cls, application: str, switch: str, fields: Mapping[str, int]) -> Alert:
        """Return the alert with these numbers."""
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
"""Says whether an alert is wanted."""


class Alerts:
    """The alerts of a program's applications, as sessions with switches hear them.

        with device.session() as session:
            session.load(...)
            alerts = Alerts(program, {"s1": session})
            alerts.subscribe("pressure")
            ...
            alerts.heard("pressure")        # [(7, 905)]

    Sessions are by the switch's name, and the mapping may change. `prompt` says of a switch that its alerts are on
    their way by the time that it is done with their packet; others are given `QUIET` seconds of silence. Whoever uses
    the sessions from other threads passes the `lock` that guards them.
    """

    def __init__(
        self,
        program: Schemed,
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
        self._heard = 0  # alerts so far, of which the log has the last
        self.missed = 0
        """Alerts that are not kept any more, as too many have come after them."""
        self.adopt(program)

    def adopt(self, program: Schemed) -> None:
        """Decode the alerts of another program from now on, and those of the ones before that are under way."""
        described = program.schema()
        schema = Schema(described)
        with self._lock:
            for name, each in described["applications"].items():
                if each.get("alert"):
                    self._digests[each["alert"]["name"]] = name, schema

    def subscribe(self, application: str, switch: str = "") -> None:
        """Have a switch, or all that run the application, send its alerts from now on.

        Nothing happens if its kernel raises none. A controller subscribes to what it admits.
        """
        digest = next((each for each, (name, _) in self._digests.items() if name == application), "")
        for name, session in self._sessions.items():
            if switch in ("", name) and any(each.preamble.name == digest for each in session.p4info.digests):
                session.subscribe(digest)

    def collect(self) -> None:
        """Take the alerts that switches have sent; all those of packets that they are done with."""
        with self._lock:
            self._take_all()
            late = [
                (name, session)
                for name, session in self._sessions.items()
                if session.subscriptions and not self._prompt(name)
            ]
            end = time.monotonic() + QUIET
            while late and time.monotonic() < end:
                if any(self._take(*each, _SLICE) for each in late):
                    end = time.monotonic() + QUIET

    def heard(self, application: str = "", wanted: Wanted | None = None) -> list[Alert]:
        """Return the alerts so far, those of all applications or of one, and those that are wanted.

        What a packet raised that a switch is done with is among them.
        """
        self.collect()
        with self._lock:
            return [each for each in self._log if _is(each, application, wanted)]

    def wait(
        self,
        count: int,
        application: str = "",
        wanted: Wanted | None = None,
        *,
        timeout: float = 5.0,
        let: Callable[[float], float] | None = None,
    ) -> list[Alert]:
        """Return the alerts so far as `heard` does, as soon as there are `count`.

        timeout: in seconds. `let` lets seconds pass and returns how many have, 0 where nothing will happen any more:
        for networks with a time of their own. MidflightError where there are not so many in time.
        """
        left = timeout
        while True:
            with self._lock:
                self._take_all()
                found = [each for each in self._log if _is(each, application, wanted)]
            if len(found) >= count:
                return found
            passed = (let or _sleep)(min(_SLICE, left)) if left > 0 else 0.0
            left -= passed
            if passed <= 0:
                break
        found = self.heard(application, wanted)
        if len(found) >= count:
            return found
        of = f" of {application}" if application else ""
        raise MidflightError(
            f"{len(found)} alerts{of} have come within {timeout:g} s, and {count} were waited for",
            hint="a kernel raises alerts where its application is admitted, by `packet.alert`",
        )

    def follow(
        self,
        application: str = "",
        wanted: Wanted | None = None,
        *,
        timeout: float | None = None,
        let: Callable[[float], float] | None = None,
    ) -> Iterator[Alert]:
        """Yield alerts as they come from now on, until none has for `timeout` seconds; by default for ever.

        `let` is as in `wait`.
        """
        with self._lock:
            self._take_all()
            return self._from(self._heard, application, wanted, timeout, let or _sleep)

    def _from(
        self,
        seen: int,
        application: str,
        wanted: Wanted | None,
        timeout: float | None,
        let: Callable[[float], float],
    ) -> Iterator[Alert]:
        """Yield the alerts after the first `seen` of all."""
        left = timeout
        while True:
            with self._lock:
                self._take_all()
                fresh = [*self._log][-min(self._heard - seen, len(self._log)) :] if self._heard > seen else []
                seen = self._heard
            found = [each for each in fresh if _is(each, application, wanted)]
            if found:
                yield from found
                left = timeout
                continue
            passed = let(_SLICE if left is None else min(_SLICE, left))
            if left is not None:
                left -= passed
            if passed <= 0 or (left is not None and left <= 0):
                return

    def clear(self) -> None:
        """Forget the alerts so far."""
        self.collect()
        with self._lock:
            self._log.clear()
            self.missed = 0

    def _take_all(self) -> None:
        for name, session in [*self._sessions.items()]:
            self._take(name, session, 0.0)

    def _take(self, switch: str, session: Session, timeout: float) -> bool:
        """Take what a session has heard, waiting for the first; return whether there was anything."""
        try:
            digests = session.digests(timeout)
        except DeviceError:
            return False  # it is off, or has died; whoever runs it finds that out
        for each in digests:
            if each.name not in self._digests:  # no kernel's
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


def _is(alert: Alert, application: str, wanted: Wanted | None) -> bool:
    return application in ("", alert.application) and (wanted is None or wanted(alert))


def _sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
