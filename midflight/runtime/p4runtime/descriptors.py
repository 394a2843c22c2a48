"""A check of the limit of open files: gRPC crashes or hangs if it cannot open any more."""

from __future__ import annotations

import resource
from pathlib import Path

from midflight.errors import DeviceError

__all__ = ["demand_descriptors"]

_SPARE = 16  # of a server or a session, and of what opens files meanwhile


def demand_descriptors(spare: int = _SPARE) -> None:
    """Raise DeviceError if this process may not open `spare` more files; a P4Runtime server or session needs 16."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        used = sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        used = limit
    if limit != resource.RLIM_INFINITY and used + spare > limit:
        raise DeviceError(
            f"this process may only open {limit} files, and has {used} open", hint="allow more: ulimit -n 1024"
        )
