"""The process that runs a `LocalSwitch` for a group of ranks: `python -m midflight.collectives --control FD`.

It is a child of the group's rank 0, whose process stays free of threads and of gRPC, and ends with it.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

from midflight.collectives.local import LocalSwitch
from midflight.collectives.program import program
from midflight.errors import DeviceError, MidflightError
from midflight.runtime.devices.folders import owned_prefix
from midflight.runtime.devices.process import Process, quoted
from midflight.runtime.endpoint import Address
from midflight.runtime.endpoint.worker import Worker

__all__ = ["Failed", "News", "Started", "SupervisedSwitch", "main"]

_LOG = logging.getLogger("midflight")


@dataclass(frozen=True, slots=True)
class Started:
    """The first message of the supervisor: the switch runs.

    `addresses` are those of the ranks' ports, `workers` the parameters of each rank's worker by application, `pid` the
    process of the switch, and `supervisor` that of the supervisor.
    """

    addresses: Sequence[Address]
    workers: Mapping[str, Sequence[Worker]]
    pid: int
    supervisor: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The last message of the supervisor: the switch cannot be started, for the reason of a `MidflightError`.

    That may be at the beginning, or after the switch has ended.
    """

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class News:
    """A message of the supervisor for the log: the switch has ended, or runs again."""

    text: str


class SupervisedSwitch:
    """A switch for a group of ranks on this machine, in processes that end with this one. A context manager.

    cards: the addresses of the ranks' cards (`FrameLink.bound`), in the order of their ranks.

    `started` has its parameters. If the switch ends by itself, it is started again with the same addresses and another
    process id, and the log `midflight` says so. If that fails, it stays off, which the log also says. MidflightError if
    it cannot be started at first.
    """

    def __init__(self, cards: Sequence[Address]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=owned_prefix("ranks")))
        self._closing = False
        ours, theirs = socket.socketpair()
        self._control = Connection(ours.detach())
        try:
            with theirs:
                command = [sys.executable, "-m", "midflight.collectives", "--control", str(theirs.fileno())]
                self._process = Process(command, self._folder / "log", files=[theirs.fileno()])
            self._control.send(list(cards))
            answer = self._receive()
            if isinstance(answer, Failed):
                raise MidflightError(answer.message, hint=answer.hint)
            assert isinstance(answer, Started)
        except BaseException:
            self.close()
            raise
        self.started = answer
        threading.Thread(target=self._report, name="switch", daemon=True).start()

    def _receive(self) -> object:
        try:
            return self._control.recv()
        except (EOFError, ConnectionError):
            self._process.wait(1.0)
            hint = quoted(self._process.log(), self._folder)
            raise DeviceError(f"the process of the switch ended with {self._process.status}", hint=hint) from None

    def _report(self) -> None:
        """Log the news until the supervisor ends."""
        try:
            while isinstance(message := self._control.recv(), News):
                _LOG.warning("%s", message.text)
            _LOG.error("the switch cannot be started again: %s", message.message)
        except (EOFError, OSError):
            if not self._closing:
                self._process.wait(1.0)
                _LOG.error("the supervisor of the switch has ended with %s", self._process.status)

    def close(self) -> None:
        """Stop the switch and its supervisor. Idempotent."""
        self._closing = True
        if hasattr(self, "_process"):
            self._process.stop()
        self._control.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> SupervisedSwitch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def main(arguments: Sequence[str]) -> int:
    """Run a switch for the cards that the parent process sends, until the connection to it closes.

    `arguments` are `--control FD`, with the file descriptor of the connection. Return the exit status: 2 for other
    arguments, 1 if the switch cannot be started or restarted (the parent is sent a `Failed`), and otherwise 0.
    """
    if len(arguments) != 2 or arguments[0] != "--control" or not arguments[1].isdecimal():
        sys.stderr.write("usage: python -m midflight.collectives --control FD\n")
        return 2
    with Connection(int(arguments[1])) as control:
        try:
            cards = control.recv()
            with LocalSwitch(program(len(cards)), cards) as switch:
                control.send(Started(switch.addresses, switch.workers, switch.pid, os.getpid()))
                while not control.poll():  # the parent sends nothing more: it can only close the connection
                    if switch.ended(0.2):
                        began = time.monotonic()
                        control.send(News("the switch has ended and is started again"))
                        switch.restart()
                        seconds = time.monotonic() - began
                        control.send(News(f"the switch runs again after {seconds:.1f} s, as process {switch.pid}"))
        except MidflightError as error:
            control.send(Failed(error.message, error.hint))
            return 1
        except (EOFError, ConnectionError):  # the parent has ended or closed the connection
            pass
    return 0
