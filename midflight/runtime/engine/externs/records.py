"""Emits the writing of records (digests and log messages) to a buffer that the control side empties between batches."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.p4.types import EnumType, StructType, Type
from midflight.runtime.engine.code import Code, RecordKind, Value
from midflight.runtime.engine.layout import is_signed, stored_width

__all__ = ["HEAD", "append", "leaf_signs", "number_of"]

HEAD = 16
"""The bytes before a record's values: the number of its kind and the record's size, 64 bits each."""


def append(code: Code, kind: RecordKind, values: Sequence[Value]) -> None:
    """Emit code that appends a record with these values. One that does not fit the buffer is lost and counted."""
    size = HEAD + sum(_bytes(width) for width in kind.widths)
    with code.unit.target.record(code, size, "log.lost" if kind.log else "digests.lost") as pointer:
        code.store(code.i64(number_of(code, kind)), pointer)
        code.store(code.i64(size), code.at(pointer, 8))
        offset = HEAD
        for each in values:
            width = _bytes(each.type.width) * 8
            code.store(code.resize(each, width), code.at(pointer, offset))
            offset += width // 8


def number_of(code: Code, kind: RecordKind) -> int:
    """Return the number of a kind of record in the program, from 0; a new kind gets the next one."""
    kinds = code.unit.records
    if kind not in kinds:
        kinds.append(kind)
    return kinds.index(kind)


def leaf_signs(kind: Type) -> list[bool]:
    """Return whether each scalar within a value of type `kind` is signed, in the order of fields and elements."""
    match kind:
        case StructType(fields=fields):
            return [sign for each in fields for sign in leaf_signs(each.type)]
        case EnumType():
            return [is_signed(kind)]
        case _ if hasattr(kind, "elements"):
            return [sign for each in kind.elements for sign in leaf_signs(each)]
        case _ if hasattr(kind, "fields"):
            return [sign for each in kind.fields for sign in leaf_signs(each.type)]
        case _:
            return [is_signed(kind)]


def _bytes(width: int) -> int:
    return max(stored_width(width), 64) // 8
