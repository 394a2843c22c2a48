"""A server process that starts `midflight` commands as forks of itself, which share its imports, so that many start
fast.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from midflight.errors import DeviceError
from midflight.runtime.devices.folders import owned_prefix
from midflight.runtime.devices.forking import LONGEST, TITLE
from midflight.runtime.devices.process import GRACE, Process, ended_with, tail

__all__ = ["Fork", "ForkServer"]

# The modules of `midflight switch`, whose import takes about half a second of processor time.
_MODULES = (
    "midflight.cli.switch",
    "midflight.cli.following",
    "midflight.runtime.p4runtime.ports.opening",
    "midflight.runtime.p4runtime.server.server",
)


class ForkServer:
    """Starts `midflight` commands as forks of a server process, which the first command starts. Thread-safe.

    The server process ends when this is closed or the current process ends. The kernel then kills its forks. A context
    manager, which closes it on exit.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._process: Process | None = None
        self._folder = Path(tempfile.mkdtemp(prefix=owned_prefix("forks")))
        self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def start(self, arguments: Sequence[str], log: Path, *, netns: str = "") -> Fork:
        """Start the command `midflight` with these arguments, and return it while it runs.

        Its output is appended to the file `log`. `netns` is the file of the network namespace to run in, "new" for a
        new one if the system permits it, or empty for the current one. DeviceError if the fork server has ended, cannot
        be started or is closed, or if `log` cannot be opened. If the namespace cannot be entered, the fork ends with
        status 1, and the log says why.
        """
        with self._lock:
            connection = self._connected()
            ended, code = os.pipe2(os.O_CLOEXEC)
            try:
                with log.open("ab") as file:
                    request = json.dumps({"arguments": list(arguments), "netns": netns}).encode()
                    socket.send_fds(connection, [request], [file.fileno(), code])
                answer, files, _, _ = socket.recv_fds(connection, LONGEST, 1)
                if not answer:
                    raise ConnectionResetError
            except OSError as error:
                os.close(ended)
                reason = f": {error.strerror}" if error.strerror else ""
                raise DeviceError(f"cannot start a fork of midflight{reason}", hint=self._log()) from None
            finally:
                os.close(code)
        return Fork(int(answer), files[0], ended, log)

    def close(self) -> None:
        """End the server process; the kernel then kills its forks. Idempotent."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if self._process is not None:
                self._process.stop()
                self._process = None
            self._remove()

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connected(self) -> socket.socket:
        if self._connection is None:
            if not self._remove.alive:
                raise DeviceError("this fork server is closed")
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                command = [sys.executable, "-m", "midflight.runtime.devices.forking", str(theirs.fileno())]
                number = theirs.fileno()
                try:
                    self._process = Process([*command, *_MODULES, TITLE], self._folder / "log", files=[number])
                except BaseException:
                    ours.close()
                    raise
            self._connection = ours
        return self._connection

    def _log(self) -> str:
        return "" if self._process is None else self._process.log().strip()


class Fork:
    """A command that a `ForkServer` has started, with the interface of `process.Process`.

    Unlike a `Process`, it does not end with this object, but with the fork server.
    """

    def __init__(self, pid: int, process: int, ended: int, log: Path) -> None:
        self.pid = pid
        self.log_file = log
        self._ended = ended
        self._code: int | None = None
        self._lock = threading.Lock()
        self._close = weakref.finalize(self, _close, process, ended)
        self._process = process

    @property
    def alive(self) -> bool:
        """Whether the command is still running."""
        return not self.wait(0)

    @property
    def status(self) -> str:
        """How the command ended, such as "status 1" or "signal SIGSEGV", or "nothing yet" if it is running."""
        return ended_with(None if self.alive else self._code)

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the end of the command. Return whether it has ended."""
        if self._code is None and not select.select([self._ended], [], [], timeout)[0]:
            return False
        with self._lock:
            if self._code is None:
                code = os.read(self._ended, 16)
                self._code = int(code) if code else -signal.SIGKILL  # the server ended, so the kernel killed the fork
        return True

    def log(self) -> str:
        """Return the last 64 KiB of the command's log file, as text."""
        return tail(self.log_file)

    def stop(self) -> None:
        """Terminate the command, and kill it if it does not end within 3 seconds. Blocks until it has ended.
        Idempotent.
        """
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.wait(0):
                return
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, number)
            if self.wait(GRACE):
                return


def _close(process: int, ended: int) -> None:
    os.close(process)
    os.close(ended)
