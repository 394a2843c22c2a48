"""Emits requests of a control to the traffic manager: drop, clone, resubmit, recirculate, truncate.

Each only sets a field in the packet's state. As in simple_switch, the pipeline acts on them after the control, so the
last of several calls counts; of `truncate`, the one with the smallest length does.
"""

from __future__ import annotations

from midflight.p4 import ir
from midflight.p4.types import StructType
from midflight.runtime.engine.code import Code, Place, Value, unsupported
from midflight.runtime.engine.expressions import place, value
from midflight.runtime.engine.layout import scalar_width

__all__ = [
    "DROP_PORT", "SESSION_MASK", "clone", "clone_preserving", "drop", "mark_to_drop", "recirculate", "resubmit",
    "truncate",
]  # fmt: skip

DROP_PORT = 511
"""The egress port of dropped packets, as in simple_switch."""

SESSION_MASK = 0x7FFF
"""The largest number of a clone session."""

CLONED = 1 << 31


def mark_to_drop(code: Code, call: ir.Call) -> None:
    """Emit `mark_to_drop(standard_metadata)`: egress_spec becomes the drop port, and mcast_grp becomes 0.

    Raises P4Error for a call without an argument.
    """
    if not call.arguments:
        raise unsupported(
            "mark_to_drop() without standard_metadata", call.place, "write mark_to_drop(standard_metadata)"
        )
    drop(code, place(code, call.arguments[0]))


def drop(code: Code, standard: Place) -> None:
    """Emit that the packet with the standard metadata at a place is dropped after the control."""
    assert isinstance(standard.type, StructType)
    for name, number in (("egress_spec", DROP_PORT), ("mcast_grp", 0)):
        if standard.type.field(name) is not None:
            target = code.member(standard, name)
            code.write(code.constant(scalar_width(target.type), number), target)


def clone(code: Code, call: ir.Call) -> None:
    """Emit `clone(type, session)`: after the control, the session's ports get copies with empty metadata.

    P4Error for a session that the engine cannot compute.
    """
    _clone(code, value(code, call.arguments[1]), code.i32(0))


def clone_preserving(code: Code, call: ir.Call) -> None:
    """Emit `clone_preserving_field_list(type, session, list)`: like `clone`, but copies keep the metadata of a field
    list.

    `call` is the typed call. P4Error for a session or list that the engine cannot compute.
    """
    _clone(code, value(code, call.arguments[1]), code.resize(value(code, call.arguments[2]), 32))


def resubmit(code: Code, call: ir.Call) -> None:
    """Emit `resubmit_preserving_field_list(list)`: after ingress, the packet as it arrived passes ingress again.

    It keeps the list's metadata fields.
    """
    _mark_list(code, "resubmit", call)


def recirculate(code: Code, call: ir.Call) -> None:
    """Emit `recirculate_preserving_field_list(list)`: after the deparser, the packet passes ingress again.

    It keeps the list's metadata fields.
    """
    _mark_list(code, "recirculate", call)


def truncate(code: Code, call: ir.Call) -> None:
    """Emit `truncate(length)`: at most `length` bytes of the packet leave the switch. The smallest length counts.

    P4Error for a length that the engine cannot compute.
    """
    b, length = code.b, code.resize(value(code, call.arguments[0]), 32)
    # An intent of 0 means no truncation, and 0 - 1 is the largest length.
    before = b.sub(code.load(code.at(code.function.args[1], code.unit.state.intent("truncate")), 32), code.i32(1))
    least = b.select(b.icmp_unsigned("<", length, before), length, before)
    _mark(code, "truncate", b.add(least, code.i32(1)))


def _clone(code: Code, session: Value, field_list: Value) -> None:
    number = code.b.and_(code.resize(session, 32), code.i32(SESSION_MASK))
    _mark(code, "clone", code.b.or_(number, code.i32(CLONED)))
    _mark(code, "clone_list", field_list)


def _mark_list(code: Code, name: str, call: ir.Call) -> None:
    number = call.arguments[0]
    assert isinstance(number, ir.Literal)
    assert isinstance(number.value, int)
    _mark(code, name, code.i32(number.value + 1))


def _mark(code: Code, name: str, number: Value) -> None:
    code.unit.intents.add(name)
    code.store(number, code.at(code.function.args[1], code.unit.state.intent(name)))
