"""The structured log: a line for each event, as JSON or for people."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import Literal, TextIO

from midflight.runtime.controller.observe.events import Event

__all__ = ["Log"]


class Log:
    """Writes events to a stream, a line each, and flushes it. Call it from any thread.

    A stream that is gone, such as a pipe that nobody reads any more, does not stop the controller.
    """

    def __init__(self, stream: TextIO, form: Literal["json", "text"] = "text") -> None:
        self._stream = stream
        self._form = form
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Write an event."""
        line = json.dumps(event.document()) if self._form == "json" else event.line()
        with self._lock, suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()
