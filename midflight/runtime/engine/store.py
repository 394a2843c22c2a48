"""A folder with compiled code, which several processes of one user share."""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from llvmlite import binding

import midflight
from midflight.cachefolder import cache_folder
from midflight.errors import MidflightError

__all__ = ["Store", "others_access", "user_folder", "user_store"]

_OTHERS = 0o077
_LIMIT = 1 << 29
_SOURCES = ("p4", "runtime/engine")
_SUFFIXES = (".py", ".p4", ".lark")


class Store:
    """Objects by key in a folder, written by one process and read by later ones.

    Objects are stored as pickles, which can execute code when they are loaded. The folder must therefore belong to the
    user, with no permissions for others. Raises MidflightError if it does not, or does not exist. An object is found
    only by the same sources of Midflight and versions of Python and LLVM, on the same type of processor. The folder
    holds at most `limit` bytes; the objects that were not used for the longest time are removed first.
    """

    def __init__(self, folder: Path, limit: int = _LIMIT) -> None:
        if others_access(folder):
            raise MidflightError(
                f"other users may write to {folder}, whose contents are executed",
                hint=f"chmod 700 {folder}, as its owner",
            )
        self._folder, self._limit = folder, limit
        processor = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
        self._circumstances = repr((_sources(), sys.version, binding.llvm_version_info, *processor))

    def load(self, key: str) -> Any:
        """Return the object with this key, or None if there is none that can be read. Reads a file."""
        path = self._path(key)
        try:
            stored = pickle.loads(path.read_bytes())
            os.utime(path)
        except Exception:  # there is no file, or it is damaged, which raises anything
            return None
        return stored

    def save(self, key: str, value: object) -> None:
        """Store an object under a key, atomically, in place of an older one.

        If it cannot be stored, because it is nested too deeply to pickle or the file cannot be written, nothing
        changes.
        """
        with suppress(RecursionError, OSError):
            data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix="new-", delete=False) as file:
                try:
                    file.write(data)
                    file.flush()
                    Path(file.name).replace(self._path(key))
                except OSError:
                    Path(file.name).unlink(missing_ok=True)
                    raise
            self._prune()

    @property
    def size(self) -> int:
        """The size of all objects, in bytes."""
        return sum(size for _, _, size in self._files())

    def clear(self) -> None:
        """Remove all objects, also those of other versions."""
        for _, name, _ in self._files():
            (self._folder / name).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / sha256(f"{self._circumstances}\n{key}".encode()).hexdigest()

    def _files(self) -> list[tuple[int, str, int]]:
        """Return when each file was last used, its name, and its size; those that were not used for longest first."""
        found = []
        with os.scandir(self._folder) as entries:
            for each in entries:
                with suppress(FileNotFoundError):  # another process prunes, too
                    status = each.stat()
                    found.append((status.st_mtime_ns, each.name, status.st_size))
        return sorted(found)

    def _prune(self) -> None:
        """Remove the objects that were not used for the longest time until the rest is within the limit."""
        files = self._files()
        excess = sum(size for _, _, size in files) - self._limit
        for _, name, size in files:
            if excess <= 0:
                return
            (self._folder / name).unlink(missing_ok=True)
            excess -= size


def others_access(folder: Path) -> str:
    """Return why a folder is not the user's alone, empty if it is. MidflightError if it does not exist."""
    try:
        status = folder.stat()
    except OSError as error:
        raise MidflightError(f"cannot use {folder} as the folder for code: {error.strerror}") from None
    if status.st_uid != os.geteuid():
        return "it belongs to another user"
    return "others have permissions for it" if status.st_mode & _OTHERS else ""


def user_folder() -> Path | None:
    """Return the folder of `user_store`, or None if it cannot be created or MIDFLIGHT_CODE_CACHE is empty."""
    chosen = os.environ.get("MIDFLIGHT_CODE_CACHE")
    if chosen is None:
        return cache_folder("code")
    return Path(chosen) if chosen else None


def user_store() -> Store | None:
    """Return the store in the user's cache folder, or None if there is no folder that only the user can access.

    The variable MIDFLIGHT_CODE_CACHE chooses another folder, which must exist; empty, there is no store. MidflightError
    if that folder cannot be used.
    """
    folder = user_folder()
    try:
        return None if folder is None else Store(folder)
    except MidflightError:
        if os.environ.get("MIDFLIGHT_CODE_CACHE") is not None:
            raise
        return None


@cache
def _sources() -> tuple[object, ...]:
    """Return the version, and what changes with the sources of a development install."""
    root = Path(midflight.__file__).parent
    files = [each for folder in _SOURCES for each in sorted((root / folder).rglob("*")) if each.suffix in _SUFFIXES]
    states = [(each.name, status.st_size, status.st_mtime_ns) for each in files for status in [each.stat()]]
    return midflight.__version__, sha256(repr(states).encode()).hexdigest()
