"""Events: records of what happened to a controller, its switches and its applications."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

__all__ = ["Event", "OnEvent"]


@dataclass(frozen=True, slots=True)
class Event:
    """An event.

    `kind` is an identifier such as "switch-lost", and `message` a text for people. `switch` and `application` are
    empty if the event concerns none. `details` has values that JSON can represent. `time` is in seconds since 1970.
    """

    kind: str
    message: str
    switch: str = ""
    application: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    time: float = field(default_factory=time.time)

    @property
    def clock(self) -> str:
        """The time in UTC, in ISO 8601 format with milliseconds."""
        return datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def document(self) -> dict[str, Any]:
        """Return the event as a JSON object, without an empty switch or application."""
        parts = {"time": self.clock, "event": self.kind, "message": self.message}
        parts |= {name: it for name in ("switch", "application") if (it := getattr(self, name))}
        return {**parts, **self.details}

    def line(self) -> str:
        """Return the event as a line of text for people."""
        about = " ".join(each for each in (self.switch, self.application) if each)
        return f"{self.clock} {self.kind:<16} {f'{about}: ' if about else ''}{self.message}"


OnEvent = Callable[[Event], None]
"""Called with each event, in the thread that emits it."""
