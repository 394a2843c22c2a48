"""A log of events: one line for each event, as JSON or as text."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import Literal, TextIO

from midflight.runtime.controller.observe.events import Event

__all__ = ["Log"]


class Log:
    """Writes each event as a line to a stream and flushes it: a sink for `Deployment`. May be called from any thread.

    `form` is "json" for a JSON object in each line, or "text" for text for people. Errors of the stream, such as a
    closed pipe, are ignored, so that they do not stop the controller.
    """

    def __init__(self, stream: TextIO, form: Literal["json", "text"] = "text") -> None:
        self._stream = stream
        self._form = form
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Write an event to the stream. Raises no errors of the stream."""
        line = json.dumps(event.document()) if self._form == "json" else event.line()
        with self._lock, suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()
