"""A child process that answers requests, with limits on time, memory and output."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from midflight.errors import MidflightError

__all__ = ["Child", "ChildError", "TimeLimit"]

_PIECE = 1 << 16
_QUOTED = 2000


class ChildError(MidflightError):
    """A child process ended, or sent something that is not an answer."""


class TimeLimit(ChildError):  # noqa: N818 - named after the event
    """A child process did not answer in time, or exceeded its processor time or memory. It has ended."""


class Child:
    """A Python process that runs a module and answers one JSON object with another, a line each.

    module: the module to run; it reads requests from standard input and writes answers to standard output
    arguments: the command-line arguments of the module
    environment: the whole environment of the process
    folder: its working folder, None for that of this process
    answer: the largest answer in bytes

    The process gets no other open files than the two pipes, and a temporary file for its standard error. It is the
    first process of a session, whose processes are killed together by `close`. OSError if it cannot be started. A
    context manager.
    """

    def __init__(
        self,
        module: str,
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str],
        folder: str | None = None,
        answer: int = 1 << 26,
    ) -> None:
        self._most = answer
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._received = bytearray()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
            )
        except OSError:
            self._log.close()
            raise
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        for each in (self._in, self._out):
            os.set_blocking(each.fileno(), False)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def ask(self, request: Mapping[str, Any], deadline: float) -> Any:
        """Send a request and return the answer, a JSON value that may come from hostile code.

        `deadline` is a time of `time.monotonic`. TimeLimit if the answer does not arrive in time, or if the process
        exceeds its processor time or memory; ChildError if it ends before, or sends too much or something else. The
        process is closed after either.
        """
        waiting = memoryview(json.dumps(request).encode() + b"\n")
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._out, selectors.EVENT_READ)
                selector.register(self._in, selectors.EVENT_WRITE)
                while b"\n" not in self._received or waiting:
                    left = deadline - monotonic()
                    ready = selector.select(max(0.0, left))
                    if left <= 0 and not ready:
                        raise TimeLimit("the time limit is exceeded")
                    for key, _ in ready:
                        if key.fileobj is self._in:
                            waiting = waiting[os.write(self._in.fileno(), waiting[:_PIECE]) :]
                            if not waiting:
                                selector.unregister(self._in)
                        else:
                            self._read()
                    if deadline <= monotonic():
                        raise TimeLimit("the time limit is exceeded")
        except (BrokenPipeError, ConnectionResetError):
            self._end()
        except TimeLimit:
            self.close()
            raise
        line, _, rest = bytes(self._received).partition(b"\n")
        self._received = bytearray(rest)
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            self.close()
            raise ChildError("the process sent something that is not an answer") from None

    def _read(self) -> None:
        piece = os.read(self._out.fileno(), _PIECE)
        if not piece:
            self._end()
        self._received += piece
        if len(self._received) > self._most:
            self.close()
            raise ChildError(f"the process sent more than {self._most} bytes")

    def _end(self) -> None:
        """Raise ChildError for a process that has closed its pipes, with the last of what it wrote to its errors."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        status = self._process.poll()
        said = self.errors()
        self.close()
        number = -status if status is not None and status < 0 else 0
        how = f"signal {signal.Signals(number).name}" if number else f"status {status}"
        if number in (signal.SIGXCPU, signal.SIGKILL):
            raise TimeLimit("the limit on processor time or memory is exceeded")
        raise ChildError(f"the process ended with {how}" + (f": {said}" if said else ""))

    def errors(self) -> str:
        """Return the last 2000 bytes of what the process has written to standard error, as text; "" after `close`."""
        with contextlib.suppress(OSError, ValueError):
            size = os.fstat(self._log.fileno()).st_size
            return os.pread(self._log.fileno(), _QUOTED, max(0, size - _QUOTED)).decode(errors="replace").strip()
        return ""

    def close(self) -> None:
        """Kill the process, and others of its session. Idempotent."""
        if self._log.closed:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for each in (self._in, self._out, self._log):
            with contextlib.suppress(OSError):
                each.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
