"""A controller that waits for another one of the same state folder to end, or to hang."""

from __future__ import annotations

import time
from collections.abc import Callable

from midflight.runtime.controller.folder import StateFolder

__all__ = ["Standby"]

_LONGEST_STEP = 0.5
"""The most seconds that pass between two attempts as far as a standby is concerned: it may have been stopped itself."""


class Standby:
    """Waits to hold a state folder that a controller holds: call `attempt` a few times a second.

    When that controller's process ends, its lock is free. If it sends no heartbeat for `patience` seconds, as when it
    is stopped (SIGSTOP), it is killed: it could otherwise continue at any time and write to switches. `now` returns the
    time in seconds.
    """

    def __init__(
        self, folder: StateFolder, *, patience: float = 5.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._patience = patience
        self._now = now
        self.holder = folder.holder
        """The decimal id of the process that holds the folder."""
        self._beat, self._last, self._quiet = folder.beat, now(), 0.0
        self.problem = ""
        """Why this cannot take over although the controller hangs, as text; empty otherwise."""
        self._killed = False

    def attempt(self) -> str:
        """Try to hold the folder. Return how the process that held it has ended, as text, or "" if it still holds it.

        Kills that process if it has sent no heartbeat for `patience` seconds; `problem` says if that is not possible.
        MidflightError if the lock cannot be written.
        """
        if self._folder.hold():
            how = f"did not respond for {self._patience:g} s and was killed" if self._killed else "has ended"
            return f"process {self.holder} {how}"
        now, beat, holder = self._now(), self._folder.beat, self._folder.holder
        self._quiet += min(now - self._last, _LONGEST_STEP)
        self._last = now
        if (beat, holder) != (self._beat, self.holder):
            self._beat, self.holder, self._quiet, self._killed, self.problem = beat, holder, 0.0, False, ""
        elif self._quiet >= self._patience and not self._killed:
            self._killed = self._folder.kill_holder()
            if not self._killed:
                self.problem = f"process {holder} does not respond and cannot be killed from here; kill it"
        return ""
