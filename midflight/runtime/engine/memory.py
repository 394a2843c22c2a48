"""The memory needs of a program, computed before any code is generated or state allocated."""

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
"""The default limit for a program's state, in bytes."""

# Bytes of Python objects for one table entry, in addition to the native table and the index.
_ENTRY = 1024


class BudgetError(DeviceError):
    """A program exceeds the memory limit of its state, or the limits of its compilation."""


class Budget:
    """The memory limit of one running program's state in bytes, and how much of it is in use."""

    def __init__(self, limit: int, used: int = 0) -> None:
        self.limit = limit
        self.used = used

    def take(self, size: int, what: str) -> None:
        """Reserve `size` bytes for `what`, its name in messages.

        Raises BudgetError, and reserves nothing, if that would exceed the limit.
        """
        if self.used + size > self.limit:
            raise BudgetError(
                f"no memory for {what}: the program uses {_readable(self.used)} of its {_readable(self.limit)}"
            )
        self.used += size

    def give(self, size: int) -> None:
        """Release `size` bytes that `take` has reserved."""
        self.used -= size


def demand(program: ir.Program, limit: int) -> int:
    """Return the bytes that a program's registers, counters, meters and queued packets take, without table entries.

    Raises BudgetError, which names the largest of them, if they exceed `limit` bytes, and P4Error if the state of one
    packet is too large.
    """
    state = PacketState(program, Layout()).size
    parts = [*_arrays(program), ((state + 32) * QUEUE_LENGTH, "packets that go round again")]
    total = sum(size for size, _ in parts)
    if total > limit:
        size, name = max(parts)
        most = f"{name} alone takes {_readable(size)}"
        raise BudgetError(f"the program's state takes {_readable(total)}, but the limit is {_readable(limit)}: {most}")
    return total


def entry_bytes(layout: EntryLayout) -> int:
    """Return the approximate number of bytes that one table entry takes, with its share of the index."""
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


def _readable(size: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size} bytes"
