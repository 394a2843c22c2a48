"""Temporary folders and files of processes that were killed before they could remove them."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from midflight.errors import DeviceError
from midflight.testbed.fabric import janitor

__all__ = ["Leftover", "find_leftovers", "remove_leftover"]

_OWNED = re.compile(r"midflight-[a-z0-9]+-(?P<process>[0-9]+)-[a-z0-9_]{8}")
_RUN = re.compile(r"midflight-(?P<run>[0-9a-f]{6})-[a-z0-9_]{8}")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A temporary folder or file that was left behind, and its `owner` as text: "process 1234" or "network 1a2b3c".

    The process no longer exists; the network has no record from which it could be removed.
    """

    path: Path
    owner: str


def find_leftovers(runs: Collection[str], place: Path | None = None) -> list[Leftover]:
    """Return Midflight's temporary files and folders in `place` whose owner no longer exists, sorted by name.

    `place` is by default the folder for temporary files. `runs` are the ids of networks that have a record; their
    folders are left out, because they are removed with the network. Files of other users, except root's, are left out
    too.
    """
    folder = Path(tempfile.gettempdir()) if place is None else place
    found = []
    for each in sorted(folder.glob("midflight-*")):
        if each.is_symlink() or each.lstat().st_uid not in (os.geteuid(), 0):
            continue
        if (run := _RUN.fullmatch(each.name)) and run["run"] not in runs:
            found.append(Leftover(each, f"network {run['run']}"))
        elif (owned := _OWNED.fullmatch(each.name)) and not _lives(int(owned["process"]), each):
            found.append(Leftover(each, f"process {owned['process']}"))
    return found


def remove_leftover(left: Leftover) -> None:
    """Remove a leftover file, or folder with its contents. DeviceError if this user lacks the permission."""
    try:
        if left.path.is_dir():
            shutil.rmtree(left.path)
        else:
            left.path.unlink(missing_ok=True)
    except OSError as error:
        raise DeviceError(f"cannot remove {left.path}: {error.strerror}", hint="run it with sudo") from None


def _lives(process: int, made: Path) -> bool:
    """Return whether a process exists, and not a later one with the same id, which began after the last change."""
    begun = janitor.birth(process) / os.sysconf("SC_CLK_TCK")
    if not begun:
        return False
    booted = next(
        float(line.split()[1]) for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime")
    )
    return booted + begun <= made.lstat().st_ctime + 2
