"""Names of temporary folders and files: each contains the process that uses it, so that leftovers can be found."""

from __future__ import annotations

import os

__all__ = ["owned_prefix"]


def owned_prefix(kind: str) -> str:
    """Return the beginning of the name of a temporary folder or file of this process."""
    return f"midflight-{kind}-{os.getpid()}-"
