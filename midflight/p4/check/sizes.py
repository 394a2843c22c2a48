"""Sizes of types at compile time: `minSizeInBits()` and its relatives (P4_16, section 9.1)."""

from __future__ import annotations

from midflight.p4.types import (
    Bits,
    Bool,
    EnumType,
    HeaderType,
    StackType,
    StructType,
    TupleType,
    Type,
    UnionType,
    Varbit,
)

__all__ = ["SIZES", "size_in"]

SIZES = ("minSizeInBits", "minSizeInBytes", "maxSizeInBits", "maxSizeInBytes")


def size_in(method: str, kind: Type) -> int | None:
    """Return the size of a type as one of the methods in SIZES gives it, or None for a type without a size.

    The minimum counts no bits of a varbit field and the narrowest header of a union; the maximum counts all bits and
    the widest header. Bytes are rounded up.
    """
    bits = _bits(kind, method.startswith("max"))
    return bits if bits is None or method.endswith("Bits") else -(-bits // 8)


def _bits(kind: Type, most: bool) -> int | None:
    match kind:
        case Bits(width=width):
            return width
        case Varbit(width=width):
            return width if most else 0
        case Bool():
            return 1
        case EnumType(underlying=Bits(width=width)):
            return width
        case HeaderType(fields=fields) | StructType(fields=fields):
            parts = [_bits(each.type, most) for each in fields]
        case UnionType(fields=fields):
            sizes = [size for each in fields if (size := _bits(each.type, most)) is not None]
            return max(sizes, default=0) if most else min(sizes, default=0)
        case TupleType(elements=elements):
            parts = [_bits(each, most) for each in elements]
        case StackType(element=element, size=size):
            parts = [_bits(element, most)] * size
        case _:
            return None
    known = [each for each in parts if each is not None]
    return sum(known) if len(known) == len(parts) else None
