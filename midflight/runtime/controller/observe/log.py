"""The structured log: one line an event, as JSON or as text."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import Literal, TextIO

from midflight.runtime.controller.observe.events import Event

__all__ = ["Log"]


class Log:
    """Writes each event as a line to a stream and flushes it. May be called from any thread.

    Errors of the stream, such as a closed pipe, are ignored, so that they do not stop the controller.
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
