"""A program of somebody else's that runs for us: its log is kept, and it never outlives what it runs for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from midflight.errors import DeviceError
from midflight.runtime.devices import launch

__all__ = ["GRACE", "Process", "ended_with", "tail"]

# Seconds that a program is given to end by itself when it is told to.
GRACE = 3.0
# Bytes of a log that are worth reading.
TAIL = 65536


class Process:
    """A running command, in a session of its own, with no input; what it prints goes to the file `log`.

    It ends by `stop`, when this object goes, when the interpreter exits, and by the kernel's hand when this process is
    killed. `netns` is the file of the network namespace to run it in, or "new" for one of its own where that is
    possible. `files` are file descriptors that it gets under the same numbers. DeviceError where the command cannot be
    run.
    """

    def __init__(self, command: Sequence[str], log: Path, *, netns: str = "", files: Sequence[int] = ()) -> None:
        self.log_file = log
        self._ended = threading.Event()
        started: Future[subprocess.Popen[bytes]] = Future()
        arguments = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), netns, *command]
        # The kernel takes the end of the thread that started a process for the end of its parent, so that thread
        # stays until the process ends.
        keeper = threading.Thread(
            target=_keep,
            args=(arguments, log, files, started, self._ended),
            name=f"keeper of {command[0]}",
            daemon=True,
        )
        keeper.start()
        try:
            self._process = started.result()
        except OSError as error:
            raise DeviceError(f"{arguments[0]} does not run: {error.strerror}") from None
        self.pid = self._process.pid
        self.stop = weakref.finalize(self, _stop, self._process, self._ended, os.getpid())
        """End it, by force where it does not end by itself. May be called more than once."""

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return not self._ended.is_set()

    @property
    def status(self) -> str:
        """How it ended, such as "status 1" or "signal SIGSEGV"."""
        return ended_with(self._process.returncode)

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for it to end; return whether it has."""
        return self._ended.wait(timeout)

    def log(self) -> str:
        """Return what it has printed, the last 64 KiB of it."""
        return tail(self.log_file)


def ended_with(code: int | None) -> str:
    """Return an exit code in words; None is that of a process that runs."""
    if code is None:
        return "nothing yet"
    return f"status {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def tail(log: Path) -> str:
    """Return the last 64 KiB of a log."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        return file.read().decode(errors="replace")


def _keep(
    command: list[str],
    log: Path,
    files: Sequence[int],
    started: Future[subprocess.Popen[bytes]],
    ended: threading.Event,
) -> None:
    try:
        with log.open("ab") as file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, pass_fds=files
            )
    except OSError as error:
        started.set_exception(error)
        return
    started.set_result(process)
    del started
    process.wait()
    ended.set()


def _stop(process: subprocess.Popen[bytes], ended: threading.Event, owner: int) -> None:
    if os.getpid() != owner:  # a fork that exits: the process is its parent's
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        # The whole group, whose leader it is: a wrapper's children as well.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        if ended.wait(GRACE):
            break
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
