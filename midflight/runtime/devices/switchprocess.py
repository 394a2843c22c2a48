"""What devices have in common whose switch is a process of its own, with a log, and files in a folder."""

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
from midflight.runtime.devices.forkserver import Fork
from midflight.runtime.devices.process import Process
from midflight.runtime.p4runtime.client.session import Session

__all__ = ["SwitchProcess"]

# The lines of the switch's log that an error quotes.
QUOTED = 12
# Milliseconds between attempts to reach a switch that starts, at first and at most.
RETRY = [("grpc.initial_reconnect_backoff_ms", 10), ("grpc.max_reconnect_backoff_ms", 100)]


class SwitchProcess:
    """A switch that is a process, for as long as this lasts.

    `program` is what it is called in errors. A subclass makes its files in `folder` and says by `_run` what to start;
    it closes this where that fails. `place` is where the folder is made, the system's by default; it goes with the
    switch.
    """

    def __init__(self, program: str, device_id: int, *, prefix: str, place: Path | None) -> None:
        self._program = program
        self._id = device_id
        self.folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self._address = f"unix:{self.folder}/p4runtime"
        self._process: Process | Fork | None = None
        self._last_log = ""

    @property
    def address(self) -> str:
        """Its P4Runtime endpoint as gRPC takes it: "unix:/path", or "host:port" where one was asked for."""
        return self._address

    @property
    def device_id(self) -> int:
        """Its P4Runtime device id."""
        return self._id

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.alive

    def ends(self, within: float) -> bool:
        """Wait up to `within` seconds for its process to end; return whether it has."""
        return self._process is None or self._process.wait(within)

    @property
    def pid(self) -> int:
        """The process id of the switch; DeviceError when it is closed."""
        if self._process is None:
            raise self._lost()
        return self._process.pid

    def log(self) -> str:
        """Return what the switch has logged, the last 64 KiB of it; of a closed one, what it had."""
        return self._last_log if self._process is None else self._process.log()

    def session(self, *, role: str = "", election_id: int | None = None) -> Session:
        """Open a controller's session; the caller closes it. DeviceError with the log's end where it has died."""
        if not self.alive:
            raise self._lost()
        return Session(self.address, self.device_id, role=role, election_id=election_id)

    def close(self) -> None:
        """End the switch and remove what it left. May be called more than once."""
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
        """Start the process and return when it answers; DeviceError where it does not within `patience` seconds."""
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
                            raise self._lost() from None
                        if time.monotonic() > deadline:
                            raise DeviceError(
                                f"{self._program} does not answer after {patience:g} s", hint=self._quoted()
                            ) from None
            finally:
                ready.cancel()

    def _lost(self) -> DeviceError:
        """Return the error for a switch that does not answer any more."""
        if self._process is None:
            return DeviceError("this switch is closed")
        if self._process.wait(1.0):
            return DeviceError(f"{self._program} ended with {self._process.status}", hint=self._quoted())
        return DeviceError(f"{self._program} runs and does not answer", hint=self._quoted())

    def _quoted(self) -> str:
        lines = self.log().strip().splitlines()[-QUOTED:]
        return "\n    ".join(["the end of its log:", *lines]) if lines else "its log is empty"
