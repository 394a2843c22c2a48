"""Removes what a run on this machine has made: its processes, network namespaces and files.

A program of its own beside each run, started by file name with nothing but the standard library: it waits until the
run is over or its process is gone, however that went, and then tidies up. `midflight clean` does the same for runs
whose janitor went down with them.
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
"""Where iproute2 keeps named network namespaces."""

_MNT_DETACH = 2
_GRACE = 5000  # milliseconds that a killed process is given to be gone


def birth(pid: int) -> int:
    """Return when a process started, in ticks since boot: with its id, what it cannot be mistaken by. 0: no process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    fields = stat[stat.rindex(b")") + 2 :].split()  # what stands before may hold anything
    return 0 if fields[0] in b"ZX" else int(fields[19])


def alive(record: Path) -> bool:
    """Say whether the process that a record is of still runs."""
    run = json.loads(record.read_text())
    return bool(birth(run["pid"]) == run["birth"] != 0)


def remove(record: Path) -> None:
    """Remove a run by its record, which goes last: whatever stops this, it can be done again."""
    run = json.loads(record.read_text())
    remove_namespaces(run["namespaces"])
    for folder in run["folders"]:
        shutil.rmtree(folder, ignore_errors=True)
    record.unlink(missing_ok=True)


def remove_namespaces(names: Iterable[str]) -> None:
    """Kill every process in these network namespaces and remove them. Those that are not there are done already."""
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
    """Wait for the end of standard input, which the run holds, or of the process that made the record."""
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
