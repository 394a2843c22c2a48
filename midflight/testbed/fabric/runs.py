"""Runs: records of the namespaces and files of one network, so that they are removed after any failure.

A run is one network of namespaces, from opening to closing. Its record is a JSON file in /run/midflight.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from midflight.errors import DeviceError
from midflight.testbed.fabric import janitor

__all__ = ["Found", "Run", "clean", "find"]

_HOME = Path("/run/midflight")
_PATIENCE = 30.0  # seconds that the janitor has to finish
_NAMESPACE = re.compile(r"mf-(?P<id>[0-9a-f]{6})-.+")


class Run:
    """The record of one network of namespaces, and a process (the janitor) that removes everything in it at the end.

    The end is `close`, or the end of this process for any reason. `nodes` are the network's nodes. `namespaces` maps
    them to the names of their network namespaces, which the caller creates; all contain the run's `id`. `folder` is a
    folder for files. `home` is the folder of records. DeviceError without root.
    """

    def __init__(self, nodes: Iterable[str], *, home: Path = _HOME) -> None:
        try:
            home.mkdir(parents=True, exist_ok=True)
            while True:
                self.id = secrets.token_hex(3)
                self.record = home / f"{self.id}.json"
                try:
                    file = self.record.open("x")
                    break
                except FileExistsError:
                    continue
        except PermissionError:
            raise DeviceError(
                "a network of namespaces needs root", hint="run it with sudo, or use the simulated fabric"
            ) from None
        self.namespaces = {node: f"mf-{self.id}-{node}" for node in nodes}
        self.folder = Path(tempfile.mkdtemp(prefix=f"midflight-{self.id}-"))
        with file:
            json.dump(
                {
                    "id": self.id,
                    "pid": os.getpid(),
                    "birth": janitor.birth(os.getpid()),
                    "namespaces": list(self.namespaces.values()),
                    "folders": [str(self.folder)],
                },
                file,
            )
        self._janitor: subprocess.Popen[bytes] | None = subprocess.Popen(
            [sys.executable, "-I", "-S", janitor.__file__, str(self.record)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    @property
    def janitor(self) -> int:
        """The process id of the janitor, the process that removes what the run has created; 0 after `close`."""
        return self._janitor.pid if self._janitor else 0

    def close(self) -> None:
        """Remove the run's processes, namespaces and files, and wait until they are removed. May be called more than
        once.

        If the janitor does not finish within 30 seconds, this process removes everything itself.
        """
        process, self._janitor = self._janitor, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self.record.exists():
            janitor.remove(self.record)


@dataclass(frozen=True, slots=True)
class Found:
    """A network of namespaces found on this machine, running or left behind.

    `id` has six hexadecimal digits. `owner` is the id of the process that opened it, or None if that has ended.
    `namespaces` are names. `record` is its JSON file, or None if only namespaces are left.
    """

    id: str
    owner: int | None
    namespaces: tuple[str, ...]
    record: Path | None


def find(home: Path = _HOME, netns: Path = janitor.NETNS) -> list[Found]:
    """Return the networks of namespaces on this machine, running or left behind, sorted by id.

    They are found by their records in the folder `home` and by the names of namespaces in the folder `netns`.
    """
    found: dict[str, Found] = {}
    for record in home.glob("*.json") if home.is_dir() else ():
        try:
            run = json.loads(record.read_text())
            owner = run["pid"] if janitor.alive(record) else None
            found[run["id"]] = Found(run["id"], owner, tuple(run["namespaces"]), record)
        except FileNotFoundError:
            continue  # the run has just ended
        except (ValueError, KeyError):  # written incompletely, as by a power failure
            found[record.stem] = Found(record.stem, None, (), record)
    strays: dict[str, list[str]] = {}
    for place in netns.iterdir() if netns.is_dir() else ():
        if (name := _NAMESPACE.fullmatch(place.name)) and (name["id"] not in found or not found[name["id"]].namespaces):
            strays.setdefault(name["id"], []).append(place.name)
    for each, names in strays.items():
        found[each] = Found(each, None, tuple(sorted(names)), found[each].record if each in found else None)
    return [found[each] for each in sorted(found)]


def clean(run: Found) -> None:
    """Remove a network that `find` has returned: its processes, namespaces, files and record, even if it is in use.

    DeviceError if this user lacks the permission.
    """
    try:
        if run.record is not None and run.record.exists():
            try:
                janitor.remove(run.record)
                return
            except (ValueError, KeyError):
                run.record.unlink()
        janitor.remove_namespaces(run.namespaces)
    except PermissionError as error:
        raise DeviceError(f"cannot remove run {run.id}: {error.strerror}", hint="run it with sudo") from None
