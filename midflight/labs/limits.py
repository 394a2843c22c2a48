"""Limits on the resources of a lab's child processes."""

from __future__ import annotations

import resource

__all__ = ["limit_process"]


def limit_process(*, seconds: int, memory: int, file: int = 1 << 20) -> None:
    """Limit this process: processor time in seconds, memory and the size of written files in bytes.

    It also gets no core dumps, and at most 64 open files. At the limit on processor time, the process is killed. Hard
    limits that are lower already stay.
    """
    for what, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        _, hard = resource.getrlimit(what)
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (value, value))
