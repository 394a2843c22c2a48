"""Processes on hosts: workers, servers and relays, and commands of users."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from midflight.errors import DeviceError, MidflightError
from midflight.runtime.devices.folders import owned_prefix
from midflight.runtime.devices.process import Process, quoted
from midflight.testbed.fabric.janitor import NETNS
from midflight.testbed.host.control import Failed, Ready, pair

__all__ = ["HostProcess", "run_inside"]

_START = 60.0  # seconds that a process has to start


class HostProcess:
    """A process in a network namespace that runs one task of `midflight.testbed.host`, with a connection for messages.

    `name` is how errors call it. An empty `netns` is this process's own namespace. `task` is the first message, such as
    `StartWorker`. Its output goes to the file `log`. `files` are file descriptors that the process inherits under the
    same numbers. The constructor starts the process and sends the task, and does not wait for an answer. It raises
    DeviceError if the process cannot be started or ends before it has the task. `ready` and `answer` raise later
    errors, such as a namespace that does not exist.
    """

    def __init__(self, name: str, netns: str, task: object, log: Path, *, files: Sequence[int] = ()) -> None:
        self.name = name
        self.control, theirs = pair()
        with theirs:
            self.process = Process(
                [sys.executable, "-m", "midflight.testbed.host", "--control", str(theirs.fileno())],
                log,
                netns=str(NETNS / netns) if netns else "",
                files=(theirs.fileno(), *files),
            )
        self.send(task)

    @property
    def pid(self) -> int:
        """The process id of the process on the host."""
        return self.process.pid

    def send(self, message: object) -> None:
        """Send one of the messages of `host.control` to the process. Does not wait for an answer.

        DeviceError if the process has ended.
        """
        try:
            self.control.send(message)
        except ConnectionError:
            raise self.lost() from None

    def answer(self, timeout: float) -> object:
        """Return the process's next message. DeviceError if none arrives within `timeout` seconds or the process has
        ended.

        If the process reports an error (`Failed`), that error is raised, with the process's name in its message.
        """
        try:
            if not self.control.poll(timeout):
                raise DeviceError(f"{self.name} did not answer within {timeout:g} s", hint=self._quoted())
            message = self.control.recv()
        except (EOFError, ConnectionError):
            raise self.lost() from None
        if isinstance(message, Failed):
            raise _named(self.name, message.error())
        return message

    def ready(self) -> None:
        """Wait, at most 60 s, until the process has confirmed the last message with `Ready`.

        DeviceError if it does not or has ended; if it reports an error, that error is raised.
        """
        message = self.answer(_START)
        assert isinstance(message, Ready)

    def kill(self) -> None:
        """Kill the process with SIGKILL, and wait until it has ended. Does nothing if it has ended already."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(_START)

    def close(self) -> None:
        """Stop the process and close the connection. May be called more than once."""
        self.control.close()
        self.process.stop()

    def lost(self) -> DeviceError:
        """Return, but do not raise, the error for a process that has ended, with its exit status and the end of its
        log.
        """
        self.process.wait(1.0)
        return DeviceError(f"the process of {self.name} ended with {self.process.status}", hint=self._quoted())

    def _quoted(self) -> str:
        return quoted(self.process.log(), self.process.log_file.parent)


def run_inside(host: str, netns: str, arguments: Sequence[str], timeout: float, check: bool) -> str:
    """Run a command in a host's namespace, wait until it ends, and return its standard output and error, interleaved.

    `host` is the host's name for messages, `netns` the name of its namespace, `timeout` in seconds. DeviceError if the
    command is not found, takes longer, or, with `check`, exits with another status than 0.
    """
    program = shutil.which(arguments[0])
    if program is None:
        raise DeviceError(f"host {host}: {arguments[0]} is not on PATH")
    with tempfile.NamedTemporaryFile(prefix=owned_prefix("output")) as output:
        process = Process([program, *arguments[1:]], Path(output.name), netns=str(NETNS / netns))
        try:
            if not process.wait(timeout):
                raise DeviceError(f"host {host}: {arguments[0]} did not end within {timeout:g} s and was stopped")
        finally:
            process.stop()
        text = Path(output.name).read_text(errors="replace")
    if check and process.status != "status 0":
        raise DeviceError(f"host {host}: {arguments[0]} ended with {process.status}", hint=text.strip())
    return text


def _named(name: str, error: MidflightError) -> MidflightError:
    error.message = f"{name}: {error.message}"
    error.args = (error.message,)
    return error
