"""Endpoints in processes of their own: the workers of an all-reduce, and servers."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from midflight.errors import DeviceError, MidflightError
from midflight.runtime.devices.process import Process
from midflight.testbed.endpoint.allreduce import AllReduceStatistics, Sum
from midflight.testbed.endpoint.reliable import Timing
from midflight.testbed.fabric.base import Worker
from midflight.testbed.fabric.janitor import NETNS
from midflight.testbed.host.control import Done, Failed, Ready, StartWorker, Vector, pair

__all__ = ["HostProcess", "ProcessCrew", "run_inside"]

_START = 60.0  # seconds that a host's process is given to be there
_MARGIN = 30.0  # seconds beyond the workers' own patience


class HostProcess:
    """A process in a namespace that plays one part there. DeviceError where it does not start.

    `files` are descriptors that it gets under the same numbers.
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
        self._send(task)

    def tell(self, message: object) -> None:
        """Send a message. DeviceError where nobody is left to read it."""
        self._send(message)

    def answer(self, timeout: float) -> object:
        """Return the next answer. DeviceError where none comes; raises what the process says has failed."""
        try:
            if not self.control.poll(timeout):
                raise DeviceError(f"{self.name} does not answer within {timeout:g} s", hint=self._quoted())
            message = self.control.recv()
        except (EOFError, ConnectionError):
            raise self._lost() from None
        if isinstance(message, Failed):
            raise _named(self.name, message.error())
        return message

    def ready(self) -> None:
        """Return when it has done what it was told."""
        message = self.answer(_START)
        assert isinstance(message, Ready)

    def close(self) -> None:
        """End it. May be called more than once."""
        self.control.close()
        self.process.stop()

    def _send(self, message: object) -> None:
        try:
            self.control.send(message)
        except ConnectionError:
            raise self._lost() from None

    def _lost(self) -> DeviceError:
        self.process.wait(1.0)
        return DeviceError(f"the process of {self.name} ended with {self.process.status}", hint=self._quoted())

    def _quoted(self) -> str:
        lines = self.process.log().strip().splitlines()[-12:]
        return "\n    ".join(["the end of its log:", *lines]) if lines else "its log is empty"


class ProcessCrew:
    """Workers that are processes (a `Crew`); the n-th vector is the n-th worker's."""

    def __init__(
        self,
        workers: Sequence[Worker],
        addresses: Mapping[str, str],
        netns: Mapping[str, str],
        logs: Path,
        timing: Timing,
    ) -> None:
        self._timing = timing
        self._statistics = [AllReduceStatistics() for _ in workers]
        self.processes: list[HostProcess] = []
        try:
            for each in workers:
                task = StartWorker(addresses[each.host], each, timing)
                log = logs / f"{each.host}-worker-{each.application}.log"
                self.processes.append(HostProcess(f"host {each.host}", netns[each.host], task, log))
            for process in self.processes:
                process.ready()
        except BaseException:
            self.close()
            raise

    @property
    def statistics(self) -> tuple[AllReduceStatistics, ...]:
        """What each worker had counted at the end of the last round."""
        return tuple(self._statistics)

    def sum(self, vectors: Sequence[NDArray[np.float32]]) -> list[Sum]:
        """Have each worker sum its vector with the others'."""
        for process, vector in zip(self.processes, vectors, strict=True):
            process.tell(Vector(vector))
        deadline = time.monotonic() + self._timing.patience / 1e9 + _MARGIN
        missing = {process.control: number for number, process in enumerate(self.processes)}
        sums: list[Sum | None] = [None] * len(missing)
        while missing:
            # Whichever answers first, or fails first: the others would only wait for it.
            for control in wait(list(missing), max(0.0, deadline - time.monotonic())) or list(missing):
                number = missing.pop(control)  # type: ignore[call-overload]
                message = self.processes[number].answer(0)
                assert isinstance(message, Done)
                sums[number] = message.sum
                self._statistics[number] = message.statistics
        return [each for each in sums if each is not None]

    def close(self) -> None:
        """End the workers. May be called more than once."""
        for process in self.processes:
            process.close()


def run_inside(host: str, netns: str, arguments: Sequence[str], timeout: float, check: bool) -> str:
    """Run a command in a host's namespace and return what it prints; see `NetnsHost.run`."""
    program = shutil.which(arguments[0])
    if program is None:
        raise DeviceError(f"host {host}: {arguments[0]} is not on PATH")
    with tempfile.NamedTemporaryFile(prefix="midflight-output-") as output:
        process = Process([program, *arguments[1:]], Path(output.name), netns=str(NETNS / netns))
        try:
            if not process.wait(timeout):
                raise DeviceError(f"host {host}: {arguments[0]} was not done within {timeout:g} s and was stopped")
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
