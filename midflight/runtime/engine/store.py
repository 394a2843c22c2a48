"""Compiled code in a folder, for several processes of one user that run the same."""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

from llvmlite import binding

from midflight import __version__
from midflight.errors import MidflightError

__all__ = ["Store"]

_OTHERS = 0o077


class Store:
    """What has been made once and is only read by processes that start later, by key.

    It holds pickles, which run code when they are read. So the folder has to be its user's alone; MidflightError where
    it is not, or is not there. Code is found again only by the same version of Midflight, Python and LLVM on the same
    kind of processor.
    """

    def __init__(self, folder: Path) -> None:
        try:
            status = folder.stat()
        except OSError as error:
            raise MidflightError(f"no folder for code at {folder}: {error.strerror}") from None
        if status.st_uid != os.geteuid() or status.st_mode & _OTHERS:
            raise MidflightError(
                f"others may write to {folder}, and what is in it is executed", hint=f"chmod 700 {folder}, as its owner"
            )
        self._folder = folder
        processor = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
        self._circumstances = repr((__version__, sys.version, binding.llvm_version_info, *processor))

    def load(self, key: str) -> Any:
        """Return what is stored under a key; None where there is nothing."""
        try:
            return pickle.loads(self._path(key).read_bytes())
        except FileNotFoundError:
            return None

    def save(self, key: str, value: object) -> None:
        """Store a value under a key, whole or not at all. What nests too deep for a pickle is not stored."""
        try:
            data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        except RecursionError:
            return
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            file.write(data)
        Path(file.name).replace(self._path(key))

    def _path(self, key: str) -> Path:
        return self._folder / sha256(f"{self._circumstances}\n{key}".encode()).hexdigest()
