"""What a program takes of memory, reckoned before any code or state is made of it."""

from __future__ import annotations

from collections.abc import Iterator

from midflight.errors import DeviceError
from midflight.p4 import ir
from midflight.runtime.engine.entrylayout import EntryLayout
from midflight.runtime.engine.externs.meters import WORDS
from midflight.runtime.engine.externs.registers import size_of
from midflight.runtime.engine.layout import Layout, scalar_width, stored_width
from midflight.runtime.engine.packetstate import PacketState
from midflight.runtime.engine.queue import QUEUE_LENGTH

__all__ = ["DEFAULT", "Budget", "BudgetError", "demand", "entry_bytes"]

DEFAULT = 1 << 30
"""Bytes that a program's state may take where nobody says otherwise."""

# What Python keeps of one table entry, beside its place in the native table and the index.
_ENTRY = 1024


class BudgetError(DeviceError):
    """A program's state does not fit into the memory that it may have."""


class Budget:
    """The bytes that one running program may take, and has taken. BudgetError where that is too much."""

    def __init__(self, limit: int, used: int = 0) -> None:
        self.limit = limit
        self.used = used

    def take(self, size: int, what: str) -> None:
        """Count bytes as taken, unless they are beyond the limit."""
        if self.used + size > self.limit:
            raise BudgetError(
                f"no memory for {what}: of {_told(self.limit)} that the program may have, {_told(self.used)} are taken"
            )
        self.used += size

    def give(self, size: int) -> None:
        """Count bytes as free again."""
        self.used -= size


def demand(program: ir.Program, limit: int) -> int:
    """Return the bytes of a program's arrays, and of packets that wait in it, without its table entries.

    BudgetError, naming the largest, where they are more than `limit`; P4Error where one packet takes too much.
    """
    state = PacketState(program, Layout()).size
    parts = [*_arrays(program), ((state + 32) * QUEUE_LENGTH, "packets that go round again")]
    total = sum(size for size, _ in parts)
    if total > limit:
        size, name = max(parts)
        most = f"{name} alone takes {_told(size)}"
        raise BudgetError(f"the program's state takes {_told(total)}, and it may have {_told(limit)}: {most}")
    return total


def entry_bytes(layout: EntryLayout) -> int:
    """Return about what one entry of a table takes, with its share of the index."""
    return _ENTRY + 2 * layout.stride + 2 * layout.stored // 8


def _arrays(program: ir.Program) -> Iterator[tuple[int, str]]:
    for each in program.instances.values():
        match each.kind:
            case "register":
                yield size_of(each) * stored_width(scalar_width(each.type_arguments[0])) // 8, f"register {each.name}"
            case "counter":
                yield size_of(each) * 16, f"counter {each.name}"
            case "meter":
                yield size_of(each) * WORDS * 8, f"meter {each.name}"


def _told(size: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size} bytes"
