"""The state folder of a controller: who may access it, which process holds it, and whether that process still runs."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from midflight.errors import MidflightError
from midflight.runtime.controller.holder import Holder

__all__ = ["StateFolder"]

_BEAT = 0.5
"""Seconds between two heartbeats of the process that holds a folder."""


class StateFolder:
    """The folder with the state of a controller, which only its owner can access. A context manager.

    Creates the folder at `path`, and its parents, if it does not exist. It is not locked before `hold`. MidflightError
    if it cannot be created, belongs to another user, or gives group or others any access.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            found = path.stat()
            if found.st_uid != os.geteuid():
                raise MidflightError(f"{path} belongs to another user", hint="choose another folder with --state")
            if stat.S_IMODE(found.st_mode) & 0o077:
                raise MidflightError(f"other users can access {path}", hint=f"chmod 700 {path}")
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise MidflightError(f"{path}: {error.strerror}") from None
        self._heart: _Heart | None = None

    @property
    def socket(self) -> Path:
        """The path of the Unix socket on which the folder's controller accepts commands, whether it exists or not."""
        return self.path / "control"

    def hold(self) -> bool:
        """Try to lock the folder for this process, without waiting. Return False if another process holds it.

        The operating system releases the lock when the process ends for any reason. While it holds the folder, the
        process sends heartbeats, twice a second: see `beat`. MidflightError if the lock cannot be written.
        """
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{Holder.of_this_process()}\n".encode(), 0)
        except BlockingIOError:
            return False
        except OSError as error:
            raise MidflightError(f"{self.path / 'lock'}: {error.strerror}") from None
        if self._heart is None:
            self._heart = _Heart(self._lock)
        return True

    @property
    def holder(self) -> Holder:
        """The process that holds the folder, or held it last. OSError if the folder is closed."""
        return Holder.parse(os.pread(self._lock, 128, 0))

    @property
    def beat(self) -> int:
        """The time of the last heartbeat, in nanoseconds; it changes as long as the process that holds the folder runs.

        A process that is stopped (SIGSTOP) or hangs in the kernel sends no heartbeats.
        """
        return os.fstat(self._lock).st_mtime_ns

    def close(self) -> None:
        """Release the lock and close its file; the object cannot be used afterwards. Idempotent."""
        if self._heart is not None:
            self._heart.stop()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> StateFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Heart:
    """A thread that sends heartbeats, as times of the open file `lock`, until `stop`."""

    def __init__(self, lock: int) -> None:
        self._lock = lock
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeats", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait for that. Idempotent."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(_BEAT):
            with suppress(OSError):
                os.utime(self._lock)
