"""The lines of a program's source, from the section .BTF.ext of an object file (see the kernel's page on BTF)."""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Sequence

__all__ = ["failed_at", "line_of", "lines"]

_INSTRUCTION = re.compile(r"^(\d+): \(")
_COLUMN_BITS = 10


def lines(section: bytes) -> list[tuple[int, int]]:
    """Return (offset in bytes in the code, line) for the first instruction of each line, sorted by offset.

    `section` has the bytes of .BTF.ext; one that is too short gives [].
    """
    if len(section) < 24:
        return []
    header, start, size = struct.unpack_from("<I", section, 4) + struct.unpack_from("<II", section, 16)
    at, end = header + start, header + start + size
    (record,) = struct.unpack_from("<I", section, at)
    at += 4
    found = []
    while at < end:
        _, count = struct.unpack_from("<II", section, at)
        at += 8
        for _ in range(count):
            offset, _, _, place = struct.unpack_from("<IIII", section, at)
            found.append((offset, place >> _COLUMN_BITS))
            at += record
    return sorted(found)


def line_of(table: Sequence[tuple[int, int]], offset: int) -> int:
    """Return the source line of the instruction at an offset in bytes, or 0 if no line starts at or before it.

    `table` is a result of `lines`.
    """
    at = bisect_right(table, (offset, 1 << 32))
    return table[at - 1][1] if at else 0


def failed_at(log: Sequence[str]) -> int | None:
    """Return the number of the last instruction in a verifier's log, or None if there is none."""
    for line in reversed(log):
        if (found := _INSTRUCTION.match(line)) is not None:
            return int(found[1])
    return None
