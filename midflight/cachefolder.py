"""The folder in which Midflight caches what it can compute again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder(name: str = "") -> Path | None:
    """Return `midflight/NAME` in the user's cache folder, or None if it cannot be created. Creates it.

    The user's cache folder is `$XDG_CACHE_HOME` or `~/.cache` (XDG Base Directory Specification). Others get no
    permissions for a folder that this creates.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "midflight"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return None
    return folder / name
