"""External commands as child processes, with a log file, which never outlive this process."""

from __future__ import annotations

import os
import shutil
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

__all__ = ["GRACE", "Process", "ended_with", "quoted", "tail"]

# The time in seconds between terminating and killing a command.
GRACE = 3.0
# The number of lines of a log that an error quotes, and of bytes at its end that are read.
QUOTED = 12
TAIL = 65536


class Process:
    """A running command, in a session of its own and without input.

    command: the path of an executable file, and its arguments
    log: the file to which the command's output is appended
    netns: the file of the network namespace to run in, "new" for a new one if the system permits it, or empty for the
        current one
    files: file descriptors that the command inherits with the same numbers

    `stop` ends it, and so does the garbage collection of this object, the exit of the interpreter, and, through the
    kernel, the end of this process. DeviceError if no process can be started or `log` cannot be opened. If the command
    cannot be executed or the namespace cannot be entered, the process ends with status 1, and the log says why.
    """

    def __init__(self, command: Sequence[str], log: Path, *, netns: str = "", files: Sequence[int] = ()) -> None:
        self.log_file = log
        self._ended = threading.Event()
        started: Future[subprocess.Popen[bytes]] = Future()
        arguments = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), netns, *command]
        # For the kernel, the parent ends with the thread that started the process, so that thread must stay until the
        # process ends.
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
            raise DeviceError(f"cannot run {arguments[0]}: {error.strerror}") from None
        self.pid = self._process.pid
        self.stop = weakref.finalize(self, _stop, self._process, self._ended, os.getpid())
        """Terminate the command and its children, and kill them if they do not end within 3 seconds. Idempotent."""

    @property
    def alive(self) -> bool:
        """Whether the command is still running."""
        return not self._ended.is_set()

    @property
    def status(self) -> str:
        """How the command ended, such as "status 1" or "signal SIGSEGV", or "nothing yet" if it is running."""
        return ended_with(self._process.returncode)

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the end of the command. Return whether it has ended."""
        return self._ended.wait(timeout)

    def log(self) -> str:
        """Return the last 64 KiB of the command's log file, as text."""
        return tail(self.log_file)


def ended_with(code: int | None) -> str:
    """Return a process's exit code in words: "status 1", or "signal SIGSEGV" for the negative number of a signal.

    None, for a process that is running, gives "nothing yet".
    """
    if code is None:
        return "nothing yet"
    return f"status {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def tail(log: Path) -> str:
    """Return the last 64 KiB of a log file, or all of a shorter one, as text. Bytes that are not UTF-8 are replaced.

    OSError if the file cannot be read.
    """
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        return file.read().decode(errors="replace")


def quoted(log: str, folder: Path) -> str:
    """Return the last lines of `log`, the text of a process's log, as a hint for an error.

    If it is empty, the hint says so, or that no space is left in `folder`, where the log file is.
    """
    lines = log.strip().splitlines()[-QUOTED:]
    if lines:
        return "\n    ".join(["the end of its log:", *lines])
    return f"no space is left in {folder}" if shutil.disk_usage(folder).free == 0 else "its log is empty"


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
    if os.getpid() != owner:  # in a fork of this process, which must not stop its parent's commands
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        # Signal the whole process group, so that the children of a wrapper end as well.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        if ended.wait(GRACE):
            break
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
