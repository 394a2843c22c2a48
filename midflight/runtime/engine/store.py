"""A folder with compiled code, which several processes of one user share."""

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
    """Objects by key in a folder, written by one process and read by later ones.

    Objects are stored as pickles, which can execute code when they are loaded. The folder must therefore belong to the
    user, with no permissions for others. Raises MidflightError if it does not, or does not exist. An object is found
    only by the same versions of Midflight, Python and LLVM on the same type of processor.
    """

    def __init__(self, folder: Path) -> None:
        try:
            status = folder.stat()
        except OSError as error:
            raise MidflightError(f"cannot use {folder} as the folder for code: {error.strerror}") from None
        if status.st_uid != os.geteuid() or status.st_mode & _OTHERS:
            raise MidflightError(
                f"other users may write to {folder}, whose contents are executed",
                hint=f"chmod 700 {folder}, as its owner",
            )
        self._folder = folder
        processor = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
        self._circumstances = repr((__version__, sys.version, binding.llvm_version_info, *processor))

    def load(self, key: str) -> Any:
        """Return the object with this key, or None if there is none.

        OSError if the file cannot be read; a damaged file raises an error of `pickle`.
        """
        try:
            return pickle.loads(self._path(key).read_bytes())
        except FileNotFoundError:
            return None

    def save(self, key: str, value: object) -> None:
        """Store an object under a key, atomically, in place of an older one.

        An object that is nested too deeply to pickle is silently not stored. Raises OSError if the file cannot be
        written.
        """
        try:
            data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        except RecursionError:
            return
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            file.write(data)
        Path(file.name).replace(self._path(key))

    def _path(self, key: str) -> Path:
        return self._folder / sha256(f"{self._circumstances}\n{key}".encode()).hexdigest()
