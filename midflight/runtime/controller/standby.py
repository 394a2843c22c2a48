"""A controller that waits for another one of the same state folder to end, or to hang."""

from __future__ import annotations

import time
from collections.abc import Callable

from midflight.runtime.controller.folder import StateFolder
from midflight.runtime.controller.holder import Pulse

__all__ = ["Standby"]


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
        self._pulse = Pulse(lambda: (folder.beat, folder.holder), now)
        self.problem = ""
        """Why this cannot take over although the controller hangs, as text; empty otherwise."""
        self._killed = False

    @property
    def holder(self) -> str:
        """The decimal id of the process that holds the folder, or held it before this process."""
        return self._pulse.holder.pid

    def attempt(self) -> str:
        """Try to hold the folder. Return how the process that held it has ended, as text, or "" if it still holds it.

        Kills that process if it has sent no heartbeat for `patience` seconds; `problem` says if that is not possible.
        MidflightError if the lock cannot be written.
        """
        if self._folder.hold():
            how = f"did not respond for {self._patience:g} s and was killed" if self._killed else "has ended"
            return f"process {self.holder} {how}"
        quiet = self._pulse.quiet()
        if not quiet:
            self._killed, self.problem = False, ""
        elif quiet >= self._patience and not self._killed:
            self._killed = self._pulse.holder.kill()
            if not self._killed:
                self.problem = f"process {self.holder} does not respond and cannot be killed from here; kill it"
        return ""
