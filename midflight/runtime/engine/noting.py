"""What a traced program notes down on a packet's way: code that appends a record to a ring, and nothing otherwise."""

from __future__ import annotations

from enum import IntEnum

from llvmlite import ir as ll

from midflight.runtime.engine.code import I32, I64, POINTER, Code, Value

__all__ = ["RECORD", "SLOTS", "Event", "note"]

RECORD = 16
"""Bytes of a record: the event and its first number, 32 bits each, and its second, 64 bits."""

SLOTS = ("trace", "trace.used", "trace.capacity", "trace.lost")
"""What the ring needs of the context. Every engine has them, so that a traced program fits the same context."""


class Event(IntEnum):
    """What happened, with the record's two numbers. Names are places in the unit's list of names."""

    PACKET = 0
    """A packet begins its way through ingress: port; instance type << 32 | length."""
    STATE = 1
    """A parser's state: name."""
    PARSED = 2
    """The parser is done: error."""
    TABLE = 3
    """A table was applied: name; hit << 32 | action's number. Without a key, 2 stands for hit."""
    DIGEST = 4
    """A digest was sent: kind's number."""
    CLONE = 5
    """Copies of it go their own way: session."""
    RESUBMIT = 6
    MULTICAST = 7
    """It is replicated: group."""
    EGRESS = 8
    """It, or a replica of it, begins its way through egress: port; instance."""
    DROP = 9
    """It is dropped, in ingress (0) or in egress (1)."""
    RECIRCULATE = 10
    SENT = 11
    """It leaves: port; length."""


def note(code: Code, event: Event, first: Value | str | int = 0, second: Value | int = 0) -> None:
    """Emit the note of an event, where the unit is traced. A ring without room loses it, and counts it."""
    names = code.unit.names
    if names is None:
        return
    if isinstance(first, str):
        if first not in names:
            names.append(first)
        first = names.index(first)
    one = code.i32(first) if isinstance(first, int) else code.resize(first, 32)
    other = code.i64(second) if isinstance(second, int) else code.resize(second, 64)
    helper = code.unit.helper("note", [POINTER, I32, I32, I64], ll.VoidType(), _append)
    code.b.call(helper, [code.context, code.i32(int(event)), one, other])


def _append(code: Code) -> None:
    _, event, first, second = code.function.args
    used = code.slot_value("trace.used")
    fits = code.b.icmp_unsigned("<", used, code.slot_value("trace.capacity"))
    with code.when(code.b.not_(fits)):
        code.count("trace.lost")
    with code.when(fits):
        pointer = code.at(code.slot_pointer("trace"), used)
        for offset, value in ((0, event), (4, first), (8, second)):
            code.store(value, code.at(pointer, offset))
        code.set_slot("trace.used", code.b.add(used, code.i64(RECORD)))
    code.b.ret_void()
