"""Events: records of what happened to a controller, its switches or its applications."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

__all__ = ["Event", "OnEvent"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a controller, such as the loss of a switch or an admission.

    `kind` is an identifier such as "switch-lost", and `message` a text for people. `switch` and `application` are
    names, or empty if the event concerns none. `details` has further values, which JSON can represent. `time` is in
    seconds since 1970, by default now.
    """

    kind: str
    message: str
    switch: str = ""
    application: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    time: float = field(default_factory=time.time)

    @property
    def clock(self) -> str:
        """The time of the event in UTC, in ISO 8601 format with milliseconds."""
        return datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def document(self) -> dict[str, Any]:
        """Return the event as a JSON object: time, event (its kind), message, switch, application and the details.

        The switch or application is left out if it is empty.
        """
        parts = {"time": self.clock, "event": self.kind, "message": self.message}
        parts |= {name: it for name in ("switch", "application") if (it := getattr(self, name))}
        return {**parts, **self.details}

    def line(self) -> str:
        """Return the event as one line of text for people, without a line end: time, kind, switch and application,
        message.
        """
        about = " ".join(each for each in (self.switch, self.application) if each)
        return f"{self.clock} {self.kind:<16} {f'{about}: ' if about else ''}{self.message}"


OnEvent = Callable[[Event], None]
"""A function that is called with each event, in the thread that emits it, so it must not block."""
