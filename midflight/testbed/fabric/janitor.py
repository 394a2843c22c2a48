"""Removal of what a run on this machine has created: its processes, network namespaces and files.

Each run starts this file as a separate process, the janitor, which uses only the standard library. It waits until the
run is closed or its process has ended in any way, and then removes everything. `midflight clean` does the same for runs
whose janitor has been killed too.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ["NETNS", "alive", "birth", "remove", "remove_namespaces"]

NETNS = Path("/run/netns")
"""The folder of iproute2's named network namespaces."""

_MNT_DETACH = 2
_GRACE = 5000  # milliseconds to wait for a killed process to end


def birth(pid: int) -> int:
    """Return the start time of a process in clock ticks since boot, or 0 if there is no such process.

    Process ids are reused; an id together with a start time identifies one process.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    fields = stat[stat.rindex(b")") + 2 :].split()  # the command's name, before it, may contain any bytes
    return 0 if fields[0] in b"ZX" else int(fields[19])


def alive(record: Path) -> bool:
    """Return whether the process that made a run's record, a JSON file, is still running.

    OSError, ValueError or KeyError if the record cannot be read.
    """
    run = json.loads(record.read_text())
    return bool(birth(run["pid"]) == run["birth"] != 0)


def remove(record: Path) -> None:
    """Remove everything that a run's record lists: processes, namespaces and folders. Then remove the record.

    `record` is a JSON file. Can be repeated if it was interrupted. OSError, ValueError or KeyError if the record cannot
    be read, PermissionError without root.
    """
    run = json.loads(record.read_text())
    remove_namespaces(run["namespaces"])
    for folder in run["folders"]:
        shutil.rmtree(folder, ignore_errors=True)
    record.unlink(missing_ok=True)


def remove_namespaces(names: Iterable[str]) -> None:
    """Kill every process in the network namespaces of these names and remove the namespaces. Missing ones are ignored.

    PermissionError without root.
    """
    places = [NETNS / name for name in names]
    marks = set()
    for place in places:
        with suppress(OSError):
            status = place.stat()
            marks.add((status.st_dev, status.st_ino))
    _kill(marks)
    libc = ctypes.CDLL(None, use_errno=True)
    for place in places:
        libc.umount2(os.fsencode(place), _MNT_DETACH)
        place.unlink(missing_ok=True)


def _kill(marks: set[tuple[int, int]]) -> None:
    waiting = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            with suppress(OSError):
                status = (process / "ns/net").stat()
                if (status.st_dev, status.st_ino) in marks:
                    handle = os.pidfd_open(int(process.name))
                    waiting.append(handle)
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
    for handle in waiting:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.poll(_GRACE)
        os.close(handle)


def _main(record: Path) -> None:
    """Wait until standard input, which the run holds open, is closed or the run's process ends; then remove the run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    owner = json.loads(record.read_text())["pid"]
    poll = select.poll()
    poll.register(sys.stdin, select.POLLIN | select.POLLHUP)
    with suppress(OSError):
        poll.register(os.pidfd_open(owner), select.POLLIN)
        if alive(record):
            poll.poll()
    remove(record)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
