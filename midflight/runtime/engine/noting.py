"""Emits the code by which a traced program appends records to a buffer. Without tracing, no code is emitted."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from llvmlite import ir as ll

from midflight.errors import Place as SourcePlace
from midflight.runtime.engine.code import I32, I64, POINTER, Code, Value

__all__ = ["RECORD", "SLOTS", "Event", "note", "note_values"]

RECORD = 16
"""The size of a record in bytes: the event and its first number, 32 bits each, and its second number, 64 bits."""

SLOTS = ("trace", "trace.used", "trace.capacity", "trace.lost")
"""The buffer's slots in the context. Every engine has them, so that a traced program works with the same context."""


class Event(IntEnum):
    """The kind of a record, each with the record's two numbers. A name is an index in the unit's list of names."""

    PACKET = 0
    """A packet enters ingress: port; instance type << 32 | length."""
    STATE = 1
    """The parser entered a state: name."""
    PARSED = 2
    """The parser finished: error."""
    TABLE = 3
    """A table was applied: name; hit << 32 | action's number. In a table without a key, hit is 2."""
    DIGEST = 4
    """A digest was sent: number of its kind."""
    CLONE = 5
    """The packet was cloned: session."""
    RESUBMIT = 6
    MULTICAST = 7
    """The packet was multicast: group."""
    EGRESS = 8
    """The packet or a replica of it enters egress: port; instance."""
    DROP = 9
    """The packet was dropped: in ingress (0) or egress (1), or before its queue (2: priority, 3: full, 4: buffer)."""
    RECIRCULATE = 10
    SENT = 11
    """The packet was sent: port; length."""
    LOG = 12
    """The program logged a message: number of its kind. The words of its values follow as VALUE events."""
    VALUE = 13
    """64 bits of a logged value, the least significant word first: 0; the bits."""
    QUEUE = 14
    """The packet left its queue: queue; nanoseconds that it waited."""
    LATER = 15
    """The following is about a packet from an earlier batch: ingress port; length."""
    TIME = 16
    """The time at which the packet enters ingress: 0; microseconds."""
    KEY = 17
    """The value of a table's key: description. This event and those below have the words of values as VALUE events."""
    DATA = 18
    """The value of an action's parameter from the table: description."""
    ASSIGN = 19
    """An assignment: description; the values before and after."""
    BRANCH = 20
    """The condition of an `if` or the subject of a `switch`: description; its value."""
    READ = 21
    """A read of a register: description; index and value."""
    WRITE = 22
    """A write to a register: description; index and value."""
    VALID = 23
    """A header became valid or invalid: description; whether it is valid."""


def note(code: Code, event: Event, first: Value | str | int = 0, second: Value | int = 0) -> None:
    """Emit code that records an event, with its two numbers, if the program is compiled with tracing.

    A string as the first number is a name, recorded by its index. If the buffer is full when the code runs, the record
    is lost and counted.
    """
    names = code.unit.names
    if names is None:
        return
    if isinstance(first, str):
        numbers = code.unit.numbers
        if first not in numbers:
            numbers[first] = len(names)
            names.append(first)
        first = numbers[first]
    one = code.i32(first) if isinstance(first, int) else code.resize(first, 32)
    other = code.i64(second) if isinstance(second, int) else code.resize(second, 64)
    helper = code.unit.helper("note", [POINTER, I32, I32, I64], ll.VoidType(), _append)
    code.b.call(helper, [code.context, code.i32(int(event)), one, other])


def note_values(
    code: Code, event: Event, name: str, values: Sequence[tuple[Value, int, bool]], place: SourcePlace | None = None
) -> None:
    """Emit code that records an event with values, if the program is compiled with tracing.

    `values` are (value, width in bits, whether it is signed). `place` is that of the event in the P4. The record's
    description has the name, the forms of the values, and the place with the text of its line.
    """
    if code.unit.names is None:
        return
    forms = ",".join(f"{'-' if signed else ''}{width}" for _, width, signed in values)
    where = ("", "", "") if place is None else (place.file, str(place.line), place.text.strip())
    note(code, event, "\t".join((name, forms, *where)))
    for value, width, _ in values:
        wide = code.resize(value, -(-width // 64) * 64)
        for shift in range(0, width, 64):
            word = code.b.lshr(wide, code.constant(wide.type.width, shift)) if shift else wide
            note(code, Event.VALUE, 0, code.resize(word, 64))


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
