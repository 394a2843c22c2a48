"""The names of temporary folders and files: each contains the id of its process, so that leftovers can be found."""

from __future__ import annotations

import os

__all__ = ["owned_prefix"]


def owned_prefix(kind: str) -> str:
    """Return how the names of this process's temporary folders and files of a kind begin: "midflight-KIND-PID-"."""
    return f"midflight-{kind}-{os.getpid()}-"
