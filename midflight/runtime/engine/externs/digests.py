"""`digest`: records in a buffer that the control side empties between batches."""

from __future__ import annotations

from midflight.p4 import ir
from midflight.p4.types import EnumType, StructType, Type
from midflight.runtime.engine.code import Code, DigestKind, Unit, unsupported
from midflight.runtime.engine.expressions import items_of
from midflight.runtime.engine.layout import is_signed, stored_width
from midflight.runtime.engine.noting import Event, note
from midflight.runtime.engine.wire import Scalar

__all__ = ["HEAD", "digest", "record_size"]

HEAD = 16
"""The bytes before a record's values: the number of its kind and the record's size, 64 bits each."""


def record_size(kind: DigestKind) -> int:
    """Return the bytes of a record."""
    return HEAD + sum(max(stored_width(width), 64) // 8 for width in kind.widths)


def digest(code: Code, call: ir.Call) -> None:
    """Lower `digest(receiver, data)` with the current values. One that does not fit the buffer is lost and counted."""
    b, data = code.b, call.arguments[1]
    kind: Type = call.type_arguments[0] if call.type_arguments else data.type
    items = items_of(code, data)
    if not all(isinstance(each, Scalar) for each in items):
        raise unsupported("a digest with a varbit", call.place)
    scalars = [each for each in items if isinstance(each, Scalar)]
    name = kind.name if isinstance(kind, (StructType, EnumType)) else str(kind)
    signs = [is_signed(each) for each in _leaf_types(data.type)]
    record = DigestKind(name, tuple(each.width for each in scalars), tuple(signs))
    number, size = _number(code.unit, record), record_size(record)
    note(code, Event.DIGEST, number)
    used = code.slot_value("digests.used")
    end = b.add(used, code.i64(size))
    fits = b.icmp_unsigned("<=", end, code.slot_value("digests.capacity"))
    with code.when(b.not_(fits)):
        code.count("digests.lost")
    with code.when(fits):
        pointer = code.at(code.slot_pointer("digests"), used)
        code.store(code.i64(number), pointer)
        code.store(code.i64(size), code.at(pointer, 8))
        offset = HEAD
        for each in scalars:
            width = max(stored_width(each.width), 64)
            code.store(code.resize(each.value, width), code.at(pointer, offset))
            offset += width // 8
        code.set_slot("digests.used", end)


def _leaf_types(kind: Type) -> list[Type]:
    match kind:
        case StructType(fields=fields):
            return [leaf for each in fields for leaf in _leaf_types(each.type)]
        case _ if hasattr(kind, "elements"):
            return [leaf for each in kind.elements for leaf in _leaf_types(each)]
        case _ if hasattr(kind, "fields"):
            return [leaf for each in kind.fields for leaf in _leaf_types(each.type)]
        case _:
            return [kind]


def _number(unit: Unit, kind: DigestKind) -> int:
    if kind not in unit.digests:
        unit.digests.append(kind)
    return unit.digests.index(kind)
