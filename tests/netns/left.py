"""Leftovers of runs on this machine, and processes with networks that tests kill."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from midflight.testbed.fabric.janitor import NETNS
from midflight.testbed.fabric.runs import find

__all__ = ["Victim", "left", "victim"]

PATIENCE = 60_000  # milliseconds

# A network with two workers in processes, without a switch process.
SCRIPT = """
import contextlib, os, sys
from midflight.runtime.endpoint.worker import Worker
from midflight.testbed.fabric.netns import NetnsFabric
from midflight.testbed.topology import star

with NetnsFabric(star(2), lambda *_: contextlib.nullcontext()) as fabric:
    crew = fabric.crew(
        [Worker(f"h{n + 1}", 50000, 1, n, workers=2, lanes=8, slots=8, server=("10.0.0.9", 1)) for n in range(2)]
    )
    pids = [fabric.run.janitor, *(each.process.pid for each in crew.processes)]
    print(fabric.run.id, fabric.run.folder, *pids, flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class Victim:
    """A process with a network: the id and folder of its run, the janitor, and the workers."""

    process: subprocess.Popen[str]
    run: str
    folder: Path
    janitor: int
    workers: tuple[int, ...]

    def kill(self, number: signal.Signals, *others: int) -> None:
        """Send a signal to others and to the process, and wait for the end of all of them and the workers."""
        for each in others:
            os.kill(each, number)
        with ExitStack() as stack:
            handles = [stack.enter_context(_open(each)) for each in (self.process.pid, *others, *self.workers)]
            self.process.send_signal(number)
            _wait(handles)
        self.process.wait(PATIENCE / 1000)

    def tidied(self) -> None:
        """Wait for the end of the janitor."""
        with _open(self.janitor) as handle:
            _wait([handle])


@contextmanager
def victim() -> Iterator[Victim]:
    """Start a process with a network."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            run, folder, *pids = process.stdout.readline().split()
            janitor, *workers = map(int, pids)
            yield Victim(process, run, Path(folder), janitor, tuple(workers))
        finally:
            process.kill()


def left(run: str) -> list[str]:
    """Return the names of all leftovers of a run: records, namespaces, folders."""
    records = [f"record of {each.id}" for each in find() if each.id == run]
    places = [*NETNS.glob(f"mf-{run}-*"), *Path("/tmp").glob(f"midflight-{run}-*")]
    return records + sorted(str(each) for each in places)


@contextmanager
def _open(pid: int) -> Iterator[int]:
    handle = -1
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
    yield handle
    if handle >= 0:
        os.close(handle)


def _wait(handles: Iterable[int]) -> None:
    for handle in handles:
        if handle >= 0:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            assert poll.poll(PATIENCE), "a process has not ended"
