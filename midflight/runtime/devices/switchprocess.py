"""Common part of devices whose switch is a child process with a log and a folder for files."""

from __future__ import annotations

import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from midflight.errors import DeviceError
from midflight.runtime.devices.folders import owned_prefix
from midflight.runtime.devices.forkserver import Fork
from midflight.runtime.devices.process import Process, quoted
from midflight.runtime.p4runtime.client.session import Session

__all__ = ["SwitchProcess"]

# Seconds in which a process whose connections break must exit to count as dead.
_EXIT_TIMEOUT = 1.0
# The initial and maximum time between attempts to connect to a starting switch, in milliseconds.
RETRY = [("grpc.initial_reconnect_backoff_ms", 10), ("grpc.max_reconnect_backoff_ms", 100)]


class SwitchProcess:
    """The common part of devices whose switch is a child process.

    program: the program's name in errors
    device_id: the P4Runtime device id
    kind: a part of the name of `folder`, which is created for the switch's files and removed by `close`
    place: where to create that folder; None for the system's temporary folder

    A subclass creates files in `folder` and calls `_run` with the command; if that fails, it calls `close`. `name` is
    the switch's name in a network, which errors mention, or empty.
    """

    def __init__(self, program: str, device_id: int, *, kind: str, place: Path | None) -> None:
        self.name = ""
        self._program = program
        self._id = device_id
        self.folder = Path(tempfile.mkdtemp(prefix=owned_prefix(kind), dir=place))
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self._address = f"unix:{self.folder}/p4runtime"
        self._process: Process | Fork | None = None
        self._last_log = ""

    @property
    def address(self) -> str:
        """The address of the P4Runtime server in gRPC's form: "unix:/path", or "host:port" if requested."""
        return self._address

    @property
    def device_id(self) -> int:
        """The P4Runtime device id, which requests to the server carry."""
        return self._id

    @property
    def alive(self) -> bool:
        """Whether the switch's process is running; False after `close`."""
        return self._process is not None and self._process.alive

    def ends(self, within: float) -> bool:
        """Wait up to `within` seconds for the end of the switch's process. Return whether it has ended.

        Returns True at once if there is no process, as after `close`.
        """
        return self._process is None or self._process.wait(within)

    @property
    def pid(self) -> int:
        """The process id of the switch, also of one that has ended. DeviceError after `close`."""
        if self._process is None:
            raise self.lost()
        return self._process.pid

    def log(self) -> str:
        """Return the last 64 KiB of the switch's log, also after `close`."""
        return self._last_log if self._process is None else self._process.log()

    def session(self, *, role: str = "", election_id: int | None = None) -> Session:
        """Open a controller's P4Runtime session, which the caller closes.

        `role` is the P4Runtime role, empty for the default one with full access. `election_id`, 0 to 2**128 - 1, is the
        controller's rank among those of its role; None means 1, or the highest id so far if the role has no primary.
        RequestError if another session of the role has this election id, as a second one with None; ValueError if it is
        out of range. DeviceError after `close`, or if the process has ended: it has the status and the end of the log,
        as has the error of a session whose process ends later.
        """
        if not self.alive:
            raise self.lost()
        return Session(self.address, self.device_id, role=role, election_id=election_id, death=self._death)

    def close(self) -> None:
        """Stop the switch's process, and remove its folder. `log` still works. Idempotent.

        Blocks until the process has ended; one that does not end within 3 seconds is killed.
        """
        if self._process is not None:
            self._process.stop()
            self._last_log = self._process.log()
            self._process = None
        self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(
        self, command: Sequence[str], *, netns: str, patience: float, start: Callable[..., Process | Fork] = Process
    ) -> None:
        """Start the process, and wait until it answers. Raises DeviceError after `patience` seconds."""
        process = self._process = start(command, self.folder / "log", netns=netns)
        deadline = time.monotonic() + patience
        with grpc.insecure_channel(self._address, options=RETRY) as channel:
            ready = grpc.channel_ready_future(channel)
            try:
                while True:
                    try:
                        ready.result(timeout=0.05)
                        return
                    except grpc.FutureTimeoutError:
                        if not process.alive:
                            raise self.lost() from None
                        if time.monotonic() > deadline:
                            raise DeviceError(
                                f"{self._program} does not answer after {patience:g} s", hint=self._quoted()
                            ) from None
            finally:
                ready.cancel()

    def lost(self) -> DeviceError:
        """Return, without raising it, the error for a switch that no longer answers, with the end of its log.

        Waits up to one second to see whether its process has ended, and says so.
        """
        what = f"switch {self.name}: {self._program}" if self.name else self._program
        process = self._process
        if process is None:
            return DeviceError(f"switch {self.name} is closed" if self.name else "this switch is closed")
        if process.wait(_EXIT_TIMEOUT):
            return DeviceError(f"{what} ended with {process.status}", hint=self._quoted())
        return DeviceError(f"{what} runs and does not answer", hint=self._quoted())

    def _death(self) -> DeviceError | None:
        """Return the error for a process that has ended by itself, None for one that runs or was closed."""
        process = self._process
        return self.lost() if process is not None and process.wait(_EXIT_TIMEOUT) else None

    def _quoted(self) -> str:
        return quoted(self.log(), self.folder)
