"""The process that holds a state folder, as others see it: whether it runs, and since when it sends no heartbeats."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Holder", "Pulse"]

_LONGEST_STEP = 0.5
"""The most seconds that pass between two calls of `Pulse.quiet`: the process that calls it may have been stopped."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a state folder. Its text is the content of the folder's lock file.

    `pid` is its decimal id, empty if there has been none. `identity` distinguishes it from all other processes with the
    same id: its start and its PID namespace. It is empty where the system does not report them.
    """

    pid: str
    identity: str

    @classmethod
    def of_this_process(cls) -> Holder:
        """Return this process."""
        return cls(str(os.getpid()), _identity(os.getpid()))

    @classmethod
    def parse(cls, content: bytes) -> Holder:
        """Return the process that the content of a lock file names."""
        pid, _, identity = content.decode(errors="replace").strip().partition(" ")
        return cls(pid, identity)

    def __str__(self) -> str:
        return f"{self.pid} {self.identity}"

    @property
    def state(self) -> str:
        """The state of the process, a letter as in `ps`: "T" is stopped. Empty if it has ended or is not visible here.

        A process in another PID namespace is not visible.
        """
        if not (self.pid.isdecimal() and self.identity) or _identity(int(self.pid)) != self.identity:
            return ""
        fields = _fields(int(self.pid))
        return fields[0] if fields and fields[0] not in "ZX" else ""

    def kill(self) -> bool:
        """Kill the process with SIGKILL. Return whether it was killed; it ends soon after.

        Nothing is done if it cannot be identified for certain, for example because it runs in another PID namespace, if
        this user must not kill it, or if it is this process.
        """
        if not (self.pid.isdecimal() and self.identity) or int(self.pid) == os.getpid():
            return False
        try:
            process = os.pidfd_open(int(self.pid))  # it refers to this process, even if another one gets the id
        except OSError:
            return False
        try:
            if _identity(int(self.pid)) != self.identity:
                return False
            signal.pidfd_send_signal(process, signal.SIGKILL)
        except OSError:
            return False
        finally:
            os.close(process)
        return True


class Pulse:
    """Measures how long a process has sent no heartbeat: call `quiet` at least twice a second.

    `look` returns the time of its last heartbeat and which process it is. `now` returns the time in seconds.
    """

    def __init__(self, look: Callable[[], tuple[int, Holder]], now: Callable[[], float] = time.monotonic) -> None:
        self._look, self._now = look, now
        self._seen, self._last, self._quiet = look(), now(), 0.0

    @property
    def holder(self) -> Holder:
        """The process that was seen last."""
        return self._seen[1]

    def quiet(self) -> float:
        """Return the seconds since the last heartbeat was seen, or since another process was seen for the first time.

        A pause between two calls counts as at most half a second.
        """
        now, seen = self._now(), self._look()
        self._quiet = 0.0 if seen != self._seen else self._quiet + min(now - self._last, _LONGEST_STEP)
        self._seen, self._last = seen, now
        return self._quiet


def _identity(pid: int) -> str:
    fields = _fields(pid)
    try:
        return f"{fields[19]} {Path('/proc/self/ns/pid').readlink()}" if fields else ""
    except (OSError, IndexError):
        return ""


def _fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on, the state. Empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
